"""When a message is to be sent: its `sendAt`, moved out of the recipient's quiet hours. Pure functions.

Everything is counted from the request's own time and never from the clock, so that a replay finds the same.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from pipeline.numbers import Recipient
from pipeline.numbers.zones import time_zones
from schemas import errors
from schemas.errors import Error
from schemas.intake import Options

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
#: A time so little past is now: a client's clock, or its way to us.
_PAST_MS = 60_000
#: State lives this much longer than the validity of what it knows.
_MARGIN_MS = _DAY_MS // 2
#: Quiet hours that leave no moment in so many minutes leave none at all: a day, and a change of clocks.
_LOOK_MINUTES = 26 * 60


class Schedule(msgspec.Struct, frozen=True):
    """`at`: when the messages are to be sent (Unix ms); `send_at`: the same where that is later than at once, else 0;
    `quiet`: the quiet hours' first minute of the day, and the first behind them."""

    at: int
    send_at: int = 0
    quiet: tuple[int, int] | None = None

    def quiet_until(self, recipient: Recipient) -> int | Error:
        """The end of the quiet hours that the recipient is in at that time (Unix ms); 0 where it is in none.

        In a country with several zones a number that does not tell its own is let be while any of them is quiet.
        """
        if self.quiet is None:
            return 0
        zones = time_zones(recipient)
        found = _end_of_quiet(zones, self.quiet, self.at // _MINUTE_MS)
        if found is None:
            named = f"{zones[0]} to {zones[-1]}" if len(zones) > 1 else zones[0]
            return Error(
                errors.QUIET_HOURS,
                f"options.quietHours: at no moment of the day is it outside of them in every zone that this number may "
                f"be in ({len(zones)}: {named}); shorten them, or send to it without",
            )
        return found * _MINUTE_MS


def plan(options: Options, at_ms: int, retention_days: float) -> Schedule | Error:
    """When the messages of a request go that was made at `at_ms`; or why they cannot.

    State is kept for `retention_days`, so a message must be at its end half a day before that.
    """
    quiet = options.quiet_hours
    kept = at_ms + int(retention_days * _DAY_MS) - options.validity_seconds * 1000 - _MARGIN_MS
    latest = kept - (_DAY_MS if quiet else 0)
    change = "give a shorter options.validitySeconds, or have the operator raise storage.retention_days"
    if quiet and latest < at_ms:
        return Error(errors.QUIET_HOURS, f"options.quietHours: messages are not kept long enough for them; {change}")
    hours = (_minutes(quiet.from_), _minutes(quiet.to)) if quiet else None
    if options.send_at is None:
        return Schedule(at_ms, quiet=hours)
    send_at = int(options.send_at.timestamp() * 1000)
    if send_at < at_ms - _PAST_MS:
        return Error(
            errors.SEND_AT, f"options.sendAt: {_written(send_at)} is past, it is {_written(at_ms)}; leave it out to "
            "send at once",
        )  # fmt: skip
    if send_at > max(latest, at_ms):
        return Error(
            errors.SEND_AT,
            f"options.sendAt: {_written(send_at)} is too far ahead, the latest is {_written(latest)}; {change} (now "
            f"{retention_days:g} days)",
        )
    return Schedule(max(send_at, at_ms), send_at if send_at > at_ms else 0, hours)


@lru_cache(maxsize=4096)
def _end_of_quiet(zones: tuple[str, ...], quiet: tuple[int, int], minute: int) -> int | None:
    """The first minute (since 1970) from `minute` on that is quiet in none of the zones, 0 where that is `minute`; None
    where there is none.

    Looked for minute by minute: so clocks that are put forward or back, and zones of odd offsets, need no rule.
    """
    clocks = [ZoneInfo(name) for name in zones]
    for one in range(minute, minute + _LOOK_MINUTES):
        moment = datetime.fromtimestamp(one * 60, UTC)
        if not any(_is_quiet(moment.astimezone(clock), quiet) for clock in clocks):
            return one if one > minute else 0
    return None


def _is_quiet(local: datetime, quiet: tuple[int, int]) -> bool:
    begin, end = quiet
    now = local.hour * 60 + local.minute
    return begin <= now < end if begin < end else now >= begin or now < end


def _minutes(written: str) -> int:
    hours, _, minutes = written.partition(":")
    return int(hours) * 60 + int(minutes)


def _written(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat().replace("+00:00", "Z")
