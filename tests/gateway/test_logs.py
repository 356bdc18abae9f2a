"""What stands in logs, and what does not."""

import io
import json
import logging
from contextlib import redirect_stderr

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline import logs
from pipeline.config import Logging

NUMBER = "+393331234567"


@pytest.fixture(autouse=True)
def usual():
    before, handlers = structlog.get_config(), logging.root.handlers[:]
    yield
    logs.choose(Logging())
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


def line(**event) -> dict:
    """A line as it is written, outside of a terminal."""
    with redirect_stderr(io.StringIO()) as written:
        logs.configure(logging.INFO)
        structlog.get_logger().info("it.happened", **event)
    return json.loads(written.getvalue())


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"error": f"recipient {NUMBER}: no"}, "recipient +393***67: no"),
        ({"key": f"acme/{NUMBER}".encode()}, "acme/+393***67"),
        ({"error": "GET /opt-outs/%2B393331234567"}, "GET /opt-outs/%2B393***67"),
        ({"recipient": "393331234567"}, "393***67"),
        ({"recipients": [NUMBER, "447700900123"]}, ["+393***67", "447***23"]),
        ({"finding": {"number": NUMBER, "term": "casino"}}, {"number": "+393***67", "term": "casino"}),
        ({"message": "Your code is 123456"}, "(19 characters)"),
        ({"value": b'{"text": "secret"}'}, "(18 bytes)"),
        ({"error": "token smsp_" + "a" * 43}, "token smsp_***"),
        ({"offset": 393331234567}, 393331234567),
        ({"batch": "633aabe3e4a9a0e698"}, "633aabe3e4a9a0e698"),
        ({"at": "2026-11-22T10:00:00.000Z+0100"}, "2026-11-22T10:00:00.000Z+0100"),
    ],
)
def test_numbers_texts_and_secrets_are_masked(given_, told):
    assert line(**given_)[next(iter(given_))] == told


def test_the_configuration_may_want_them():
    logs.choose(Logging(mask_numbers=False, mask_text=False))
    told = line(recipient=NUMBER, message="Hello", error="whsec_" + "a" * 40)
    assert (told["recipient"], told["message"], told["error"]) == (NUMBER, "Hello", "whsec_***")


def test_tracebacks_and_other_peoples_lines_too():
    try:
        raise ValueError(f"{NUMBER} is wrong")
    except ValueError:
        told = line(exc_info=True)["exception"]
    assert "+393***67 is wrong" in told and NUMBER not in told
    with redirect_stderr(io.StringIO()) as written:
        logging.root.handlers.clear()
        logs.configure(logging.INFO)
        logging.getLogger("uvicorn.error").error("failed for %s", NUMBER)
    assert "failed for +393***67" in written.getvalue()


def test_what_no_json_holds_is_told_all_the_same():
    assert line(error="\ud83d", count=2**70, path=object())["count"] == 2**70


def test_the_request_is_named():
    token = logs.trace.set("abc")
    assert line(a=1)["trace"] == "abc"
    logs.trace.reset(token)
    assert "trace" not in line(a=1)


@given(st.from_regex(r"\A[1-9][0-9]{7,14}\Z"), st.text(max_size=20), st.sampled_from(["", " ", ",", "."]))
def test_no_whole_number_is_ever_left(digits, around, after):
    assert f"+{digits}" not in logs.mask(f"{around}+{digits}{after}")
