"""Callbacks, verified: whoever knows a callback's address can send to it, only the gateway can sign."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from pipeline.client.errors import BadAnswer, BadSignature


def verify_callback(secret: str | Iterable[str], headers: Mapping[str, str], body: bytes) -> Any:
    """The JSON of a callback that the gateway signed (Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body).

    `secret`: the endpoint's (whsec_…), or several while keys rotate. `body`: the bytes as they came, not parsed and
    written again. Raises BadSignature, also where it is older than five minutes; BadAnswer where the body is not JSON;
    ValueError where a secret is none.
    """
    found = {name.lower(): value for name, value in headers.items()}
    for one in [secret] if isinstance(secret, str) else secret:
        if _signed(_webhook(one), found, body):
            try:
                return msgspec.json.decode(body)
            except msgspec.DecodeError as error:
                raise BadAnswer(f"the callback is signed and not JSON: {error}") from error
    raise BadSignature("the callback is not signed with this secret, or its time is not now")


def _webhook(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise ValueError("not a secret of Standard Webhooks (whsec_ and base64)") from None


def _signed(webhook: Webhook, headers: dict[str, str], body: bytes) -> bool:
    try:
        webhook.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a signature or body that cannot be read
        return False
    return True
