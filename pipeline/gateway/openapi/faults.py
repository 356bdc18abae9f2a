"""Every refusal that HTTP can answer, as an example: status, code, the message a client reads."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from schemas import errors

_TRACE = "3f8a1c2e9b7d4056"


class Fault(NamedTuple):
    """One way to be refused. `members`: of the problem, beside those that all have."""

    status: int
    code: int
    message: str
    members: Mapping[str, Any] = {}

    @property
    def body(self) -> dict[str, Any]:
        """The problem details, as gateway/problems.py writes them."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            "message": self.message,
            **self.members,
            "trace": _TRACE,
        }


_DOOR = {
    "no-http": Fault(400, errors.MALFORMED_REQUEST, "this is no HTTP request (RFC 9112); the connection is closed"),
    "nul": Fault(400, errors.MALFORMED_REQUEST, "the path or the query holds a NUL character; leave it out"),
    "slow": Fault(408, errors.TOO_SLOW, "the body of the request did not come in time; the connection is closed"),
    "long-target": Fault(414, errors.HEAD_TOO_LARGE, "a request's target may have 8192 bytes; shorten it"),
    "long-head": Fault(
        431, errors.HEAD_TOO_LARGE, "a request's line and headers may have 32768 bytes together; shorten them"
    ),
    "broken": Fault(
        500, errors.UNAVAILABLE, "something went wrong here; whether the request was taken is not known"
    ),
    "unavailable": Fault(503, errors.UNAVAILABLE, "too many requests are being worked on; try again"),
    "no-token": Fault(401, errors.UNAUTHENTICATED, "send the header Authorization: Bearer TOKEN"),
    "wrong-token": Fault(401, errors.UNAUTHENTICATED, "the bearer token is not valid"),
    "expired-token": Fault(
        401, errors.TOKEN_EXPIRED,
        "the bearer token 0f3a5c7e9b11 expired at 2026-11-22T10:00:00.000Z; make a new one",
    ),
    "scope": Fault(
        403, errors.INSUFFICIENT_SCOPE, "this token's scope is read; this operation wants send"
    ),
    "too-many-requests": Fault(
        429, errors.TOO_MANY_REQUESTS, "more than 10000 requests in 2 s with this token; slow down"
    ),
    "too-many-failures": Fault(
        429, errors.TOO_MANY_FAILURES,
        "too many wrong bearer tokens came from your address; a token that is valid is served meanwhile",
    ),
    "not-found": Fault(404, errors.NOT_FOUND, "no message '633aabe3e4a9a0e69811ad7f' of this account"),
}  # fmt: skip

_BODY = {
    "no-json": Fault(
        400, errors.MALFORMED_REQUEST,
        "the body is not JSON in UTF-8: unexpected end of data: line 1 column 2 (char 1)",
    ),
    "bad-key": Fault(
        400, errors.MALFORMED_REQUEST,
        'Idempotency-Key: give one of 1 to 128 ASCII characters between quotes, such as "8f14e45f-ceea"',
    ),
    "large-body": Fault(413, errors.TOO_LARGE, "a request may have 4194304 bytes; split it"),
    "malformed": Fault(422, errors.MALFORMED_REQUEST, "sendr: unknown field; options.dryRun: true or false is wanted"),
    "parameter": Fault(
        422, errors.MALFORMED_REQUEST, "limit: 1000 or less is wanted"
    ),
    "unknown-parameter": Fault(
        422, errors.MALFORMED_REQUEST, "operater: unknown parameter; there are country, cursor, limit"
    ),
    "invalid-text": Fault(
        422, errors.INVALID_TEXT, "message: U+D83D at index 0 is half a character and cannot be sent: remove it"
    ),
}  # fmt: skip

_SENDING = {
    "blocklisted": Fault(
        403, errors.BLOCKLISTED, "The user is blocklisted. Please contact support for assistance."
    ),
    "under-way": Fault(
        409, errors.REQUEST_UNDER_WAY, "requestId: 'order-7-shipped' is being worked on; repeat it in a moment"
    ),
    "otp-length": Fault(422, errors.OTP_LENGTH, "Length must be between 4 and 10."),
    "invalid-recipient": Fault(422, errors.INVALID_RECIPIENT, "recipient: no + at the start"),
    "wrong-country": Fault(
        422, errors.WRONG_COUNTRY,
        "The recipient number does not belong to the supported country for this endpoint (IT).",
    ),
    "invalid-sender": Fault(422, errors.INVALID_SENDER, "sender: the sender has 2 characters, 3 to 11 are allowed"),
    "numeric-sender": Fault(
        422, errors.NUMERIC_SENDER, "sender: a sender of digits only is not allowed: use at least one letter"
    ),
    "prohibited": Fault(
        422, errors.PROHIBITED, 'The sent message does not comply with the legal requirements: message: "free money".',
        {"id": "633aabe3e4a9a0e69811ad7f", "requestId": "order-7-shipped"},
    ),
    "prohibited-regional": Fault(
        422, errors.PROHIBITED_REGIONAL,
        'The sent message does not comply with the legal requirements: message: "free money".',
        {"id": "633aabe3e4a9a0e69811ad7f", "requestId": "order-7-shipped"},
    ),
    "too-many-recipients": Fault(
        422, errors.TOO_MANY_RECIPIENTS, "recipients: at most 10000 in one request; split it"
    ),
    "empty-message": Fault(422, errors.EMPTY_MESSAGE, "message: is empty; write a text"),
    "too-many-parts": Fault(
        422, errors.TOO_MANY_PARTS, "message: the text would need 14 parts, at most 10 are allowed: shorten it"
    ),
    "missing-field": Fault(
        422, errors.MISSING_FIELD, 'message: field "name" is missing and the template gives no default for it'
    ),
    "multiple-parts": Fault(
        422, errors.MULTIPLE_PARTS,
        "ALERT: the text needs 2 parts (161 characters in GSM-7, one part holds 160) and "
        "options.failOnMultipleMessages is set; shorten it by 1, or unset the option",
    ),
    "id-reused": Fault(
        422, errors.REQUEST_ID_REUSED,
        "requestId: 'order-7-shipped' was used before for a request with other content; use a new id",
    ),
    "url-not-callable": Fault(
        422, errors.URL_NOT_CALLABLE, "callback.url: 10.0.0.1 is neither on the public Internet nor in callbacks.allow"
    ),
    "send-at": Fault(
        422, errors.SEND_AT,
        "options.sendAt: 2026-11-21T10:00:00.000Z is past, it is 2026-11-22T10:00:00.000Z; leave it out to send "
        "at once",
    ),
    "quiet-hours": Fault(
        422, errors.QUIET_HOURS,
        "options.quietHours: at no moment of the day is it outside of them in every zone that this number may be in "
        "(9: America/Adak to Pacific/Honolulu); shorten them, or send to it without",
    ),
}  # fmt: skip

