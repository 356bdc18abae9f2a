"""Every error a user can meet, as a value: a code that stays, a message that helps, and whether it is final.

Codes 1000-2999 are those of the HTTP contract; 3000-3999 are our own. A message names what was wrong and,
where it is not plain, what to do.
"""

import msgspec


class Error(msgspec.Struct, frozen=True, array_like=True):
    """What went wrong. `permanent` is False where the same request may succeed later."""

    code: int
    message: str
    permanent: bool = True

    def of(self, field: str) -> "Error":
        """The same, said of a field of a request: its message begins with the name."""
        return Error(self.code, f"{field}: {self.message}", self.permanent)


OTP_LENGTH = 1020
INVALID_RECIPIENT = 2011
WRONG_COUNTRY = 2013
BLOCKLISTED = 2020
INVALID_SENDER = 2021
NUMERIC_SENDER = 2024
PROHIBITED = 2044
PROHIBITED_REGIONAL = 2050

MALFORMED_REQUEST = 3001
UNKNOWN_ACCOUNT = 3002
TOO_MANY_RECIPIENTS = 3003
EMPTY_MESSAGE = 3004
TOO_MANY_PARTS = 3005
DUPLICATE_RECIPIENT = 3006
MISSING_FIELD = 3007
MULTIPLE_PARTS = 3008
REQUEST_ID_REUSED = 3009
TOO_LARGE = 3011
OPTED_OUT = 3012
INVALID_TEXT = 3014

NO_PRICE = 3020
INSUFFICIENT_CREDIT = 3021
COUNTRY_NOT_ALLOWED = 3022
TOO_EXPENSIVE = 3023
RATE_LIMIT = 3024
DAILY_LIMIT = 3025
TRAFFIC_HELD = 3026

NO_ROUTE = 3030
CARRIER_UNAVAILABLE = 3031
CARRIER_REJECTED = 3032
IN_DOUBT = 3033
FAILED_BY_OPERATOR = 3034

UNDELIVERABLE = 3040
EXPIRED = 3041
NO_RECEIPT = 3042

UNAUTHENTICATED = 3050
NOT_FOUND = 3051
UNAVAILABLE = 3052
REQUEST_UNDER_WAY = 3053

SEND_AT = 3080
QUIET_HOURS = 3081
CANCELED = 3082
TOO_LATE = 3083
TOO_MANY_DRAFTS = 3084

INSUFFICIENT_SCOPE = 3060
TOKEN_EXPIRED = 3061
TOO_MANY_REQUESTS = 3062
TOO_MANY_FAILURES = 3063
TOO_MANY_TOKENS = 3064
TOO_SLOW = 3065
HEAD_TOO_LARGE = 3066

URL_NOT_CALLABLE = 3070
TOO_MANY_ENDPOINTS = 3071
ENDPOINT_DISABLED = 3072

BAD_LINES = 3085
NO_RECIPIENTS = 3086
UPLOAD_UNREADABLE = 3087
UPLOAD_SLOW = 3088

#: Codes of prohibited content, which has consequences: blocklisting and a penalty.
PROHIBITED_CODES = frozenset({PROHIBITED, PROHIBITED_REGIONAL})

