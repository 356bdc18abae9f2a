"""Accounts: who may send, and by which bearer tokens. Kept on a compacted topic, known whole to every process."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaProducer

from pipeline.billing import Limits, Trip
from pipeline.config import Settings
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import TOKENS, Token, hash_token, inherited_id
from schemas.errors import MALFORMED_REQUEST, Error

log = structlog.get_logger()

_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class AccountRecord(msgspec.Struct, rename="camel", frozen=True):
    """An account as it stands on the topic. `tokens`: SHA-256, in hex, of bearer tokens that earlier versions made."""

    name: str
    created_at: str
    tokens: list[str] = []
    blocklisted: bool = False
    blocklisted_reason: str | None = None
    limits: Limits = Limits()


class Blocklisting(msgspec.Struct, rename="camel", frozen=True):
    """Why an account may send nothing. A record of its own beside the account's, on the same topic: the price stage
    and an operator write it, and neither must undo what the other has written of the account.

    `at`: Unix ms. `batch`: whose content it was (None: an operator's word). `penalty`: a decimal amount.
    """

    account: str
    reason: str
    at: int
    batch: str | None = None
    penalty: str | None = None

    @property
    def key(self) -> bytes:
        """Its key on the topic; a tombstone there lets the account send again."""
        return blocklist_key(self.account)

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


_BLOCKLIST = b"blocklist/"  # no account's name holds a slash


def blocklist_key(account: str) -> bytes:
    """The key of an account's blocklisting."""
    return _BLOCKLIST + account.encode()


class Hold(msgspec.Struct, rename="camel", frozen=True):
    """A range of numbers ("+20100123": a number without its last four digits) to which an account may not send: by the
    pumping guard, or by an operator. A record of its own as a blocklisting is.

    `at`: Unix ms. `batch`: the first that was refused for it (None: an operator's word). `released`: it may send there
    again, and the guard leaves the range alone.
    """

    account: str
    range: str
    reason: str
    at: int
    batch: str | None = None
    released: bool = False

    @classmethod
    def of(cls, account: str, trip: Trip) -> "Hold":
        """What follows from a trip; always the same."""
        share = f"{trip.count} of {trip.messages} messages in an hour, {trip.count / trip.messages:.0%}"
        return cls(account, trip.range, f"sudden and costly: {share}", trip.at, trip.batch)

    @property
    def key(self) -> bytes:
        """Its key on the topic."""
        return _HOLD + f"{self.account}/{self.range}".encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


_HOLD = b"hold/"


class Register:
    """What the topic tells: every account by name, blocklisted or not, its tokens, and what of its traffic is held."""

    def __init__(self) -> None:
        self._holds: dict[str, dict[str, Hold]] = {}
        self._records: dict[str, AccountRecord] = {}
        self._blocked: dict[str, Blocklisting] = {}
        self._by_name: dict[str, AccountRecord] = {}
        self._tokens: dict[str, dict[str, Token]] = {}
        self._by_hash: dict[str, Token] = {}

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def get(self, name: str) -> AccountRecord | None:
        """The account of this name."""
        return self._by_name.get(name)

    def written(self, name: str) -> AccountRecord | None:
        """The account as its own record has it, to be changed and written again."""
        return self._records.get(name)

    def by_token(self, token: str) -> Token | None:
        """What is known of this bearer token, expired or not; None where it is nobody's."""
        found = self._by_hash.get(hash_token(token))
        return found if found and found.account in self._by_name else None

    def tokens(self, name: str) -> list[Token]:
        """The tokens of an account that are not revoked, expired ones too; the oldest first."""
        return sorted(self._usable(name), key=lambda token: (token.created, token.id))

    def holds(self, name: str) -> Mapping[str, Hold]:
        """What is known of the account's ranges, held or released, by range."""
        return self._holds.get(name, _NONE)

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        try:
            if key.startswith(_HOLD):
                name, _, held = key.removeprefix(_HOLD).decode().partition("/")
                _put(self._holds.setdefault(name, {}), held, _decode_hold(value) if value else None)
                return
            kind, _, name = key.decode().rpartition("/")
            if key.startswith(_BLOCKLIST):
                _put(self._blocked, name, _decode_blocklisting(value) if value else None)
            elif kind.startswith(TOKENS):
                self._take_token(kind.removeprefix(TOKENS), name, _decode_token(value) if value else None)
                return
            else:
                _put(self._records, name, _decode(value) if value else None)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("account.unreadable", key=key, error=str(error))
            return
        self._level(name)

    def _take_token(self, account: str, id_: str, token: Token | None) -> None:
        if token and (token.account, token.id) != (account, id_):
            log.error("token.unreadable", account=account, token=id_, error="another's record")
            return
        self._forget(self._usable(account))
        _put(self._tokens.setdefault(account, {}), id_, token)
        self._know(account)

    def _level(self, name: str) -> None:
        self._forget(self._usable(name))
        self._by_name.pop(name, None)
        record, blocked = self._records.get(name), self._blocked.get(name)
        if record and blocked:
            record = msgspec.structs.replace(record, blocklisted=True, blocklisted_reason=blocked.reason)
        if record:
            self._by_name[name] = record
        self._know(name)

    def _usable(self, name: str) -> list[Token]:
        record = self._by_name.get(name)
        listed = (Token(name, inherited_id(hashed), hashed) for hashed in (record.tokens if record else ()))
        found = {token.id: token for token in listed} | self._tokens.get(name, {})
        return [token for token in found.values() if not token.revoked]

    def _know(self, name: str) -> None:
        self._by_hash.update({token.hash: token for token in self._usable(name)})

    def _forget(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            self._by_hash.pop(token.hash, None)


def _put(where: dict[str, _T], name: str, value: _T | None) -> None:
    if value is None:
        where.pop(name, None)
    else:
        where[name] = value


_decode = msgspec.json.Decoder(AccountRecord).decode
_decode_blocklisting = msgspec.json.Decoder(Blocklisting).decode
_decode_hold = msgspec.json.Decoder(Hold).decode
_NONE: Mapping[str, Hold] = {}
_decode_token = msgspec.json.Decoder(Token).decode


def valid_name(name: str) -> Error | None:
    """None if `name` can name an account: 1 to 64 ASCII letters, digits, dots, underscores and hyphens."""
    if _NAME(name):
        return None
    return Error(MALFORMED_REQUEST, f"account name {name!r}: 1 to 64 letters, digits, dots, _ and - are allowed")


async def put(producer: AIOKafkaProducer, topic: str, record: AccountRecord) -> None:
    """Store the account's latest state; returns once it is durable. Raises KafkaError."""
    await producer.send_and_wait(topic, key=record.name.encode(), value=msgspec.json.encode(record))


class AccountDirectory(Register, Directory):
    """Every account, in memory. Start it before use; `refresh` before refusing somebody it does not know."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).accounts)
