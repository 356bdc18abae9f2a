"""Messages counted: what a row adds to the statistics, and what its next state takes away again. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from pipeline.ids import SECOND_DIGITS
from schemas.states import Detailed

#: Steps of delivery times a power of two: each is 6 % wider than the one before, so that the middle of a step is within
#: 3 % of whatever fell into it.
_STEPS = 12
_DELIVERED = Detailed.DELIVERED.name
_NO_DAY = ""

#: Account, day of the request (UTC), country, operator, carrier.
About = tuple[str, str, str, str, str]


class Counted(NamedTuple):
    """What is counted of a message's row."""

    account: str
    id: str
    country_code: str | None
    operator: str | None
    carrier: str | None
    detailed_state: str
    message_count: int
    sent_at: str | None
    delivered_at: str | None
    dry_run: bool
    sequence: int


class Tallies:
    """Changes to the statistics, summed. `states`: messages and parts by what they are about and detailed state;
    `times`: deliveries by what they are about and step."""

    def __init__(self) -> None:
        self._days: dict[str, str] = {}
        self._states: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        self._times: defaultdict[tuple[About, int], int] = defaultdict(int)

    def add(self, row: Counted, times: int = 1) -> None:
        """Count a row; `times` -1 takes it away."""
        if row.dry_run:
            return
        about = (
            row.account, self._day(row.id), row.country_code or "", row.operator or "", row.carrier or ""
        )  # fmt: skip
        sums = self._states[(*about, row.detailed_state)]
        sums[0] += times
        sums[1] += times * row.message_count
        if row.detailed_state == _DELIVERED and (step := _taken(row.sent_at, row.delivered_at)) is not None:
            self._times[about, step] += times

    @property
    def states(self) -> Iterable[tuple[str | int, ...]]:
        """Rows of the table `statistics` to be added up."""
        return [(*key, *sums) for key, sums in self._states.items() if any(sums)]

    @property
    def times(self) -> Iterable[tuple[str | int, ...]]:
        """Rows of the table `delivery_times` to be added up."""
        return [(*about, step, number) for (about, step), number in self._times.items() if number]

    def _day(self, id_: str) -> str:
        """Of the request, as the id tells it; "" for an id that is not ours: the topic is open to others."""
        second = id_[:SECOND_DIGITS]
        found = self._days.get(second)
        if found is None:
            try:
                found = datetime.fromtimestamp(int(second, 16), UTC).date().isoformat()
            except ValueError:
                found = _NO_DAY
            self._days[second] = found
        return found


def step_of(seconds: float) -> int:
    """The step of a time; all below a millisecond share the first."""
    return max(0, math.floor(_STEPS * math.log2(max(seconds * 1000, 1))))


def middle(step: int) -> float:
    """Seconds in the middle of a step."""
    return float(2 ** ((step + 0.5) / _STEPS)) / 1000


def percentile(counts: list[tuple[int, int]], share: float) -> float:
    """Seconds within which a share of the deliveries happened. `counts`: (step, deliveries), not empty."""
    counts = sorted(counts)
    wanted = share * sum(number for _, number in counts)
    passed = 0
    for step, number in counts:
        passed += number
        if passed >= wanted:
            return round(middle(step), 3)
    return round(middle(counts[-1][0]), 3)


def _taken(sent_at: str | None, delivered_at: str | None) -> int | None:
    """The step of a delivery's time; None where it is not known: also where the receipt overtook the carrier's answer,
    and stands for it."""
    if sent_at is None or delivered_at is None or sent_at == delivered_at:
        return None
    try:
        passed = datetime.fromisoformat(delivered_at) - datetime.fromisoformat(sent_at)
        return step_of(passed.total_seconds())
    except (ValueError, TypeError):  # no times of ours
        return None
