"""Callbacks as their receiver verifies them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pipeline.client import BadAnswer, BadSignature, verify_callback

SECRET, OTHER = ("whsec_" + base64.b64encode(seed * 32).decode() for seed in (b"a", b"b"))
BODY = json.dumps({"id": "633a", "state": "DELIVERED", "message": "Grüße"}).encode()


def signed(body: bytes = BODY, secret: str = SECRET, age: float = 0) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age)
    signature = Webhook(secret).sign("msg_1", at, body.decode())
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def test_what_is_signed_is_told() -> None:
    assert verify_callback(SECRET, signed(), BODY) == json.loads(BODY)


def test_either_secret_while_keys_rotate() -> None:
    for secret in (SECRET, OTHER):
        assert verify_callback([SECRET, OTHER], signed(secret=secret), BODY)
    both = signed()
    both["Webhook-Signature"] = f"v2,eA== {signed(secret=OTHER)['Webhook-Signature']} {both['Webhook-Signature']}"
    assert verify_callback(SECRET, both, BODY)


@pytest.mark.parametrize("age", [301, -310])
def test_another_time(age: float) -> None:
    with pytest.raises(BadSignature):
        verify_callback(SECRET, signed(age=age), BODY)


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(sorted(signed())), st.text(max_size=60)))
def test_nothing_else_passes(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        verify_callback(SECRET, signed(secret=OTHER) | headers, body)


def test_signed_but_not_json() -> None:
    with pytest.raises(BadAnswer):
        verify_callback(SECRET, signed(b"data=1"), b"data=1")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a"])
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(ValueError, match="not a secret"):
        verify_callback(secret, signed(), BODY)
