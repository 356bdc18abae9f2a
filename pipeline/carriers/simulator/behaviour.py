"""How the simulated carrier behaves: shares of everything that goes wrong, decided by hashes of a seed.

What happens to a message follows from (seed, reference), what happens to a request from (seed, key, how often the
key was seen): a run repeats whatever the order and the number of connections.
"""

from hashlib import blake2b
from struct import Struct
from typing import Annotated, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
RequestFate = Literal["answer", "throttle", "unavailable", "error", "cut"]

_WHOLE = 2**32
_MESSAGE_DRAWS = Struct("<Q8I")
_REQUEST_DRAWS = Struct("<I8s")


class Behaviour(BaseModel):
    """The carrier's habits. Shares are 0 to 1; of messages unless said otherwise; times in seconds.

    delivery      undeliverable, expired (receipts UNDELIV and EXPIRED instead of DELIVRD), reject (never accepted)
    requests      throttle (429), unavailable (503), error (500 after accepting), cut (connection cut after accepting)
    receipts      silent (none), duplicate (twice), early (before the answer), disorder (ENROUTE follows the final one),
                  without_reference (by the carrier's id alone)
    idempotent    a repeated Idempotency-Key gets the first results again and nothing is accepted twice
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    idempotent: bool = True
    latency: float = Field(default=0.0, ge=0)
    receipt_delay: tuple[float, float] = (0.1, 1.0)
    retry_after: int = Field(default=1, ge=0)
    undeliverable: Share = 0.0
    expired: Share = 0.0
    reject: Share = 0.0
    throttle: Share = 0.0
    unavailable: Share = 0.0
    error: Share = 0.0
    cut: Share = 0.0
    silent: Share = 0.0
    duplicate: Share = 0.0
    early: Share = 0.0
    disorder: Share = 0.0
    without_reference: Share = 0.0

    def changed(self, phase: "Phase") -> Self:
        """These habits as the phase has them. Raises ValidationError where the shares do not add up."""
        return self.model_validate(self.model_dump() | phase.model_dump(exclude_unset=True))

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.undeliverable + self.expired > 1:
            raise ValueError("undeliverable and expired make more than 1 together")
        if self.throttle + self.unavailable + self.error + self.cut > 1:
            raise ValueError("throttle, unavailable, error and cut make more than 1 together")
        least, most = self.receipt_delay
        if not 0 <= least <= most:
            raise ValueError("receipt_delay: the first must be at least 0 and at most the second")
        return self


class Phase(BaseModel):
    """Habits that may change while the carrier runs: how requests are answered. What becomes of a message stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency: float = Field(default=0.0, ge=0)
    retry_after: int = Field(default=1, ge=0)
    throttle: Share = 0.0
    unavailable: Share = 0.0
    error: Share = 0.0
    cut: Share = 0.0


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one message. `status`: of its receipt; `delay`: seconds until the receipt.

    `fingerprint`: 64 bits of the reference, for telling references apart without keeping them.
    """

    fingerprint: int
    rejected: bool
    status: str
    delay: float
    silent: bool
    duplicate: bool
    early: bool
    disorder: bool
    without_reference: bool


class Oracle:
    """A behaviour's decisions, made ready for the hot path."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._seed = str(behaviour.seed).encode()[:64]
        self._least, most = behaviour.receipt_delay
        self._spread = (most - self._least) / _WHOLE
        b = behaviour
        self._reject, self._undeliverable, self._expired = _limits(b.reject, b.undeliverable, b.expired)
        self._silent, self._duplicate, self._early = _limits(b.silent, b.duplicate, b.early)
        self._disorder, self._without_reference = _limits(b.disorder, b.without_reference)
        self._requests: list[tuple[int, RequestFate]] = []
        reached = 0
        shares: tuple[tuple[RequestFate, float], ...] = (
            ("throttle", b.throttle),
            ("unavailable", b.unavailable),
            ("error", b.error),
            ("cut", b.cut),
        )
        for fate, share in shares:
            reached += _limits(share)[0]
            self._requests.append((reached, fate))

    def message(self, reference: str) -> Fate:
        """The fate of a message, always the same."""
        digest = blake2b(reference.encode(), digest_size=_MESSAGE_DRAWS.size, key=self._seed).digest()
        mark, reject, end, delay, silent, duplicate, early, disorder, anonymous = _MESSAGE_DRAWS.unpack(digest)
        if end < self._undeliverable:
            status = "UNDELIV"
        elif end < self._undeliverable + self._expired:
            status = "EXPIRED"
        else:
            status = "DELIVRD"
        return Fate(
            mark,
            reject < self._reject,
            status,
            self._least + delay * self._spread,
            silent < self._silent,
            duplicate < self._duplicate,
            early < self._early,
            disorder < self._disorder,
            anonymous < self._without_reference,
        )

    def request(self, key: str, count: int) -> tuple[RequestFate, str]:
        """The fate of the `count`-th request under `key`, and 16 hex digits that its message ids begin with."""
        digest = blake2b(f"{count} {key}".encode(), digest_size=_REQUEST_DRAWS.size, key=self._seed).digest()
        draw, name = _REQUEST_DRAWS.unpack(digest)
        for limit, fate in self._requests:
            if draw < limit:
                return fate, name.hex()
        return "answer", name.hex()


def _limits(*shares: float) -> list[int]:
    """Shares as limits of 32-bit draws: draw < limit happens in that share of cases."""
    return [round(share * _WHOLE) for share in shares]
