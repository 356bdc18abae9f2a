"""Lanes at work: who may be called now, and how often at a time.

A lane that fails again and again is left alone for a while and then probed with one call (a circuit). A lane that has
not answered well yet, or no longer does, gets few calls at a time, and all of these together at most half of the
connections: so however many clients are dead or slow, the others have the other half.
"""

import random
from collections import Counter, OrderedDict

#: Failures in a row that open a circuit.
_FAILURES = 5
_LONGEST_PAUSE_SECONDS = 60.0
#: Calls at a time of a lane of which nothing is known.
_FIRST_WINDOW = 2
#: Lanes remembered; of one forgotten it is learned again whether it answers.
_REMEMBERED = 10_000


class Circuit:
    """Closed while calls succeed. Open: no call until the pause is over. Then half open: one call decides."""

    def __init__(self, pause: float) -> None:
        """`pause`: seconds of the first one; each further is twice as long, up to a minute."""
        self._first = pause
        self._pause = 0.0
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether calls fail, so that at most one at a time is tried."""
        return self._failures >= _FAILURES

    def rests(self, now: float) -> bool:
        """Whether nobody is called at all. `now`: monotonic seconds."""
        return now < self._until

    def succeeded(self) -> None:
        self._failures, self._pause = 0, 0.0

    def failed(self, now: float, pause: float = 0.0) -> None:
        """A call failed; `pause`: seconds the other side asked for."""
        self._failures += 1
        if self.open:
            self._pause = min(max(2 * self._pause, self._first), _LONGEST_PAUSE_SECONDS)
            pause = max(pause, self._pause * random.uniform(0.8, 1.2))  # noqa: S311  (spreads probes)
        self._until = max(self._until, now + pause)


class Lane:
    """One lane: its circuit, and how many calls it has and may have at a time."""

    def __init__(self, pause: float) -> None:
        self.circuit = Circuit(pause)
        self.running = 0
        self.proven = False
        self.window = _FIRST_WINDOW
        #: By partition: every entry of the queue before this key is being seen to.
        self.cursors: dict[int, bytes] = {}


class Lanes:
    """All lanes of this process, and the connections they share."""

    def __init__(self, connections: int, per_host: int, pause: float) -> None:
        """`pause`: seconds of a circuit's first one."""
        self._connections, self._per_host, self._pause = connections, per_host, pause
        self._lanes: OrderedDict[bytes, Lane] = OrderedDict()
        self._by_origin: Counter[str] = Counter()
        self.running = 0
        self._unproven = 0

    def get(self, name: bytes) -> Lane:
        """The lane of this name; the one that was not asked for longest is forgotten where there are too many."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(self._pause)
            if len(self._lanes) > _REMEMBERED:
                oldest = next(iter(self._lanes))
                if not self._lanes[oldest].running:
                    del self._lanes[oldest]
        self._lanes.move_to_end(name)
        return lane

    def known(self, name: bytes) -> Lane | None:
        """The lane of this name, if it is remembered."""
        return self._lanes.get(name)

    def room(self, lane: Lane, origin: str) -> int:
        """Calls that may begin now."""
        shared = self._connections - self.running
        if not lane.proven:
            shared = min(shared, self._connections // 2 - self._unproven)
        own = (1 if lane.circuit.open else lane.window) - lane.running
        return max(0, min(shared, own, self._per_host - self._by_origin[origin]))

    @property
    def full(self) -> bool:
        """Whether no lane may begin a call."""
        return self.running >= self._connections

    def open_circuits(self) -> int:
        return sum(lane.circuit.open for lane in self._lanes.values())

    def begin(self, lane: Lane, origin: str) -> bool:
        """A call begins; what `end` wants to be told of it."""
        lane.running += 1
        self.running += 1
        self._by_origin[origin] += 1
        self._unproven += not lane.proven
        return lane.proven

    def end(self, lane: Lane, origin: str, proven: bool) -> None:
        """The call is over."""
        lane.running -= 1
        self.running -= 1
        self._unproven -= not proven
        self._by_origin[origin] -= 1
        if not self._by_origin[origin]:
            del self._by_origin[origin]

    def succeeded(self, lane: Lane) -> None:
        """It went well: one more at a time."""
        lane.circuit.succeeded()
        lane.proven = True
        lane.window = min(lane.window + 1, self._per_host)

    def failed(self, lane: Lane, now: float, pause: float = 0.0) -> None:
        """It failed: half as many at a time. `pause`: seconds the other side asked for."""
        lane.circuit.failed(now, pause)
        lane.proven = False
        lane.window = max(1, lane.window // 2)

    def forget_cursors(self) -> None:
        """The queues may have changed in any way."""
        for lane in self._lanes.values():
            lane.cursors.clear()
