"""The buckets and the guard by a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.accounts import AccountRecord
from pipeline.billing import Limits
from pipeline.config import Gateway
from pipeline.gateway.door.edge import rate_limit
from pipeline.gateway.door.guard import Guard, caller
from pipeline.gateway.door.quota import Buckets
from pipeline.tokens import Token
from schemas import errors

ACME = AccountRecord("acme", "")
TOKEN = Token("acme", "t1", "h1")


def guard(**settings) -> Guard:
    return Guard(Gateway(**settings))


@given(
    rate=st.floats(0.1, 1000),
    seconds=st.floats(0.1, 60),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_in_any_span_no_more_pass_than_the_bucket_holds_and_what_flows_in(rate, seconds, gaps):
    buckets, now, passed = Buckets(rate, seconds), 1000.0, []
    for gap in gaps:
        now += gap
        quota = buckets.take("k", now)
        assert 0 <= quota.remaining <= quota.capacity
        if quota.allowed:
            passed.append(now)
        else:
            assert quota.wait > 0 and buckets.take("k", now + quota.wait * 1.0001 + 1e-6).allowed
            passed.append(now := now + quota.wait * 1.0001 + 1e-6)
    capacity = max(1, int(rate * seconds))
    for i, begin in enumerate(passed):
        for count, end in enumerate(passed[i:], 1):
            assert count <= capacity + (end - begin) * rate + 0.01


@given(st.integers(1, 50), st.floats(0.5, 100))
def test_a_full_bucket_gives_its_capacity_at_once_and_no_more(capacity, rate):
    buckets = Buckets(rate, (capacity + 0.5) / rate)
    told = [buckets.take("k", 5.0) for _ in range(capacity + 1)]
    assert [quota.allowed for quota in told] == [True] * capacity + [False]
    assert [quota.remaining for quota in told] == [*range(capacity - 1, -1, -1), 0]
    assert buckets.take("other", 5.0).allowed


def test_looking_takes_nothing_and_a_key_may_have_a_rate_of_its_own():
    buckets = Buckets(1, 2)
    assert all(buckets.look("k", 0).allowed for _ in range(9))
    assert [buckets.take("k", 0, rate=4).capacity, buckets.take("k", 0).capacity] == [8, 2]


def test_full_ones_are_forgotten_and_there_is_a_most():
    buckets = Buckets(1, 10, most=1000)
    for key in range(5000):
        buckets.take(str(key), 0.0)
    assert len(buckets) <= 1000
    for key in range(2000):
        buckets.take(str(key), 100.0)
    assert len(buckets) <= 1001


def test_the_header_fields():
    quota = Buckets(2.5, 4).take("k", 0)
    assert rate_limit(quota) == [(b"ratelimit-policy", b'"token";q=10;w=4'), (b"ratelimit", b'"token";r=9;t=1')]


def test_requests_a_second_by_token_with_the_accounts_own():
    at, slow = (
        guard(requests_per_second=2, burst_seconds=1),
        AccountRecord("slow", "", limits=Limits(requests_a_second=1)),
    )
    assert [at.admit({}, ACME, TOKEN, 0) for _ in range(2)] == [None, None]
    refused = at.admit({}, ACME, TOKEN, 0)
    assert (refused.status, refused.error.code, refused.headers) == (
        429,
        errors.TOO_MANY_REQUESTS,
        {"Retry-After": "1"},
    )
    assert at.admit({}, ACME, Token("acme", "t2", "h2"), 0) is None
    assert at.admit({}, ACME, TOKEN, 0.5) is None
    assert at.admit({}, slow, Token("slow", "t", "h3"), 0) is None
    assert at.admit({}, slow, Token("slow", "t", "h3"), 0).status == 429


def test_requests_of_a_token_at_a_time():
    at, first, second, third = guard(concurrent_requests_per_token=2), {}, {}, {}
    assert at.admit(first, ACME, TOKEN, 0) is None and at.admit(second, ACME, TOKEN, 0) is None
    assert at.admit(third, ACME, TOKEN, 0).status == 429
    at.leave(caller(third))  # was not counted, gives nothing back
    assert at.admit({}, ACME, TOKEN, 0).status == 429
    at.leave(caller(first))
    assert at.admit({}, ACME, TOKEN, 0) is None


def test_bodies_in_memory_and_requests_at_a_time():
    at, one = guard(body_memory_bytes=2048, concurrent_requests=3), {}
    assert at.hold(one, 2000) is None
    assert at.hold({}, 100).status == 503
    at.leave(caller(one))
    assert at.hold({}, 100) is None
    at.active = 3
    assert at.busy().headers["Retry-After"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),
    ],
)
def test_wrong_tokens_are_counted_by_client(one, other, same):
    at = guard(failures_per_minute=3)
    for _ in range(3):
        assert at.wary(one, 0) is None
        at.failed(one, 0)
    refused = at.wary(one, 0)
    assert (refused.status, refused.error.code, refused.headers) == (
        429,
        errors.TOO_MANY_FAILURES,
        {"Retry-After": "20"},
    )
    assert (at.wary(other, 0) is not None) is same
    assert at.wary(one, 20.1) is None
