"""Endpoints: where an account wants to be told, and of what. Kept on a compacted topic, known whole to every process
that tells, calls or answers for them.
"""

import base64
import re
import secrets
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from standardwebhooks import Webhook

from pipeline.config import Settings
from pipeline.stages.fate import rfc3339
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

_MESSAGE = ("pending", "delivered", "undeliverable", "expired", "rejected")
_ACCOUNT = ("limit-near", "limit-reached", "balance-low", "credit-refused", "traffic-held")
#: What can be told, by name.
TYPES = (*(f"message.{name}" for name in _MESSAGE), *(f"account.{name}" for name in _ACCOUNT))
_FAILED = ("message.undeliverable", "message.expired", "message.rejected")
#: What an endpoint may choose: one type, or several under a name of their own.
CHOICES: dict[str, tuple[str, ...]] = {name: (name,) for name in TYPES} | {
    "message.final": ("message.delivered", *_FAILED),
    "message.failed": _FAILED,
    "message.*": tuple(name for name in TYPES if name.startswith("message.")),
    "account.*": tuple(name for name in TYPES if name.startswith("account.")),
}
_SECRET_BYTES = 32
_SECRET_PREFIX = "whsec_"  # noqa: S105  (of every secret of Standard Webhooks)


class Secret(msgspec.Struct, rename="camel", frozen=True):
    """A secret of Standard Webhooks. `key`: whsec_ and base64. `expires_at`: RFC 3339, None while it is the newest."""

    key: str
    created_at: str
    expires_at: str | None = None

    def valid(self, now: str) -> bool:
        """Whether calls are signed with it at `now` (RFC 3339)."""
        return self.expires_at is None or now < self.expires_at


class Endpoint(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An endpoint as it stands on the topic.

    `events`: of CHOICES. `secrets`: the newest last; calls are signed with each that is valid. `batch`: most events a
    call; an event waits for others `batch_milliseconds` at most.
    """

    id: str
    account: str
    url: str
    events: list[str]
    secrets: list[Secret]
    created_at: str
    updated_at: str
    description: str = ""
    batch: int = 1
    batch_milliseconds: int = 0
    enabled: bool = True

    @property
    def key(self) -> bytes:
        """Its key on the topic; a tombstone there removes it."""
        return f"{self.account}/{self.id}".encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)

    def wants(self, type_: str, at: str) -> bool:
        """Whether an event of this type is told it. What happened before it was made is not."""
        return self.enabled and at >= self.created_at and any(type_ in CHOICES.get(one, ()) for one in self.events)

    def signature(self, id_: str, at: datetime, body: bytes) -> str:
        """The header `webhook-signature`: one signature a valid secret, the newest first."""
        now = rfc3339(int(at.timestamp() * 1000))
        valid = [secret for secret in reversed(self.secrets) if secret.valid(now)]
        return " ".join(str(Webhook(secret.key).sign(id_, at, body.decode())) for secret in valid)

    def rotated(self, keep_hours: float) -> "Endpoint":
        """The same with a new secret. What was the newest is valid for so long yet; what has expired is forgotten."""
        now_ms = time.time_ns() // 1_000_000
        now, until = rfc3339(now_ms), rfc3339(now_ms + int(keep_hours * 3_600_000))
        kept = [
            msgspec.structs.replace(secret, expires_at=min(secret.expires_at or until, until))
            for secret in self.secrets
            if keep_hours and secret.valid(now)
        ]
        return msgspec.structs.replace(self, secrets=[*kept, new_secret(now)], updated_at=now)


def new_secret(now: str) -> Secret:
    """A new secret, to be shown once."""
    return Secret(_SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(), now)


def new_id() -> str:
    """The id of a new endpoint."""
    return f"ep_{secrets.token_hex(12)}"


#: Whether a text is the id of an endpoint, of one that is removed too.
is_id = re.compile(r"ep_[0-9a-f]{24}").fullmatch


def told(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as it is shown: its secrets by their dates only."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "batch": endpoint.batch,
        "batchMilliseconds": endpoint.batch_milliseconds,
        "enabled": endpoint.enabled,
        "secrets": [{"createdAt": one.created_at, "expiresAt": one.expires_at} for one in endpoint.secrets],
        "createdAt": endpoint.created_at,
        "updatedAt": endpoint.updated_at,
    }


_decode = msgspec.json.Decoder(Endpoint).decode


class Endpoints:
    """All of them, by account and by id."""

    def __init__(self) -> None:
        self._by_account: dict[str, dict[str, Endpoint]] = {}
        self._by_id: dict[str, Endpoint] = {}

    def of(self, account: str) -> Iterable[Endpoint]:
        """An account's endpoints, the oldest first."""
        return sorted(self._by_account.get(account, {}).values(), key=lambda one: (one.created_at, one.id))

    def get(self, id_: str) -> Endpoint | None:
        """The endpoint of this id, whosever it is."""
        return self._by_id.get(id_)

    def listens(self, account: str) -> bool:
        """Whether an account wants to be told of anything."""
        return any(one.enabled for one in self._by_account.get(account, {}).values())

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        account, _, id_ = key.decode("utf-8", "replace").rpartition("/")
        try:
            found = _decode(value) if value else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("endpoint.unreadable", endpoint=id_, error=str(error))
            return
        if found:
            self._by_account.setdefault(account, {})[id_] = self._by_id[id_] = found
            return
        self._by_id.pop(id_, None)
        known = self._by_account.get(account, {})
        known.pop(id_, None)
        if not known:
            self._by_account.pop(account, None)


class EndpointDirectory(Endpoints, Directory):
    """Every endpoint, in memory and up to date. Start it before use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).endpoints)
