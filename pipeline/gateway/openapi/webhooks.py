"""What the platform posts to its clients: the callback of a request, and the events of an account's endpoints."""

from typing import Any

from pipeline.gateway.openapi.examples import EXAMPLES
from pipeline.gateway.openapi.media import JSON, ref

_FORM = "application/x-www-form-urlencoded"
_HEADERS = {
    "webhook-id": "The event's name, the same at each repeat: drop what was seen.",
    "webhook-timestamp": "When this call is made; Unix seconds.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body (Standard Webhooks), one for "
    "each secret that is valid, with spaces between.",
}
#: Of carriers, who sign as we do.
SIGNED = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "Standard Webhooks 1.0.0, with the secret of `carriers.NAME.secret`; beside it the headers "
    "`webhook-id` and `webhook-timestamp`.",
}
_UNDERSTOOD = {
    "2XX": {"description": "Understood. Any other answer is a failure, and repeated where that may help."},
    "410": {"description": "Never again: the event is given up at once."},
}


def callbacks() -> dict[str, Any]:
    """Of an operation whose body may name a callback."""
    return {"fate": {"{$request.body#/callback/url}": _told()}}


def webhooks() -> dict[str, Any]:
    """By name."""
    return {
        "callback": _told(),
        "events": {
            "post": {
                "operationId": "onEvents",
                "tags": ["Callbacks"],
                "summary": "Events, told to an endpoint of the account",
                "description": "Signed. An endpoint with `batch` above 1 is told batches, each event with its id.",
                "parameters": _headers(*_HEADERS),
                "requestBody": {
                    "required": True,
                    "content": {
                        JSON: {
                            "schema": {"oneOf": [ref(name) for name in _BODIES]},
                            "examples": {name: {"value": EXAMPLES[name]} for name in _BODIES},
                        }
                    },
                },
                "responses": _UNDERSTOOD,
            }
        },
    }


_BODIES = ("MessageEvent", "AccountEvent", "TestEvent", "EventBatch")


def _told() -> dict[str, Any]:
    form = {
        "type": "object",
        "description": "One field, named by `callback.field`.",
        "additionalProperties": {"type": "string", "contentMediaType": JSON, "contentSchema": ref("CallbackMessage")},
    }
    return {
        "post": {
            "summary": "The fate of a message, told to the callback of its request",
            "description": "At each change of `state` after the answer, in order, at least once. As JSON or as a form, "
            "by `callback.method`; with the headers that the request asked for.",
            "tags": ["Callbacks"],
            "parameters": _headers("webhook-id", "webhook-timestamp"),
            "requestBody": {
                "required": True,
                "content": {
                    JSON: {"schema": ref("CallbackMessage"), "example": EXAMPLES["CallbackMessage"]},
                    _FORM: {"schema": form},
                },
            },
            "responses": _UNDERSTOOD,
        }
    }


def _headers(*names: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": True, "description": _HEADERS[name], "schema": {"type": "string"}}
        for name in names
    ]
