"""What is wrong with a request's shape, in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.gateway.otp.routes import OtpRequest
from schemas import faults, intake

_FORMS = 'a text such as "+393331234567" is wanted, or {"number": "+393331234567", "fields": {…}}'
_URL = "a URL such as https://client.example/told is wanted"


def told(model: type[Any] = intake.Request, **changes: Any) -> str:
    sent = {"account": "acme", "message": "Hi", "recipients": ["+393331234567"]} if model is intake.Request else {}
    sent |= {"recipient": "+393331234567"} if model is OtpRequest else {}
    if "recipient" in changes:
        sent.pop("recipients", None)
    sent |= changes
    with pytest.raises(ValidationError) as found:
        model.model_validate(sent)
    return faults.told(found.value, sent, model).message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipient": 393331234567}, f"recipient: {_FORMS}, or a list of these"),
        ({"recipients": ["+39", None]}, f"recipients.1: {_FORMS}"),
        ({"recipient": {"number": "+39", "name": "x"}}, "recipient.name: unknown field"),
        ({"recipient": {"number": 39}}, "recipient.number: a text is wanted"),
        ({"recipient": {"number": "+39", "fields": {"a": []}}}, "recipient.fields.a: a text or a number is wanted"),
        ({"recipients": []}, "recipients: is empty"),
        ({"recipients": 39}, "recipients: a list is wanted"),
        ({"callback": "x"}, "callback: an object is wanted"),
        ({"callback": {"url": "nowhere"}}, f"callback.url: {_URL}"),
        ({"callback": {"url": "ftp://a.example"}}, f"callback.url: {_URL}"),
        ({"callback": {"retry": 6}}, "callback.url: is missing; callback.retry: 5 or less is wanted"),
        ({"callback": {"url": "https://a.example", "method": "GET"}}, "callback.method: 'JSON' or 'POST' is wanted"),
        ({"options": {"dryRun": "yes"}}, "options.dryRun: true or false is wanted"),
        ({"requestId": "x" * 129}, "requestId: at most 128 characters are allowed"),
        ({"colour": 1}, "colour: unknown field"),
        ({"dryRun": True}, "dryRun: unknown field; it belongs in options"),
        ({"sendAt": "2030-01-31"}, "sendAt: unknown field; it belongs in options"),
        ({"url": "https://a.example"}, "url: unknown field; it belongs in callback"),
        ({"recipient": "+39", "fields": {}}, "fields: unknown field; it belongs in recipient"),
        ({"options": {"sender": "A"}}, "options.sender: unknown field; it belongs beside options, not in it"),
        ({"options": {"retry": 1}}, "options.retry: unknown field; it belongs in callback"),
    ],
)
def test_each_fault_is_told_in_words_of_the_request(changes: dict[str, Any], message: str) -> None:
    assert told(**changes) == message


def test_a_field_belongs_where_that_request_has_it() -> None:
    assert told(OtpRequest, dryRun=True) == "dryRun: unknown field; it belongs in options"
    assert told(OtpRequest, sendAt="2030-01-31") == "sendAt: unknown field"


def test_a_recipient_among_several_is_told_by_its_place() -> None:
    sent = {"account": "acme", "message": "Hi", "recipients": ["+39", 7, {"number": "+39", "sender": "A"}]}
    with pytest.raises(ValidationError) as found:
        intake.Request.model_validate(sent)
    assert {place: one.message for place, one in (faults.by_recipient(found.value, sent) or {}).items()} == {
        1: f"recipients.1: {_FORMS}",
        2: "recipients.2.sender: unknown field; it belongs beside recipients, not in it",
    }
