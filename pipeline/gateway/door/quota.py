"""Token buckets by key, as one time each: the generic cell rate algorithm (ITU-T I.371).

A bucket of `capacity` tokens that fills at `rate` tokens a second is known by the moment at which it will be full. A
key that is not known has a full bucket, so full ones are forgotten.
"""

import math

import msgspec

_SWEPT_AT = 10_000
#: Of a token: times are kept as floats.
_ROUNDING = 1e-3


class Quota(msgspec.Struct, frozen=True):
    """What a bucket says to one request. `remaining`: whole requests that may follow at once; `full_in`: seconds until
    all may; `wait`: seconds until one may, 0 where `allowed`. `capacity`, `window`: the policy, so many in a window of
    so many seconds."""

    allowed: bool
    remaining: int
    full_in: float
    wait: float
    capacity: int
    window: float


class Buckets:
    """Buckets of `rate` tokens a second (more than 0) and room for those of `seconds`, at least one."""

    def __init__(self, rate: float, seconds: float, most: int = 100_000) -> None:
        self._rate = rate
        self._seconds = seconds
        self._most = most
        self._full_at: dict[str, float] = {}
        self._sweep_at = min(_SWEPT_AT, most)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float, rate: float | None = None) -> Quota:
        """Take a token at a time (monotonic seconds), if there is one; `rate`: this key's own."""
        return self._ask(key, now, rate or self._rate, 1)

    def look(self, key: str, now: float) -> Quota:
        """What `take` would say, without taking."""
        return self._ask(key, now, self._rate, 0)

    def _ask(self, key: str, now: float, rate: float, taken: int) -> Quota:
        capacity = max(1, math.floor(rate * self._seconds))
        missing = max(0.0, self._full_at.get(key, now) - now) * rate  # tokens
        allowed = missing <= capacity - 1 + _ROUNDING
        if allowed and taken:
            missing += 1
            self._full_at[key] = now + missing / rate
            if len(self._full_at) > self._sweep_at:
                self._sweep(now)
        wait = 0.0 if allowed else (missing - (capacity - 1)) / rate
        remaining = max(0, math.floor(capacity - missing + _ROUNDING))
        return Quota(allowed, remaining, missing / rate, wait, capacity, capacity / rate)

    def _sweep(self, now: float) -> None:
        """Forget the full ones; where too many stay, those that are nearest to it."""
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        if len(self._full_at) > self._most:
            emptiest = sorted(self._full_at.items(), key=lambda item: item[1])[len(self._full_at) - self._most // 2 :]
            self._full_at = dict(emptiest)
        self._sweep_at = min(self._most, max(_SWEPT_AT, 2 * len(self._full_at)))
