"""What the client makes of answers, without a network."""

import json
import string
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client import ApiError, BadAnswer, Endpoint, Message, messages, money, sending
from pipeline.client.calls import Call, data, nothing, read_answer
from pipeline.client.exchange import Answer, refused, retry_after

MESSAGE = {"id": "633aabe3e4a9a0e69811ad7f", "state": "NEW"}
READ = Call("GET", "/", data(Message))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.decimals(min_value=0, max_value=10**9, places=6), st.booleans())
def test_money_is_as_it_was_written(amount: Decimal, quoted: bool) -> None:
    written = f"{amount:f}"
    body = f'{{"data":{{"id":"1","state":"NEW","price":{json.dumps(written) if quoted else written}}}}}'
    assert str(read_answer(READ, body.encode()).price) == written


@given(st.dictionaries(st.text(string.ascii_letters, min_size=1).map("x-{}".format), json_values, max_size=4))
def test_unknown_members_are_ignored(unknown: dict[str, object]) -> None:
    body = json.dumps({"data": {**MESSAGE, **unknown}, **unknown}).encode()
    assert read_answer(READ, body) == Message(id=MESSAGE["id"], state="NEW")


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_a_value_or_an_error(body: bytes) -> None:
    try:
        found = read_answer(READ, body)
    except BadAnswer:
        return
    assert isinstance(found, Message)


@given(
    st.integers(300, 999),
    st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
    st.text(),
)
def test_any_refusal_is_an_error_with_a_message(status: int, body: bytes, header: str) -> None:
    error = refused(Answer(status, {"retry-after": header}, body))
    assert isinstance(error, ApiError)
    assert error.status == status
    assert error.message or body


@pytest.mark.parametrize(
    ("status", "body", "code", "permanent"),
    [
        (422, {"code": 2011, "message": "Invalid mobile phone number. Use E.164 format."}, 2011, True),
        (403, {"code": 2020, "message": "The user is blocklisted."}, 2020, True),
        (503, {"code": 3052, "message": "away"}, 3052, False),
        (429, {"code": 3060, "message": "slow down"}, 3060, False),
        (409, {"code": 3053, "message": "under way", "permanent": False}, 3053, False),
        (409, {"code": 3080, "message": "too late"}, 3080, True),
        (502, "<html>", None, False),
        (404, "", None, True),
    ],
)  # fmt: skip
def test_refusals(status: int, body: object, code: int | None, permanent: bool) -> None:
    encoded = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = refused(Answer(status, {}, encoded), "mine")
    assert (error.status, error.code, error.permanent, error.request_id) == (status, code, permanent, "mine")
    assert str(code or f"HTTP {status}") in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5), ("0", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("", None), ("-1", None), ("soon", None), ("٣", None)],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(Answer(503, {"retry-after": header}, b"")) == seconds


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(), max_size=4))
def test_queries_arrive_as_they_were_given(query: dict[str, str | int]) -> None:
    parts = urlsplit(Call("GET", "/x", nothing, query=query).target)
    found = parse_qsl(parts.query, keep_blank_values=True)
    assert found == [(name, str(value)) for name, value in query.items()]


def test_queries_leave_out_what_is_not_given_and_repeat_lists() -> None:
    call = money.statement(kinds=["top-up", "penalty"])
    assert call.target == "/statement?kind=top-up&kind=penalty&limit=100"


@given(st.text(min_size=1))
def test_an_id_is_one_segment_of_the_path(id: str) -> None:
    if id in (".", ".."):
        with pytest.raises(ValueError, match="cannot be asked for"):
            messages.get(id)
        return
    try:
        path = messages.get(id).path
    except UnicodeEncodeError:
        return
    assert path.startswith("/messages/")
    assert not set(path.removeprefix("/messages/")) - set(string.ascii_letters + string.digits + "-._~%")


def test_only_what_is_given_is_sent() -> None:
    call = sending.send("+393331234567", "Hello")
    assert isinstance(call.body, bytes)
    assert json.loads(call.body) == {
        "requestId": call.request_id, "recipients": ["+393331234567"], "message": "Hello"
    }  # fmt: skip
    assert sending.send("+393331234567", "Hello").request_id != call.request_id


def test_times_have_zones() -> None:
    with pytest.raises(ValueError, match="zone"):
        sending.send("+393331234567", "Hello", send_at=datetime(2026, 11, 22))  # noqa: DTZ001


def test_options_are_sent_as_the_contract_names_them() -> None:
    call = sending.send(
        ["+393331234567"], "Hi", sender="ACME", dry_run=True, transliterate=True, validity_seconds=60,
        send_at=datetime(2030, 1, 31, 9, tzinfo=timezone(timedelta(hours=1))), quiet_hours=("21:00", "08:00"),
        callback={"url": "https://example.com", "retry": 3}, custom={"order": 7}, region="IT",
    )  # fmt: skip
    assert (call.path, call.request_id is None) == ("/IT-messages", False)
    assert isinstance(call.body, bytes)
    assert json.loads(call.body) == {
        "requestId": call.request_id, "recipients": ["+393331234567"], "message": "Hi", "sender": "ACME",
        "options": {
            "dryRun": True, "transliterate": True, "validitySeconds": 60, "sendAt": "2030-01-31T08:00:00.000Z",
            "quietHours": {"from": "21:00", "to": "08:00"},
        },
        "callback": {"url": "https://example.com", "retry": 3}, "custom": {"order": 7},
    }  # fmt: skip


def test_an_otps_key_is_a_string_of_structured_fields() -> None:
    assert sending.otp("+393331234567", request_id='a "b" \\').headers["Idempotency-Key"] == '"a \\"b\\" \\\\"'
    for wrong in ("é", "a\nX: y"):
        with pytest.raises(ValueError, match="printable ASCII"):
            sending.otp("+393331234567", request_id=wrong)


def test_what_is_secret_is_not_shown() -> None:
    message = Message(id="1", state="NEW", otp="402913", message="Your code is 402913")
    endpoint = Endpoint(id="ep_1", url="https://example.com", events=["message.*"], secret="whsec_c2VjcmV0")
    assert "402913" not in repr(message)
    assert "c2VjcmV0" not in repr([endpoint])


def test_client_is_light() -> None:
    """Whoever only calls the gateway loads none of the platform."""
    look = "import sys, pipeline.client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in loaded
    heavy = {"faust", "mode", "aiokafka", "fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "typer", "numpy"}
    assert not heavy & set(loaded)
