"""Idempotency-Key and requestId: the same request again is answered as the first time, and nothing is sent twice.

draft-ietf-httpapi-idempotency-key-header-07. A key is an account's own, and names one request: the same content again
is answered with the same id (201), other content is refused (422), and a repeat beside one that is being worked on is
too (409). That nothing is sent twice rests on the pipeline (stages/encode.py), not on what is remembered here: this
only answers right. The last MOST requests are remembered by this process; of older ones, and of those that another
process took, the read model tells, up to what it knows of them: sender, text, custom, dry run, the first recipient
and how many there are.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus

import msgspec
import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from pipeline.gateway.problems import Refusal, refuse
from pipeline.store.queries import ReadModel
from pipeline.store.stored import StoredMessage
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed
from schemas.status import StatusError

log = structlog.get_logger()

#: Requests remembered, at some 400 bytes each.
MOST = 50_000
#: A try is under way for so many ms at most; one of which nobody knows whether it was taken gives its time, and so
#: its id, to the next within them: after that the read model knows it, and a validity should not begin in the past.
_SAME_TRY_MS = 60_000

_LONGEST = 128
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"').fullmatch  # RFC 8941, section 3.3.3
_BARE = re.compile(r"[!#-~][!-~]*").fullmatch


#: A request's first message, and how many are known.
_Stored = tuple[StoredMessage, int]


class Claim(msgspec.Struct):
    """One request. `timestamp_ms` makes its id; `repeat`: it was taken before, answer only. `nonce`: of its code, where
    it is a login code. `error`: what the first was refused for although it was taken."""

    fingerprint: bytes
    timestamp_ms: int
    repeat: bool = False
    under_way: bool = True
    nonce: str = ""
    error: Error | None = None


#: Whether a stored message is what this request would have made, as far as that is known; and of how many recipients.
Same = Callable[[StoredMessage], bool]


def key_of(request: Request) -> str | Refusal | None:
    """The Idempotency-Key, a string of RFC 8941 or bare; None where there is none. Refusals: 400."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) == 1 and (found := _QUOTED(given[0])):
        key = re.sub(r"\\(.)", r"\1", found[1])
    else:
        key = given[0] if len(given) == 1 and _BARE(given[0]) else ""
    if 0 < len(key) <= _LONGEST:
        return key
    message = f'Idempotency-Key: give one of 1 to {_LONGEST} ASCII characters between quotes, such as "8f14e45f-ceea"'
    return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, message)


def fingerprint(content: bytes) -> bytes:
    """16 bytes that stand for a request's content."""
    return blake2b(content, digest_size=16).digest()


class Recent:
    """Requests with an id of their client's, the newest remembered."""

    def __init__(self, most: int = MOST) -> None:
        self._claims: OrderedDict[tuple[str, str], Claim] = OrderedDict()
        self._most = most
        self._lookup = _Lookup()

    async def claim(
        self,
        who: tuple[str, str],
        mark: bytes,
        now: int,
        same: Same,
        recipients: int,
        model: ReadModel | None,
    ) -> Claim | Refusal:
        """Claim a request by account and id, `mark` being its fingerprint. Whoever gets a claim that is no repeat ends
        it with `taken` or `failed`. Refusals: 422 of other content (3009), 409 under way (3053)."""
        known = self._claims.get(who)
        if known and known.fingerprint != mark:
            return _other(who[1])
        if known and known.under_way and now - known.timestamp_ms < _SAME_TRY_MS:
            message = f"requestId: {who[1]!r} is being worked on; repeat it in a moment"
            error = Error(errors.REQUEST_UNDER_WAY, message, permanent=False)
            return Refusal(HTTPStatus.CONFLICT, error, {"Retry-After": "1"})
        if known and known.repeat:
            return known
        claim = Claim(mark, known.timestamp_ms if known and now - known.timestamp_ms < _SAME_TRY_MS else now)
        self._keep(who, claim)
        try:
            stored = await self._lookup.find(who, model) if model else None
        except BaseException:
            self._claims.pop(who, None)
            raise
        if stored is None:
            return claim
        first, count = stored
        if count > recipients or not same(first):
            self._claims.pop(who, None)
            return _other(who[1])
        claim.timestamp_ms = int(first.id[:8], 16) * 1000
        claim.error = _prohibited(first)
        if count == recipients:  # else the read model is behind, or it was another request: the pipeline finds out
            self.taken(claim)
        return claim

    def taken(self, claim: Claim) -> None:
        """It is durable: from now on it is only answered."""
        claim.repeat, claim.under_way = True, False

    def failed(self, who: tuple[str, str], claim: Claim, *, doubtful: bool) -> None:
        """It was refused (and is forgotten), or nobody knows whether it was taken."""
        claim.under_way = False
        if not doubtful and self._claims.get(who) is claim:
            del self._claims[who]

    def _keep(self, who: tuple[str, str], claim: Claim) -> None:
        self._claims[who] = claim
        self._claims.move_to_end(who)
        if len(self._claims) > self._most:
            self._claims.popitem(last=False)


class _Lookup:
    """Questions to the read model, all that wait in one: alone, each costs as much as the rest of its request."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Future[_Stored | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, who: tuple[str, str], model: ReadModel) -> _Stored | None:
        """What is known of a request; nothing where the database does not answer: the pipeline knows repeats too."""
        future = self._waiting.setdefault(who, asyncio.get_running_loop().create_future())
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(model), name="gateway repeats")
        return await asyncio.shield(future)

    async def _ask(self, model: ReadModel) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    found = await asyncio.to_thread(model.firsts_of, asked)
                except SQLAlchemyError as error:
                    log.warning("gateway.repeats_unknown", requests=len(asked), error=str(error))
                    found = {}
                for who, future in asked.items():
                    future.set_result(found.get(who))
        finally:
            self._asking = None


def _prohibited(first: StoredMessage) -> Error | None:
    """What a request was refused for at the door although it was taken."""
    if first.detailed_state != Detailed.BLOCKED.name or first.error is None:
        return None
    told = msgspec.json.decode(first.error, type=StatusError)
    return Error(told.code, told.message) if told.code in errors.PROHIBITED_CODES else None


def _other(request_id: str) -> Refusal:
    message = f"requestId: {request_id!r} was used before for a request with other content; use a new id"
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.REQUEST_ID_REUSED, message)
