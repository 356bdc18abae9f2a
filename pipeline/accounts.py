"""Accounts: who may send, and by which bearer tokens. Kept on a compacted topic, known whole to every process."""

import re
import secrets
from hashlib import sha256

import msgspec
import structlog
from aiokafka import AIOKafkaProducer

from pipeline.config import Settings
from pipeline.streaming.follow import Follower
from pipeline.streaming.topics import TopicNames
from schemas.errors import MALFORMED_REQUEST, Error

log = structlog.get_logger()

_TOKEN_PREFIX = "smsp_"  # noqa: S105  (finds a leaked token in code and logs; no secret itself)
_TOKEN_BYTES = 32
_TOKEN = re.compile(_TOKEN_PREFIX + "[A-Za-z0-9_-]{43}").fullmatch  # 32 bytes in base64
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class AccountRecord(msgspec.Struct, rename="camel", frozen=True):
    """An account as it stands on the topic. `tokens`: SHA-256 of each bearer token, in hex; the tokens are nowhere."""

    name: str
    created_at: str
    tokens: list[str]
    blocklisted: bool = False
    blocklisted_reason: str | None = None


_decode = msgspec.json.Decoder(AccountRecord).decode


def new_token() -> tuple[str, str]:
    """A new bearer token, to be shown once, and the hash to store."""
    token = _TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    return token, hash_token(token)


def is_token(token: str) -> bool:
    """Whether `token` looks like one of ours; anything else need not be looked for."""
    return _TOKEN(token) is not None


def hash_token(token: str) -> str:
    """SHA-256 in hex. No salt, no stretching: the token is 256 random bits, so it is found by its hash."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def valid_name(name: str) -> Error | None:
    """None if `name` can name an account: 1 to 64 ASCII letters, digits, dots, underscores and hyphens."""
    if _NAME(name):
        return None
    return Error(MALFORMED_REQUEST, f"account name {name!r}: 1 to 64 letters, digits, dots, _ and - are allowed")


async def put(producer: AIOKafkaProducer, topic: str, record: AccountRecord) -> None:
    """Store the account's latest state; returns once it is durable. Raises KafkaError."""
    await producer.send_and_wait(topic, key=record.name.encode(), value=msgspec.json.encode(record))


class AccountDirectory:
    """Every account, in memory. Start it before use; `refresh` before refusing somebody it does not know."""

    def __init__(self, settings: Settings) -> None:
        self._by_name: dict[str, AccountRecord] = {}
        self._by_hash: dict[str, AccountRecord] = {}
        self._follower = Follower(settings.kafka, TopicNames(settings.kafka.topic_prefix).accounts, self._take)

    async def start(self) -> None:
        """Return when every account is read."""
        await self._follower.start()

    async def refresh(self) -> None:
        """See every change acknowledged before this call. Raises KafkaError; bound it."""
        await self._follower.catch_up()

    async def stop(self) -> None:
        await self._follower.stop()

    def get(self, name: str) -> AccountRecord | None:
        """The account of this name."""
        return self._by_name.get(name)

    def by_token(self, token: str) -> AccountRecord | None:
        """The account this bearer token belongs to."""
        return self._by_hash.get(hash_token(token))

    def _take(self, key: bytes, value: bytes | None) -> None:
        try:
            record = _decode(value) if value else None
            name = key.decode()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("account.unreadable", key=key, error=str(error))
            return
        if before := self._by_name.pop(name, None):
            for token in before.tokens:
                self._by_hash.pop(token, None)
        if record:
            self._by_name[name] = record
            self._by_hash.update(dict.fromkeys(record.tokens, record))
