"""Login codes as the gateways share them: challenges on a compacted topic, made and tried here."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
import structlog
from aiokafka.errors import KafkaError

from pipeline.config import ConfigError, Settings
from pipeline.gateway.otp.codes import Challenge, Challenges, Shape, Verdict, code_of, matches
from pipeline.gateway.problems import Refusal, unavailable
from pipeline.gateway.publisher import Outgoing, Publisher
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

_FILE = "otp-secret"
_SECRET_BYTES = 32
_REFRESH_SECONDS = 5.0
#: Codes tried before one is sent that happens to be prohibited content.
_MOST_CODES = 20


class Code(msgspec.Struct, frozen=True):
    """A code that is to be sent; `cached`: it was sent before."""

    challenge: Challenge
    code: str
    cached: bool


class OtpDirectory(Challenges, Directory):
    """Every challenge that can still be met, in memory and up to date. Start it before use. Raises ConfigError where no
    secret can be read or made."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.otp.attempts)
        self._topic = TopicNames(settings.kafka.topic_prefix).otps
        self._secret = _secret(settings)
        self._lifetime_ms = settings.otp.lifetime_seconds * 1000
        self._most_attempts = settings.otp.attempts
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self.follow(settings.kafka, self._topic)

    def take(self, key: bytes, value: bytes | None) -> None:
        try:
            super().take(key, value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("otp.unreadable", error=str(error))

    def code(self, account: str, recipient: str, nonce: str, shape: Shape) -> str:
        """The code of a nonce."""
        return code_of(self._secret, account, recipient, nonce, shape)

    def code_again(self, account: str, recipient: str, nonce: str, shape: Shape) -> str:
        """The code for the repeat of a request that may have had a cached one, of which only its own nonce is known
        here: where the code that stands is another's, it was that one's."""
        known = self.get(_key(account, recipient), time.time_ns() // 1_000_000)
        nonce = known.nonce if known and known.shape == shape else nonce
        return self.code(account, recipient, nonce, shape)

    def nonce_of(self, account: str, request_id: str) -> str:
        """The nonce of a request with an id of the client's, so that its repeat anywhere has the same code."""
        return hmac.digest(self._secret, msgspec.json.encode(["nonce", account, request_id]), hashlib.sha256).hex()[:32]

    async def issue(
        self,
        account: str,
        recipient: str,
        shape: Shape,
        cache_seconds: int,
        nonce: str,
        fit: Callable[[str], bool],
        publisher: Publisher,
    ) -> Code | Refusal:
        """A code to be sent, durable when this returns: the one before where that was to be cached and is of the same
        shape, not used and not tried up; else a new one that is `fit` to be sent. `nonce`: "" for a random one.

        Two gateways that are asked at the same moment may both make a new one: then the later counts.
        """
        key = _key(account, recipient)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            if cache_seconds and (away := await self._refresh()):
                return away
            now = time.time_ns() // 1_000_000
            expires_at = now + max(cache_seconds * 1000, self._lifetime_ms)
            known = self.get(key, now) if cache_seconds else None
            if known and self._can_be_sent_again(known, shape, now):
                made = msgspec.structs.replace(known, expires_at=max(expires_at, known.expires_at), at=now, attempt="")
            else:
                nonce = self._fit(account, recipient, nonce or secrets.token_hex(16), shape, fit)
                made = Challenge(nonce, shape, True, now + cache_seconds * 1000, expires_at, now)
            failed = await publisher.publish([Outgoing(self._topic, msgspec.json.encode(made), key=key)])
            if failed:
                return unavailable(failed.message)
            code = self.code(account, recipient, made.nonce, shape)
            return Code(made, code, cached=known is not None and made.nonce == known.nonce)

    async def verify(self, account: str, recipient: str, given: str, publisher: Publisher) -> Verdict | Refusal:
        """Try a code. The try is durable and has its place among all tries before the answer is known: see Challenges
        for what holds where several gateways are asked at once. A recipient without a code is answered alike."""
        if away := await self._refresh():
            return away
        key, now = _key(account, recipient), time.time_ns() // 1_000_000
        known = self.get(key, now)
        if known is None:  # tries are counted all the same
            known = Challenge(secrets.token_hex(16), Shape(), False, 0, now + self._lifetime_ms, now)
        if known.attempts >= self._most_attempts:
            return Verdict(False, 0)
        right = matches(self.code(account, recipient, known.nonce, known.shape), given)
        attempt = secrets.token_hex(8)
        told = msgspec.structs.replace(
            known, at=now, attempts=known.attempts + 1, attempt=attempt, matched=right and known.sent and not known.used
        )
        self.expect(attempt)
        try:
            failed = await publisher.publish([Outgoing(self._topic, msgspec.json.encode(told), key=key)])
            away = unavailable(failed.message) if failed else await self._refresh()
        finally:
            verdict = self.verdict(attempt)
        return away or verdict or unavailable("the try is counted, and what came of it is not known; try again")

    def _can_be_sent_again(self, known: Challenge, shape: Shape, now: int) -> bool:
        usable = known.sent and not known.used and known.attempts < self._most_attempts
        return usable and known.shape == shape and now < known.cached_until

    def _fit(self, account: str, recipient: str, nonce: str, shape: Shape, fit: Callable[[str], bool]) -> str:
        for number in range(_MOST_CODES):
            tried = f"{nonce}.{number}" if number else nonce
            if fit(self.code(account, recipient, tried, shape)):
                return tried
        return nonce

    async def _refresh(self) -> Refusal | None:
        """See what was acknowledged to anybody before this call."""
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                await self.refresh()
        except (TimeoutError, KafkaError):
            return unavailable("the login codes cannot be read; try again")
        return None


def _key(account: str, recipient: str) -> bytes:
    return f"{account}/{recipient}".encode()


def _secret(settings: Settings) -> bytes:
    """The configured secret, or the storage directory's, made by whichever process comes first."""
    if settings.otp.secret:
        return settings.otp.secret.get_secret_value().encode()
    path = settings.storage.directory / _FILE
    try:
        if not path.exists():
            _make(path)
        found = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"otp.secret: {path} cannot be used ({error.strerror}); set otp.secret") from None
    if len(found) < _SECRET_BYTES:
        raise ConfigError(f"otp.secret: {path} is cut off; remove it, or set otp.secret")
    return found


def _make(path: Path) -> None:
    """Whole or not at all, for its owner only; another process's is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(_SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(passing, path)
    passing.unlink()
