"""Idempotency-Key and requestId: a repeat is answered as the first time, by whichever process, and taken once."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from provided import NUMBER, OTHER, intake, problem
from serving import Gateway, eventually, serving, start

from pipeline.gateway.messages.idempotency import Claim, Recent
from pipeline.gateway.problems import Refusal
from pipeline.store.database import open_database
from pipeline.store.writer import Moved, Told, Writer
from schemas import errors
from schemas.errors import Error
from schemas.states import STATE, Detailed
from schemas.status import StatusError, StatusRecord

BODY = {"recipient": NUMBER, "message": "Hello"}
KEY = "Idempotency-Key"


@pytest.fixture(scope="module")
def gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start(kafka, tmp_path_factory.mktemp("repeats")) as running:
        yield running


@pytest.fixture
def acme(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.as_("acme") as client:
        yield client


def post(client: httpx.Client, key: str | None = None, path: str = "/messages", **body: Any) -> httpx.Response:
    return client.post(path, json={**BODY, **body}, headers={} if key is None else {KEY: key})


@pytest.mark.parametrize("by_header", [True, False])
def test_the_same_again_is_answered_alike_and_taken_once(acme: httpx.Client, gateway: Gateway, by_header: bool) -> None:
    key = f"once-{by_header}"
    given: Any = {"key": f'"{key}"'} if by_header else {"requestId": key}
    first = post(acme, **given, path="/IT-messages")
    assert first.status_code == 201 and first.json()["data"]["requestId"] == key
    again = [post(acme, **given, path="/IT-messages") for _ in range(3)]
    assert [one.content for one in again] == [first.content] * 3
    bare = post(acme, key, path="/IT-messages")  # a header without quotes, and beside the body's own
    both = post(acme, key, path="/IT-messages", requestId=key)
    assert bare.content == both.content == first.content
    assert len(intake(gateway, key)) == 1


@pytest.mark.parametrize(
    "change", [{"message": "Other"}, {"recipient": OTHER}, {"custom": {"a": 1}}, {"sender": "Me2"}]
)
def test_other_content_under_the_same_key_is_refused(acme: httpx.Client, change: dict[str, Any]) -> None:
    assert post(acme, "content").status_code == 201
    assert "content" in problem(post(acme, "content", **change), 422, errors.REQUEST_ID_REUSED)
    assert post(acme, "content").status_code == 201


def test_an_account_s_keys_are_its_own_and_order_of_fields_is_no_content(acme: httpx.Client, gateway: Gateway) -> None:
    with gateway.as_("globex") as globex:
        mine, its = post(acme, "own"), post(globex, "own", message="Other")
    assert mine.status_code == its.status_code == 201 and mine.json()["data"]["id"] != its.json()["data"]["id"]
    one = acme.post("/messages", content=b'{"recipient":"+393331234567","message":"a","custom":{"a":1,"b":2}}',
                    headers={KEY: "order"})  # fmt: skip
    two = acme.post("/messages", content=b'{"custom":{"b":2,"a":1},"message":"a","recipient":"+393331234567"}',
                    headers={KEY: "order"})  # fmt: skip
    assert one.json() == two.json() and one.status_code == 201


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "x" * 129, '"' + "x" * 129 + '"', '"a";b=1', "x\u00e9"])
def test_a_faulty_key_is_refused(acme: httpx.Client, key: str) -> None:
    answer = acme.post("/messages", json=BODY, headers={KEY: key.encode("latin-1")})
    assert KEY in problem(answer, 400, errors.MALFORMED_REQUEST)


def test_two_keys_and_two_that_differ(acme: httpx.Client) -> None:
    answer = acme.post("/messages", json=BODY, headers=[(KEY, "a"), (KEY, "b")])
    assert KEY in problem(answer, 400, errors.MALFORMED_REQUEST)
    assert KEY in problem(post(acme, "a", requestId="b"), 422, errors.MALFORMED_REQUEST)


def test_what_was_refused_may_be_mended_under_its_key(acme: httpx.Client) -> None:
    problem(post(acme, "mended", sender="12"), 422, errors.NUMERIC_SENDER)
    assert post(acme, "mended").status_code == 201


def test_beside_one_under_way_a_repeat_waits(acme: httpx.Client, gateway: Gateway) -> None:
    def go(_: int) -> httpx.Response:
        with gateway.as_("acme") as client:
            return post(client, "at-once")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(go, range(8)))
    taken = [answer for answer in answers if answer.status_code == 201]
    assert taken and len({answer.content for answer in taken}) == 1
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, 409, errors.REQUEST_UNDER_WAY)
            assert answer.headers["retry-after"] == "1"
    assert len(intake(gateway, "at-once")) == 1


def test_a_login_code_is_sent_once_for_a_key(acme: httpx.Client, gateway: Gateway) -> None:
    def otp(key: str, **body: Any) -> httpx.Response:
        return acme.post("/otp", json={"recipient": OTHER, **body}, headers={KEY: key})

    first = otp("code")
    assert first.status_code == 201 and otp("code").content == first.content
    problem(otp("code", length=6), 422, errors.REQUEST_ID_REUSED)
    assert len(intake(gateway, "code")) == 1
    problem(otp("bad", length=3), 422, errors.OTP_LENGTH)
    assert otp("bad", length=4).status_code == 201
    code = first.json()["data"]["otp"]
    # the newer code counts; the key's own stays what it was
    assert acme.post("/otp/verify", json={"recipient": OTHER, "code": code}).json()["data"]["verified"] is False
    assert otp("code").content == first.content


# What another process took, by the read model


def stored(gateway: Gateway, told: dict[str, Any], text: str | None, **fields: Any) -> None:
    """The message of an answer as the projector would have it."""
    state = fields.pop("detailed", Detailed.ACCEPTED)
    record = StatusRecord(
        **{
            "id": told["id"], "request_id": told["requestId"], "index": 0, "account": "acme",
            "sender": told["sender"], "recipient": told["recipient"], "international_prefix": "39",
            "country_code": "IT", "state": STATE[state], "detailed_state": state.name, "final": False,
            "sequence": 1, "error": None, "encoding": "GSM-7", "characters_count": 5, "message_count": 1,
            "parts_delivered": 0, "price": "0.0500", "total_price": "0.0500", "currency": "EUR", "carrier": None,
            "carrier_reference": None, "dry_run": False, "custom": told["custom"], "at": told["createdAt"],
        }
        | fields
    )  # fmt: skip
    engine = open_database(gateway.settings)
    Writer(engine).write(
        gateway.names.status, [Told(msgspec.json.encode(record), text)], {0: 1}, Moved("ledger", [], {0: 1})
    )
    engine.dispose()


def test_another_process_s_requests_are_known_by_the_read_model(acme: httpx.Client, gateway: Gateway) -> None:
    first = post(acme, "moved", custom={"order": 7})
    stored(gateway, first.json()["data"], "Hello")
    behind = post(acme, "behind", recipient=[NUMBER, OTHER])
    stored(gateway, behind.json()["data"] | {"recipient": NUMBER}, "Hello")
    code = acme.post("/otp", json={"recipient": OTHER}, headers={KEY: "moved-otp"})
    stored(gateway, code.json()["data"], "Il tuo codice di verifica è *****. Non comunicarlo a nessuno.")
    bad = post(acme, "refused", message="Hi")
    error = StatusError(errors.REQUEST_ID_REUSED, "used before", True)
    stored(gateway, bad.json()["data"], "", detailed=Detailed.REJECTED, error=error)
    with serving(gateway.settings) as other, other.as_("acme") as there:
        eventually(lambda: other.http.get("/health/ready").status_code == 200)
        assert post(there, "moved", custom={"order": 7}).content == first.content
        for change in ({"message": "Other"}, {"custom": {}}, {"recipient": OTHER}, {"recipient": [NUMBER, OTHER]}):
            again = post(there, "moved", **{"custom": {"order": 7}, **change})
            problem(again, 422, errors.REQUEST_ID_REUSED)
        # of two recipients one is known: the read model is behind, and the pipeline decides under the same id
        answer = post(there, "behind", recipient=[NUMBER, OTHER])
        assert answer.json()["data"]["id"] == behind.json()["data"]["id"] and len(intake(gateway, "behind")) == 2
        again = there.post("/otp", json={"recipient": OTHER}, headers={KEY: "moved-otp"})
        assert again.content == code.content
        assert post(there, "refused").status_code == 201  # a refused reuse is not the request itself
    assert len(intake(gateway, "moved-otp")) == 1


# Claims


def claim(recent: Recent, mark: bytes = b"m", now: int = 1_000) -> Claim | Refusal:
    return asyncio.run(recent.claim(("acme", "r"), mark, now, lambda _: True, 1, None))


def test_a_try_of_unknown_end_gives_its_time_to_the_next() -> None:
    recent = Recent()
    first = claim(recent)
    assert isinstance(first, Claim)
    under_way = claim(recent, now=1_500)
    assert isinstance(under_way, Refusal) and under_way.error.code == errors.REQUEST_UNDER_WAY
    recent.failed(("acme", "r"), first, doubtful=True)
    second = claim(recent, now=2_000)
    assert isinstance(second, Claim) and (second.timestamp_ms, second.repeat) == (1_000, False)
    recent.failed(("acme", "r"), second, doubtful=True)
    late = claim(recent, now=100_000)
    assert isinstance(late, Claim) and late.timestamp_ms == 100_000
    recent.taken(late)
    done = claim(recent, now=100_001)
    assert done is late and done.repeat
    other = claim(recent, b"other", 100_002)
    assert isinstance(other, Refusal) and other.error == Error(errors.REQUEST_ID_REUSED, other.error.message)


def test_only_so_many_are_remembered() -> None:
    recent = Recent(most=2)
    for name in "abc":
        found = asyncio.run(recent.claim(("acme", name), b"m", 1, lambda _: True, 1, None))
        assert isinstance(found, Claim)
        recent.taken(found)
    assert [asyncio.run(recent.claim(("acme", name), b"m", 2, lambda _: True, 1, None)).repeat for name in "bc"] == [
        True, True
    ]  # fmt: skip
    forgotten = asyncio.run(recent.claim(("acme", "a"), b"m", 2, lambda _: True, 1, None))
    assert isinstance(forgotten, Claim) and not forgotten.repeat
