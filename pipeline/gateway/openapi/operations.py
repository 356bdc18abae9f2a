"""The operations: what each takes, answers and refuses. Parameters, summaries and descriptions are the routes' own.

A route that is not listed here, and a line here without a route, fail the tests.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.gateway.openapi.media import Answer, Body, blank, json, listed, one, page, page_or_csv, text, upload
from pipeline.tokens import Scope


class Operation(msgspec.Struct, frozen=True):
    """`answers`: by status; `refusals`: names of FAULTS, beside those of `common`; `takes_key`: Idempotency-Key;
    `scope`: what the token must allow, None: read where it is a GET, else send; `token`: whether there is one."""

    id: str
    answers: Mapping[int, Answer]
    refusals: str = ""
    body: Body | None = None
    takes_key: bool = False
    scope: Scope | None = None
    token: bool = True


#: Of the connection, whatever is asked.
CONNECTION = "no-http slow long-target long-head broken"
#: Of every route that is no probe.
DOOR = f"{CONNECTION} nul unavailable"
#: Of every route that wants a token.
BEARER = "no-token wrong-token expired-token scope unknown-parameter too-many-requests too-many-failures"

_JSON = "no-json large-body malformed invalid-text"
_SHAPE = f"{_JSON} invalid-sender empty-message too-many-recipients"
_CALL = "url-not-callable send-at quiet-hours"
_TEXT = "numeric-sender too-many-parts missing-field multiple-parts"
_CHECKED = f"{_SHAPE} {_TEXT} {_CALL} invalid-recipient"
_SIMULATED = (
    "opted-out no-price no-credit country-not-allowed too-expensive rate-limit daily-limit traffic-held no-route"
)
_TAKEN = f"bad-key blocklisted under-way id-reused {_SIMULATED}"
_SEND = f"{_CHECKED} {_TAKEN} prohibited"

_MESSAGE = one("MessageResponse", "Taken, and durable.")
_UNNAMED = json("SendMessageRequest", example="UnnamedRequest")
_DRAFT = one("DraftResponse", "The draft.")
_ENDPOINT = one("Endpoint", "The endpoint.")
_WITH_SECRET = one("EndpointWithSecret", "The endpoint, with its new secret, which is shown this once.")
_GONE = blank("Done.")
_HEALTH = "Health"


def _sending(example: str) -> dict[str, Any]:
    """Each path has an example of its own: under one requestId they would be repeats with other content."""
    body = json("SendMessageRequest", example=example)
    return {"answers": {201: _MESSAGE}, "body": body, "takes_key": True}


OPERATIONS: dict[str, Operation] = {
    "POST /messages": Operation(
        "sendMessage", refusals=f"{_SEND} wrong-country prohibited-regional", **_sending("SendMessageRequest")
    ),
    "POST /WW-messages": Operation("sendWorldwideMessage", refusals=_SEND, **_sending("WorldwideRequest")),
    "POST /IT-messages": Operation(
        "sendItalianMessage", refusals=f"{_SEND} wrong-country prohibited-regional", **_sending("ItalianRequest")
    ),
    "POST /ES-messages": Operation(
        "sendSpanishMessage", refusals=f"{_SEND} wrong-country prohibited-regional", **_sending("SpanishRequest")
    ),
    "GET /messages": Operation(
        "listMessages", {200: page("MessageResponse", "A page of messages.")}, "parameter"
    ),
    "GET /messages/{id}": Operation("getMessage", {200: one("MessageResponse", "The message.")}, "not-found"),
    "DELETE /messages/{id}": Operation(
        "cancelMessage", {202: one("Cancellation", "Taken; the message's status tells whether it came in time.")},
        "not-found too-late",
    ),
    "POST /messages/cancel": Operation(
        "cancelRequest", {202: one("RequestCancellation", "Taken; their statuses tell whether it came in time.")},
        f"{_JSON} too-late", json("CancelRequest"),
    ),
    "GET /statistics": Operation("getStatistics", {200: listed("Count", "The counts.")}, "parameter"),
    "POST /estimate": Operation(
        "estimate", {200: one("Estimate", "What it would cost.")}, f"{_SHAPE} bad-key blocklisted",
        _UNNAMED, takes_key=True,
    ),
    "POST /otp": Operation(
        "sendOtp", {201: one("MessageResponse", "Sent, and durable.", example="OtpResponse")},
        f"{_JSON} {_TAKEN} otp-length invalid-recipient prohibited url-not-callable",
        json("OtpRequest"), takes_key=True,
    ),
    "POST /otp/verify": Operation(
        "verifyOtp", {200: one("Verification", "Whether it is the code.")}, f"{_JSON} blocklisted invalid-recipient",
        json("VerifyRequest"),
    ),
    "POST /batches": Operation(
        "createBatch", {202: one("Upload", "Every recipient is durable.")},
        f"bad-key no-json unreadable-upload blocklisted slow-upload large-upload media-type malformed invalid-text "
        f"invalid-sender empty-message too-many-recipients id-reused numeric-sender too-many-parts multiple-parts "
        f"{_CALL} bad-lines no-recipients",
        upload("UploadRequest"), takes_key=True,
    ),
    "GET /batches": Operation("listBatches", {200: page("BatchSummary", "A page of uploads.")}, "parameter"),
    "GET /batches/{id}": Operation("getBatch", {200: one("Batch", "The batch.")}, "not-found"),
    "GET /batches/{id}/errors": Operation(
        "listBatchErrors", {200: listed("BadLine", "The lines.", badLineCount="BatchSummary")}, "not-found"
    ),
    "GET /batches/{id}/messages": Operation(
        "listBatchMessages", {200: page_or_csv("MessageResponse", "A page of messages; or CSV, all of them.")},
        "not-found parameter",
    ),
    "POST /drafts": Operation(
        "createDraft", {201: _DRAFT}, f"{_CHECKED} bad-key id-reused too-many-drafts wrong-country", _UNNAMED,
        takes_key=True,
    ),
    "GET /drafts": Operation("listDrafts", {200: listed("DraftSummary", "All of them.")}),
    "GET /drafts/{id}": Operation("getDraft", {200: _DRAFT}, "not-found"),
    "PUT /drafts/{id}": Operation(
        "replaceDraft", {200: _DRAFT}, f"{_CHECKED} not-found draft-sent too-many-drafts wrong-country",
        _UNNAMED,
    ),
    "DELETE /drafts/{id}": Operation("deleteDraft", {204: _GONE}, "not-found"),
    "POST /drafts/{id}/send": Operation(
        "sendDraft", {201: _MESSAGE},
        f"{_CALL} {_TEXT} not-found blocklisted under-way draft-sent id-reused no-json large-body prohibited "
        "prohibited-regional malformed invalid-text invalid-sender invalid-recipient wrong-country",
    ),
    "GET /balance": Operation("getBalance", {200: one("Balance", "The money.")}),
    "GET /statement": Operation(
        "getStatement", {200: page_or_csv("Movement", "A page of movements; or CSV.")}, "parameter"
    ),
    "GET /statistics/spend": Operation("getSpend", {200: listed("Spend", "The sums.")}, "parameter"),
    "GET /prices": Operation("listPrices", {200: page("Price", "A page of prices.", version="Prices")}, "parameter"),
    "GET /opt-outs": Operation("listOptOuts", {200: page("OptOut", "A page of numbers.")}, "parameter"),
    "POST /opt-outs": Operation(
        "createOptOuts", {201: one("OptOutCounts", "All of them are opted out.")},
        f"{_JSON} invalid-recipient too-many-recipients", json("OptOutRequest"),
    ),
    "GET /opt-outs/{number}": Operation(
        "getOptOut", {200: one("OptOut", "It has opted out.")}, "not-found invalid-recipient"
    ),
    "PUT /opt-outs/{number}": Operation(
        "putOptOut", {200: one("OptOut", "It was there."), 201: one("OptOut", "It is new.")}, "invalid-recipient"
    ),
    "DELETE /opt-outs/{number}": Operation("deleteOptOut", {204: _GONE}, "not-found invalid-recipient"),
    "GET /callbacks/endpoints": Operation("listEndpoints", {200: listed("Endpoint", "All of them.")}),
    "POST /callbacks/endpoints": Operation(
        "createEndpoint", {201: _WITH_SECRET}, f"{_JSON} url-not-callable too-many-endpoints", json("EndpointRequest"),
        scope=Scope.ADMIN,
    ),
    "GET /callbacks/endpoints/{id}": Operation("getEndpoint", {200: _ENDPOINT}, "not-found"),
    "PUT /callbacks/endpoints/{id}": Operation(
        "replaceEndpoint", {200: _ENDPOINT}, f"{_JSON} url-not-callable not-found", json("EndpointRequest"),
        scope=Scope.ADMIN,
    ),
    "DELETE /callbacks/endpoints/{id}": Operation("deleteEndpoint", {204: _GONE}, "not-found", scope=Scope.ADMIN),
    "POST /callbacks/endpoints/{id}/secrets": Operation(
        "rotateSecret", {201: _WITH_SECRET}, f"{_JSON} not-found", json("RotationRequest", required=False),
        scope=Scope.ADMIN,
    ),
    "POST /callbacks/endpoints/{id}/test": Operation(
        "testEndpoint", {202: one("TestCall", "It will be called.")}, "not-found endpoint-disabled",
        scope=Scope.ADMIN,
    ),
    "GET /callbacks/deliveries": Operation(
        "listDeliveries", {200: page("Delivery", "A page of attempts.")}, "parameter"
    ),
    "POST /callbacks/replay": Operation(
        "replayCallbacks", {202: one("Replay", "These are told again.")}, _JSON, json("ReplayRequest", required=False)
    ),
    "GET /tokens": Operation("listTokens", {200: listed("Token", "All of them.")}, scope=Scope.ADMIN),
    "POST /tokens": Operation(
        "createToken", {201: one("NewToken", "The token, which is shown this once.")}, f"{_JSON} too-many-tokens",
        json("TokenRequest", required=False), scope=Scope.ADMIN,
    ),
    "DELETE /tokens/{id}": Operation("deleteToken", {204: _GONE}, "not-found", scope=Scope.ADMIN),
    "POST /carriers/{name}/receipts": Operation(
        "takeReceipts", {204: blank("Every receipt is durable.")},
        "no-json large-body malformed not-found no-secret wrong-signature", json("ReceiptsRequest"), token=False,
    ),
    "GET /health/live": Operation("live", {200: text("application/json", "It is.", _HEALTH)}, token=False),
    "GET /health/ready": Operation(
        "ready",
        {
            200: text("application/json", "They can.", _HEALTH),
            503: text("application/json", "They cannot; `missing` tells why.", _HEALTH, example="Waiting"),
        },
        token=False,
    ),
    "GET /metrics": Operation("metrics", {200: text("text/plain", "The metrics.")}, token=False),
    "GET /openapi.json": Operation(
        "document", {200: text("application/json", "OpenAPI 3.1.", "Document")}, token=False
    ),
    "GET /docs": Operation("page", {200: text("text/html", "For people.")}, token=False),
}  # fmt: skip

#: Those that are answered however busy it is.
PROBES = ("/health/", "/metrics")
