"""Bearer tokens: known by their hashes only, each with scopes and perhaps an end."""

import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256

import msgspec

_TOKEN_PREFIX = "smsp_"  # noqa: S105  (finds a leaked token in code and logs; no secret itself)
_TOKEN_BYTES = 32
_TOKEN = re.compile(_TOKEN_PREFIX + "[A-Za-z0-9_-]{43}").fullmatch  # 32 bytes in base64
_ID_BYTES = 6
#: More than anybody tells apart; each is known to every gateway by heart.
MAX_TOKENS = 100


class Scope(StrEnum):
    """What a token lets its bearer do: send (and all that changes), read, or administer the account's tokens."""

    SEND = "send"
    READ = "read"
    ADMIN = "admin"


#: Of a token that was made without a word about it.
USUAL = (Scope.SEND, Scope.READ)

#: Where their records lie on the accounts' topic; no account's name holds a slash.
TOKENS = "token/"


class Token(msgspec.Struct, rename="camel", frozen=True):
    """A bearer token, known by its hash (SHA-256 in hex) only. A record of its own on the accounts' topic, so that two
    who make and revoke tokens at a time never undo each other's work; a tombstone at its key revokes it.

    `id`: public, unique in the account. `created`, `expires` (None: never): Unix ms. Scopes of a later version may be
    among its scopes, and let nobody do anything here.
    """

    account: str
    id: str
    hash: str
    scopes: tuple[str, ...] = USUAL
    created: int = 0
    expires: int | None = None
    name: str = ""
    revoked: bool = False

    @property
    def key(self) -> bytes:
        """Its key on the topic."""
        return f"{TOKENS}{self.account}/{self.id}".encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)

    def expired(self, at: int) -> bool:
        """Whether it is of no more use at a time (Unix ms)."""
        return self.expires is not None and self.expires <= at

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes

    @property
    def revocation(self) -> bytes | None:
        """What is put at its key to revoke it. One that stands in its account's record is overruled there for good."""
        return msgspec.json.encode(msgspec.structs.replace(self, scopes=(), revoked=True)) if self.inherited else None

    @property
    def inherited(self) -> bool:
        """Whether an earlier version made it: it stands in its account's record."""
        return self.id == inherited_id(self.hash)


def inherited_id(hashed: str) -> str:
    """The id of a token that was made without one. Of a hash of 256 random bits this gives nothing away."""
    return hashed[: 2 * _ID_BYTES]


def make_token(
    account: str, *, at: int, scopes: Iterable[str] = USUAL, expires: int | None = None, name: str = ""
) -> tuple[str, Token]:
    """A new bearer token, to be shown once, and the record to store. Times in Unix ms."""
    token, hashed = new_token()
    id_ = secrets.token_hex(_ID_BYTES)
    return token, Token(account, id_, hashed, tuple(sorted(set(map(str, scopes)))), at, expires, name)


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