#: Code to meaning, for the documentation and the tests that hold it against the code.
CATALOGUE: dict[int, str] = {
    OTP_LENGTH: "The OTP's length is not between 4 and 10.",
    INVALID_RECIPIENT: "The recipient is not a mobile number in E.164 format.",
    WRONG_COUNTRY: "The recipient's country is not served by this endpoint.",
    BLOCKLISTED: "The account is blocklisted.",
    INVALID_SENDER: "The sender is not an alias of 3 to 11 letters, digits and spaces.",
    NUMERIC_SENDER: "The sender is purely numeric.",
    PROHIBITED: "The text or the sender holds prohibited content (worldwide, dry run).",
    PROHIBITED_REGIONAL: "The text or the sender holds prohibited content (IT, ES).",
    MALFORMED_REQUEST: "The request does not have the shape of the contract; the message names the fields.",
    UNKNOWN_ACCOUNT: "No account of this name exists.",
    TOO_MANY_RECIPIENTS: "The request has more recipients than a record may hold.",
    EMPTY_MESSAGE: "The text is empty.",
    TOO_MANY_PARTS: "The text needs more parts than allowed.",
    DUPLICATE_RECIPIENT: "The same recipient stands earlier in the request; it is sent to once.",
    MISSING_FIELD: "The template names a field that this recipient does not have.",
    MULTIPLE_PARTS: "The text needs more than one part and failOnMultipleMessages is set.",
    REQUEST_ID_REUSED: "The requestId was used before for a request with other content.",
    TOO_LARGE: "The record is larger than the limit.",
    OPTED_OUT: "The recipient has asked this account, or every account, not to write any more.",
    INVALID_TEXT: "The text holds a character that no SMS can carry.",
    NO_PRICE: "The price list has no price for this destination.",
    INSUFFICIENT_CREDIT: "The account cannot pay for this message.",
    COUNTRY_NOT_ALLOWED: "The account may not send to this country.",
    TOO_EXPENSIVE: "The message costs more than the account allows for one.",
    RATE_LIMIT: "The account's messages a second are used up.",
    DAILY_LIMIT: "The account's messages or spending of the day are used up.",
    TRAFFIC_HELD: "The account's traffic to this range of numbers is held: it came suddenly, and is costly.",
    NO_ROUTE: "No route leads to this destination.",
    CARRIER_UNAVAILABLE: "No carrier could be reached before the message's validity ended.",
    CARRIER_REJECTED: "The carrier refused the message.",
    IN_DOUBT: "It is unknown whether the carrier took the message; it is not sent again.",
    FAILED_BY_OPERATOR: "It stayed unknown whether the carrier took the message, and an operator gave it up.",
    UNDELIVERABLE: "The carrier could not deliver the message.",
    EXPIRED: "The message was not delivered within its validity.",
    NO_RECEIPT: "The carrier sent no receipt within the message's validity.",
    UNAUTHENTICATED: "The bearer token is missing or not valid.",
    NOT_FOUND: "No such thing, or not yours.",
    BAD_LINES: "Lines of the upload are bad and it asked for onError=refuse; nothing was taken.",
    NO_RECIPIENTS: "No line of the upload gives a recipient.",
    UPLOAD_UNREADABLE: "The upload is not of the form it says, or is cut; nothing was taken.",
    UPLOAD_SLOW: "The upload took longer than it may; nothing was taken.",
    UNAVAILABLE: "The service cannot take requests now; repeat after the time in Retry-After.",
    REQUEST_UNDER_WAY: "A request of this requestId or Idempotency-Key is being worked on; repeat it in a moment.",
    SEND_AT: "The time to send at is past, or further ahead than messages are kept.",
    QUIET_HOURS: "The quiet hours cannot be kept: they are too far ahead, or leave no moment of the day.",
    CANCELED: "The message was cancelled before a carrier was called.",
    TOO_LATE: "It is too late: the messages are with a carrier or at their end, or the draft is sent.",
    TOO_MANY_DRAFTS: "The account has as many drafts as are kept; delete some.",
    INSUFFICIENT_SCOPE: "The bearer token may not do this; WWW-Authenticate names the scope that may.",
    TOKEN_EXPIRED: "The bearer token has expired.",
    TOO_MANY_REQUESTS: "The bearer token's requests a second, or at a time, are used up; repeat after Retry-After.",
    TOO_MANY_FAILURES: "Too many wrong bearer tokens came from this address; repeat after Retry-After.",
    TOO_MANY_TOKENS: "The account has as many tokens as it may have.",
    TOO_SLOW: "The request did not arrive in time; the connection is closed.",
    HEAD_TOO_LARGE: "The request's line or its headers are too long.",
    URL_NOT_CALLABLE: "The URL leads to an address that is not called, or is not https where that is asked for.",
    TOO_MANY_ENDPOINTS: "The account has as many callback endpoints as it may have.",
    ENDPOINT_DISABLED: "The callback endpoint is disabled; enable it first.",
}
