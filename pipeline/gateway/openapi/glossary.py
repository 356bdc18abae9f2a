"""What names mean, and how their values are written: one word has one meaning on the whole surface.

A name is looked for with its owner first: `Owner.field` of a schema, `operation?parameter`, `path?parameter` (by the
path's first part), then `field` or `?parameter`. A name that is missing here fails the tests, and so does one that is
not used.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.billing.price_rows import TIME_PATTERN
from pipeline.callbacks.deliveries import STATES as DELIVERY_STATES
from pipeline.callbacks.endpoints import CHOICES
from pipeline.gateway.messages.filters import STATES
from pipeline.gateway.openapi.texts import TEXTS
from pipeline.store.spending import SPEND_BY
from pipeline.store.statistics import BY
from pipeline.tokens import Scope
from schemas import intake
from schemas.ledger import Kind
from schemas.states import STATE, Detailed

__all__ = ["SCHEMAS", "SHAPES", "TEXTS", "key_of", "told"]

_COARSE = list(dict.fromkeys(STATE.values()))
_TIME: dict[str, Any] = {"format": "date-time"}
_MONEY: dict[str, Any] = {"pattern": r"^-?[0-9]+\.[0-9]{2,6}$"}
_NUMBER = {"type": "number", "minimum": 0}
_COUNT: dict[str, Any] = {"minimum": 0}
_PLACE: dict[str, Any] = {"minimum": 1}
_MESSAGE_ID: dict[str, Any] = {"pattern": "^[0-9a-f]{24}$"}
_E164: dict[str, Any] = {"pattern": r"^\+[1-9][0-9]{1,14}$"}
_MINUTE: dict[str, Any] = {"pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_STATE, _DETAILED = {"enum": _COARSE}, {"enum": [state.name for state in Detailed]}
_MOMENT = {"type": "string", "pattern": f"^(?:{TIME_PATTERN})?$", "examples": ["2026-11-22", "2026-11-22T10:00:00Z"]}
_RECIPIENT = {"anyOf": [{"type": "string", "maxLength": 64, **_E164}, {"$ref": "#/components/schemas/Recipient"}]}
_CALLBACK = {"$ref": "#/components/schemas/Callback"}
_OPTIONS = {"$ref": "#/components/schemas/Options"}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_BY_STATE = {**_COUNTS, "propertyNames": {"enum": _COARSE}}
_FREE = {"type": ["object", "null"], "additionalProperties": True}

#: How values are written, beside what the models tell. One with a type, a choice or a reference stands for all of it.
SHAPES: dict[str, Mapping[str, Any]] = {
    **dict.fromkeys(("createdAt", "updatedAt", "sentAt", "deliveredAt", "expiresAt", "at", "nextAttemptAt"), _TIME),
    "CarrierReceipt.doneAt": {},
    "TokenRequest.expiresAt": {**_MOMENT, "type": ["string", "null"]},
    **dict.fromkeys(("balance", "reserved", "available", "amount", "price", "totalPrice", "spent", "mark"), _MONEY),
    **{f"{owner}.{field}": _NUMBER
       for owner in ("MessageResponse", "CallbackMessage") for field in ("price", "totalPrice")},
    **dict.fromkeys(
        ("recipients", "accepted", "parts", "messages", "charactersCount", "messageCount", "partsDelivered", "added",
         "known", "final", "attemptsLeft", "deliveries", "repeats", "badLineCount", "milliseconds", "index", "count",
         "bundleLeft", "p50", "p90", "p99"), _COUNT),
    "share": {"minimum": 0, "maximum": 1},
    **dict.fromkeys(("sequence", "line", "attempt"), _PLACE),
    "state": _STATE, "detailedState": _DETAILED, "states": _BY_STATE,
    "RequestCancellation.states": {**_COUNTS, "propertyNames": _DETAILED},
    "detailedStates": {**_COUNTS, "propertyNames": _DETAILED},
    "Delivery.state": {"enum": list(DELIVERY_STATES)},
    "ReplayRequest.state": {}, "Cancellation.state": {"enum": [*_COARSE, None]},
    "Cancellation.detailedState": {"enum": [*_DETAILED["enum"], None]},
    "Batch.message": {"type": ["string", "null"]},
    "Count.state": {}, "Count.detailedState": {},
    "MessageResponse.id": _MESSAGE_ID, "CallbackMessage.id": _MESSAGE_ID, "Cancellation.id": _MESSAGE_ID,
    "recipient": {}, "OptOut.recipient": _E164, "OtpRequest.recipient": _E164, "VerifyRequest.recipient": _E164,
    "SendMessageRequest.recipient": {
        "anyOf": [*_RECIPIENT["anyOf"],
                  {"type": "array", "minItems": 1, "maxItems": intake.MAX_RECIPIENTS, "items": _RECIPIENT}]},
    "SendMessageRequest.recipients": {
        "type": "array", "minItems": 1, "maxItems": intake.MAX_RECIPIENTS, "items": _RECIPIENT},
    "OptOutRequest.recipients": {
        "type": "array", "maxItems": intake.MAX_RECIPIENTS, "items": {"type": "string", **_E164}},
    "Recipient.number": _E164,
    "SendMessageRequest.sender": {
        "pattern": "^(?=[A-Za-z0-9 ]*[A-Za-z])[A-Za-z0-9 ]{3,11}$|^$", "maxLength": 11,
        "default": intake.DEFAULT_SENDER},
    "UploadRequest.sender": {
        "pattern": "^(?=[A-Za-z0-9 ]*[A-Za-z])[A-Za-z0-9 ]{3,11}$|^$", "maxLength": 11,
        "default": intake.DEFAULT_SENDER},
    "MessageResponse.options": _OPTIONS, "CallbackMessage.options": _OPTIONS, "MessageResponse.callback": _CALLBACK,
    "MessageResponse.custom": _FREE, "CallbackMessage.custom": _FREE,
    "MessageResponse.otpOptions": {
        "type": "object", "properties": {"length": {"type": "integer"}, "alphanumeric": {"type": "boolean"},
                                         "cacheSeconds": {"type": "integer"}}},
    "MessageResponse.error": {"anyOf": [{"$ref": "#/components/schemas/StatusError"}, {"type": "null"}]},
    "encoding": {"enum": ["GSM-7", "UCS-2"]}, "CallbackMessage.encoding": {"enum": ["GSM-7", "UCS-2", None]},
    "DraftResponse.request": {"$ref": "#/components/schemas/SendMessageRequest"},
    "OtpRequest.length": {"minimum": 4, "maximum": 10},
    "kind": {"enum": [kind.value for kind in Kind]},
    "AccountNews.kind": {"enum": [one.removeprefix("account.") for one in CHOICES["account.*"]]},
    "AccountNews.limit": {"enum": ["spendADay", "messagesADay"]},
    "currency": {"pattern": "^([A-Z]{3})?$"}, "countryCode": {"pattern": "^[A-Z0-9]{2,3}$"},
    "url": {"format": "uri", "pattern": r"^https?://[^\s\\]+$"}, "events": {"minItems": 1}, "Replay.events": _COUNT,
    "EndpointRequest.events": {"items": {"enum": list(CHOICES)}},
    "TokenRequest.scopes": {"items": {"enum": [str(scope) for scope in Scope]}},
    "QuietHours.from": _MINUTE, "QuietHours.to": _MINUTE,
    "Callback.headers": {
        "maxProperties": 32, "propertyNames": {"pattern": r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"},
        "additionalProperties": {"type": "string", "pattern": r"^[\t\x20-\x7e]{0,2000}$"}},
    "Endpoint.events": {"items": {"enum": list(CHOICES)}, "minItems": 0},
    "EndpointWithSecret.events": {"items": {"enum": list(CHOICES)}}, "Delivery.events": {},
    "NewToken.token": {"pattern": "^smsp_[A-Za-z0-9_-]{43}$"},
    "Token.id": {"pattern": "^[0-9a-f]{12}$"}, "NewToken.id": {"pattern": "^[0-9a-f]{12}$"},
    "secret": {"pattern": "^whsec_"}, "Health.status": {"enum": ["ok", "waiting"]},
    "ReplayRequest.from": {**_MOMENT, "type": ["string", "null"]},
    "ReplayRequest.to": {**_MOMENT, "type": ["string", "null"]},
    # Parameters
    "?from": _MOMENT, "?to": _MOMENT,
    "?state": {"items": {"enum": STATES}},
    "listDeliveries?state": {"enum": ["", *DELIVERY_STATES]},
    "?format": {"enum": ["json", "csv"]}, "getStatement?format": {"enum": ["", "json", "csv"]},
    "?kind": {"items": {"enum": [kind.value for kind in Kind]}},
    "getStatistics?by": {"items": {"enum": list(BY)}, "maxItems": 3}, "getSpend?by": {"enum": list(SPEND_BY)},
    "?country": {"pattern": "^([A-Za-z]{2}|001)?$"}, "?countryCode": {"pattern": "^([A-Za-z]{2}|001)?$"},
    "?recipient": {"pattern": r"^([+]?[1-9][0-9 -]{6,14})?$"}, "?endpoint": {"pattern": "^(ep_[0-9a-f]{24})?$"},
    "ReplayRequest.endpoint": {"pattern": "^(ep_[0-9a-f]{24})?$"},
    "?message": {"pattern": "^([0-9a-fA-F]{24})?$"},
    "listMessages?requestId": {"maxItems": 10},
    "messages?id": {"pattern": "^[0-9a-fA-F]{24}$"}, "drafts?id": {"pattern": "^[0-9a-f]{16}$"},
    "callbacks?id": {"pattern": "^ep_[0-9a-f]{24}$"}, "tokens?id": {"pattern": "^[0-9a-f]{12}$"},
    "batches?id": {"minLength": 1, "maxLength": 128},
    "opt-outs?number": {"pattern": r"^\+?[1-9][0-9]{1,14}$"},
    "carriers?name": {"minLength": 1},
}  # fmt: skip

_EVENT: dict[str, Any] = {"type": "object", "required": ["type", "timestamp", "data"]}
_STAMP = {"type": "string", "format": "date-time"}
_MESSAGE_TYPES = list(CHOICES["message.*"])


def _event(types: list[str], data: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"type": {"type": "string", "enum": types}, "timestamp": _STAMP, "data": data}
    return {**_EVENT, "properties": properties}


#: Those that no model of the gateway's has.
SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "message"],
        "properties": {
            "type": {"type": "string", "const": "about:blank"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "code": {"type": "integer", "minimum": 1000, "maximum": 3999},
            "message": {"type": "string", "minLength": 1},
            "trace": {"type": "string"},
            "id": {"type": "string", **_MESSAGE_ID},
            "requestId": {"type": "string"},
            "badLineCount": {"type": "integer"},
            "badLines": {"type": "array", "items": {"$ref": "#/components/schemas/BadLine"}},
        },
    },
    "MessageEvent": _event(_MESSAGE_TYPES, {"$ref": "#/components/schemas/CallbackMessage"}),
    "AccountEvent": _event(list(CHOICES["account.*"]), {"$ref": "#/components/schemas/AccountNews"}),
    "TestEvent": _event(
        ["endpoint.test"],
        {"type": "object", "required": ["endpoint"], "properties": {"endpoint": {"type": "string"}}},
    ),
    "EventBatch": _event(
        ["batch"],
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "timestamp", "data"],
                "properties": {
                    "id": {"type": "string"},
                    "type": {"type": "string"},
                    "timestamp": _STAMP,
                    "data": {"type": "object"},
                },
            },
        },
    ),
    "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
}


def key_of(names: tuple[str, ...], table: Mapping[str, Any]) -> str | None:
    """The first of the names that the table has."""
    return next((name for name in names if name in table), None)


def told(name: str, schema: Mapping[str, Any], *owners: str, mark: str = ".") -> dict[str, Any]:
    """The schema of a field or (mark ?) parameter, with its shape and its description."""
    names = *(f"{owner}{mark}{name}" for owner in owners), name if mark == "." else f"{mark}{name}"
    text, shape = key_of(names, TEXTS), SHAPES.get(key_of(names, SHAPES) or "", {})
    found = {} if {"$ref", "anyOf"} & shape.keys() else _plain(schema)
    items = found.get("items", {}) | shape["items"] if "items" in shape and "type" not in shape else None
    found |= shape
    if items:
        found["items"] = items
    if "enum" in found and found.get("type") == ["string", "null"] and None not in found["enum"]:
        found["enum"] = [*found["enum"], None]
    if text:
        found["description"] = TEXTS[text]
    else:
        found.pop("description", None)
    return found


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without the title, and a simple type that may be null as one list of types."""
    found = {key: value for key, value in schema.items() if key != "title"}
    choices = found.get("anyOf", [])
    if len(choices) == 2 and {"type": "null"} in choices:
        other = next(one for one in choices if one != {"type": "null"})
        if isinstance(other.get("type"), str):
            found = {**found, **other, "type": [other["type"], "null"]}
            del found["anyOf"]
    return found