#: What would end a message, as a dry run tells it.
_SIMULATED = {
    "opted-out": Fault(422, errors.OPTED_OUT, "recipient: +393331234567 has opted out of messages from this account"),
    "no-price": Fault(422, errors.NO_PRICE, "recipient: the price list has no price for ZZ"),
    "no-credit": Fault(
        422, errors.INSUFFICIENT_CREDIT,
        "account: 0.99 EUR available, this message costs 0.0500, and 1.00 must be available for it (the minimum per "
        "part); add credit",
    ),
    "country-not-allowed": Fault(
        422, errors.COUNTRY_NOT_ALLOWED, "recipient: this account may send to IT, ES, not to FR"
    ),
    "too-expensive": Fault(
        422, errors.TOO_EXPENSIVE, "recipient: costs 0.3000, and the account's most is 0.1000"
    ),
    "rate-limit": Fault(
        422, errors.RATE_LIMIT, "account: its limit of 1 messages a second is reached; send again later"
    ),
    "daily-limit": Fault(
        422, errors.DAILY_LIMIT, "account: its limit of 100 messages a day is reached; send again later"
    ),
    "traffic-held": Fault(
        422, errors.TRAFFIC_HELD, "recipient: the account's traffic to +39333 is held; ask the operator to release it"
    ),
    "no-route": Fault(422, errors.NO_ROUTE, "no route leads to +393331234567; add one to routes"),
}  # fmt: skip

_THINGS = {
    "too-late": Fault(
        409, errors.TOO_LATE, "too late to cancel: the message is DELIVERED; nothing was changed"
    ),
    "draft-sent": Fault(
        409, errors.TOO_LATE, "draft 4b1d6f0a9c3e7258 was sent at 2026-11-22T10:00:00.000Z; it stays as it was sent"
    ),
    "too-many-drafts": Fault(
        409, errors.TOO_MANY_DRAFTS, "1000 drafts of 204800 bytes; 1000 of 16777216 are kept. Delete some"
    ),
    "too-many-endpoints": Fault(
        409, errors.TOO_MANY_ENDPOINTS, "an account may have 20 endpoints; remove one first"
    ),
    "endpoint-disabled": Fault(
        409, errors.ENDPOINT_DISABLED, "endpoint ep_0123456789abcdef01234567 is disabled; enable it first"
    ),
    "too-many-tokens": Fault(
        409, errors.TOO_MANY_TOKENS, "the account has 100 tokens; revoke one that nobody uses any more"
    ),
    "no-secret": Fault(
        403, errors.UNAUTHENTICATED,
        "a secret must be configured for this carrier before its receipts are taken: carriers.sim.secret",
    ),
    "wrong-signature": Fault(
        401, errors.UNAUTHENTICATED, "the signature does not hold: No matching signature found"
    ),
}  # fmt: skip

_BAD_LINES = {"badLineCount": 1, "badLines": [{"line": 7, "reason": "3 columns, the header has 2"}]}
_UPLOADS = {
    "unreadable-upload": Fault(
        400, errors.UPLOAD_UNREADABLE, "no multipart/form-data: it ends before its last boundary"
    ),
    "slow-upload": Fault(
        408, errors.UPLOAD_SLOW, "the upload did not come within 900 s; split it, or send it gzipped"
    ),
    "large-upload": Fault(413, errors.TOO_LARGE, "an upload may have 268435456 bytes; split it"),
    "media-type": Fault(
        415, errors.MALFORMED_REQUEST, "Content-Encoding: 'br' is not taken; send gzip, or as it is"
    ),
    "bad-lines": Fault(
        422, errors.BAD_LINES, "1 bad lines, and onError is refuse: nothing was taken", _BAD_LINES
    ),
    "no-recipients": Fault(422, errors.NO_RECIPIENTS, "recipients: no line gives a recipient", _BAD_LINES),
}  # fmt: skip

#: By name.
FAULTS: dict[str, Fault] = _DOOR | _BODY | _SENDING | _SIMULATED | _THINGS | _UPLOADS

#: Codes that no request is refused with: they tell, in `error` of a message or among those refused, what became of it.
TOLD_LATER = frozenset(
    {
        errors.UNKNOWN_ACCOUNT, errors.DUPLICATE_RECIPIENT, errors.CARRIER_UNAVAILABLE,
        errors.CARRIER_REJECTED, errors.IN_DOUBT, errors.FAILED_BY_OPERATOR, errors.UNDELIVERABLE, errors.EXPIRED,
        errors.NO_RECEIPT, errors.CANCELED,
    }
)  # fmt: skip
