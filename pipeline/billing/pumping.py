"""SMS pumping: an account's traffic that suddenly goes to one block of costly numbers.

Somebody has a form send login codes to numbers of a block whose operator shares the revenue with him. A *range* is a
number without its last four digits, a block of 10,000. What is judged is its share of the account's messages, not their
number alone: who has always written to a range may go on.
"""

from collections.abc import Container, Mapping, Sequence

import msgspec

_HOUR_MS = 3600 * 1000
#: Hours in which what an account sent counts for half: what it does once a week is still its habit.
_HALF_LIFE = 7 * 24
#: Ranges that are remembered of a period.
MOST_RANGES = 500
#: A range was nothing before where its share was below this part of the share at which it trips.
_NOTHING = 0.25
#: An account that has sent little is judged from so many times the usual number of messages on.
_UNFAMILIAR = 5


def range_of(number: str) -> str:
    """The range of a number in E.164 format: "+20100123" of "+201001234567"."""
    return number[:-4]


class Counts(msgspec.Struct, array_like=True, frozen=True):
    """The messages of a period: all, and those to costly ranges. Faded ones count for less than one."""

    messages: float = 0
    ranges: dict[str, float] = {}

    def plus(self, messages: float, ranges: Mapping[str, float]) -> "Counts":
        """Both together.

        Of more than MOST_RANGES ranges those are kept that more goes to, each less what goes to the first that is not
        (Misra and Gries, 1982; merged as in Agarwal et al., Mergeable summaries, 2012). So a range with more than a
        500th of the messages is always known, and counted too low by at most so many, never too high.
        """
        if not ranges:
            return Counts(self.messages + messages, self.ranges)
        found = dict(self.ranges)
        for name, count in ranges.items():
            found[name] = found.get(name, 0) + count
        if len(found) > MOST_RANGES:
            spare = sorted(found.values(), reverse=True)[MOST_RANGES]
            found = {name: count - spare for name, count in found.items() if count > spare}
        return Counts(self.messages + messages, found)

    def faded(self, hours: int) -> "Counts":
        """The same so many hours later; what is left of less than half a message is nothing."""
        rest = 0.5 ** (hours / _HALF_LIFE)
        if self.messages * rest < 0.5:
            return Counts()
        left = {name: count * rest for name, count in self.ranges.items() if count * rest >= 0.5}
        return Counts(self.messages * rest, left)


class Trip(msgspec.Struct, array_like=True, frozen=True):
    """A range that tripped: `count` of the `messages` of an hour were for it, with the batch (hex) that is refused for
    it. `at`: Unix ms."""

    range: str
    count: int
    messages: int
    at: int
    batch: str


class Traffic(msgspec.Struct, array_like=True, frozen=True):
    """An account's messages, of the requests' times: in the running hour (`hour`: hours since 1970), in the last one
    before it that had any, and `before` that, faded. The last hour is no habit yet: what begins at its end must not
    pass for one in the next. `tripped`: ranges whose hold is not known to be told.
    """

    hour: int = 0
    now: Counts = Counts()
    last: Counts = Counts()
    before: Counts = Counts()
    tripped: tuple[Trip, ...] = ()

    def at(self, at: int) -> "Traffic":
        """The same at a time (Unix ms). Time does not go back."""
        hour = at // _HOUR_MS
        if hour <= self.hour:
            return self
        before = self.before.plus(self.last.messages, self.last.ranges).faded(hour - self.hour)
        return Traffic(hour, Counts(), self.now, before, self.tripped)

    def plus(self, messages: int, ranges: Mapping[str, float], trips: Sequence[Trip] = ()) -> "Traffic":
        """After so many more messages, some of them to costly ranges, and with what tripped."""
        now = self.now.plus(messages, ranges)
        return Traffic(self.hour, now, self.last, self.before, (*self.tripped, *trips))

    def told(self, known: Container[str]) -> "Traffic":
        """Without the trips of ranges that are known to be held, or released."""
        left = tuple(trip for trip in self.tripped if trip.range not in known)
        return msgspec.structs.replace(self, tripped=left)


class Rule(msgspec.Struct, frozen=True):
    """From which price a part on (micro-units) a destination is costly; and which share of an account's messages in an
    hour, of so many at least, lets a range trip."""

    price: int
    share: float
    least: int

    def ranges(self, prices: Sequence[int], where: Sequence[int], numbers: Sequence[str]) -> dict[int, str]:
        """The ranges of the costly recipients, by position. `prices`: micro-units a part by destination; `where`: each
        recipient's destination; as a batch has them."""
        if max(prices, default=0) < self.price:
            return {}
        costly = {place for place, price in enumerate(prices) if price >= self.price}
        return {position: range_of(numbers[position]) for position, place in enumerate(where) if place in costly}

    def trips(self, traffic: Traffic, messages: int, ranges: Mapping[str, int]) -> dict[str, int]:
        """Which of the costly `ranges` trip with so many messages more, and the messages of this hour to each.

        An account that sent nothing before has no habit, and nothing trips: its first campaign may well go to few
        ranges. One that sent less than `least` is judged from five times as many messages on.
        """
        before = traffic.before
        if not before.messages:
            return {}
        least = self.least if before.messages >= self.least else _UNFAMILIAR * self.least
        enough = max(least, self.share * (traffic.now.messages + messages))
        nothing = _NOTHING * self.share * before.messages
        counts = {name: int(traffic.now.ranges.get(name, 0) + more) for name, more in ranges.items()}
        return {
            name: count for name, count in counts.items() if count >= enough and before.ranges.get(name, 0) < nothing
        }
