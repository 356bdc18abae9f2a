"""What a stage's author writes: for each topic it reads, a function of one record, the table and the outbox.

The function decides: it reads the table, and collects writes and outputs. Everything else (order, durability, repeats,
dead letters, draining, back-pressure) is in window.py and runner.py, once, for every stage.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.streaming.outbox import Headers, Outbox
from pipeline.streaming.topics import PRIORITY

if TYPE_CHECKING:  # it brings Faust and RocksDB, which the gateway, using stages' functions, has no use for
    from pipeline.streaming.state import View


@dataclass(frozen=True)
class Record:
    """A source record, undecoded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers = field(default_factory=list)


class Unreadable(Exception):
    """A record that no retry will make readable; its text is the reason on the dead letter."""


class Abandoned(Exception):
    """An action that must stop because of `draining`, and cannot say what it did: its window is left as it is, and
    its records come again. Raised by actions only, and only where their repetition is recognised outside."""


async def turn_of_the_loop() -> None:
    """Let others run, and wait for nobody."""
    await asyncio.sleep(0)


@dataclass
class Step:
    """What a stage's function works with: the table's view of this partition, and the outputs.

    `breathe` is awaited between pieces of long work, so that the priority lane passes. `draining` is set when the
    partition is about to be given up (a rebalance, SIGTERM): what would wait for somebody outside then ends soon.
    `save` makes what an action has put first durable at once, in the middle of the action.
    """

    view: "View"
    outbox: Outbox
    breathe: Callable[[], Awaitable[None]] = turn_of_the_loop
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    save: Callable[[], Awaitable[None]] = turn_of_the_loop
    acts: list[Callable[["Step"], Coroutine[Any, Any, None]]] = field(default_factory=list)

    def act(self, action: Callable[["Step"], Coroutine[Any, Any, None]]) -> None:
        """Do this after the first writes are durable; it may send and put more. Actions of a window run together."""
        self.acts.append(action)


#: A function of one record; asynchronous only where it must let others run, or ask, in between.
Decide = Callable[[Record, Step], Awaitable[None] | None]


@dataclass(frozen=True)
class Source:
    """A topic a stage reads and the function that decides on its records.

    `exclusive`: windows of the stage's exclusive sources never overlap, because they share state; so `max_records` of
    a bulk window bounds how long the priority lane may have to wait. `max_bytes`: a window takes no more records once
    it holds as many, for topics whose records differ a thousandfold in size. `waits_outside`: its windows wait for
    somebody outside (a carrier), so its priority records do not hold this process's bulk lanes back. `delay_seconds`:
    a record is worked on when it is this old, which makes the topic a place to park what is to be tried again later.
    `after`: what waits in the same partition of this topic, which the stage reads too, is worked on first.
    """

    topic: str
    decide: Decide
    exclusive: bool = True
    max_records: int = 8
    max_bytes: int = 4 * 1024 * 1024
    waits_outside: bool = False
    delay_seconds: float = 0.0
    after: str = ""

    @property
    def priority(self) -> bool:
        """Whether this is the priority lane."""
        return self.topic.endswith(PRIORITY)

    @property
    def goes_first(self) -> bool:
        """Whether bulk gives way to its records."""
        return self.priority and not self.waits_outside and not self.delay_seconds
