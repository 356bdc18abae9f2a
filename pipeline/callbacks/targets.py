"""Whom an entry is for, and what a call to them is: its content, and what its answer means for the entries in it."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from pipeline.callbacks import posts, queues
from pipeline.callbacks.caller import Answer
from pipeline.callbacks.endpoints import Endpoint, Endpoints
from pipeline.callbacks.posts import Callback, Post
from pipeline.callbacks.records import Entry, Outcome
from pipeline.config import Settings
from pipeline.streaming.state import View

#: A request's callback is repeated `retry` times, each pause so many times the last one: 5, 20, 80 … seconds.
_CALLBACK_FACTOR = 4
_ENDPOINT_FACTOR = 2
_LONGEST_ENDPOINT_PAUSE_SECONDS = 1800.0
_JITTER = 0.2
#: Bytes of events in one call; a larger one goes alone.
_BATCH_BYTES = 256 * 1024
#: Entries of a target that is no more.
_GIVEN_UP_AT_ONCE = 500
#: The receiver is gone for good (Standard Webhooks).
_GONE = 410

Found = tuple[bytes, Entry]


class Pauses(msgspec.Struct, frozen=True):
    """How long is waited before a repeat. `first`: seconds; `give_up_ms`: how long an endpoint is tried."""

    first: float
    give_up_ms: int

    def before(self, attempt: int, factor: int, longest: float) -> float:
        """Seconds after the `attempt`-th failure (from 1)."""
        pause = min(self.first * float(factor) ** min(attempt - 1, 30), longest)
        return pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  (spreads repeats)


class Call:
    """One call for some entries: what is posted, and what comes of them."""

    def __init__(self, found: Sequence[Found], post: Post, pauses: Pauses, callback: Callback | None) -> None:
        self.keys = [key for key, _ in found]
        self.post = post
        self.origin = queues.origin(post.url)
        self.shown_url = post.url.partition("?")[0].partition("#")[0]
        self.kind = "callback" if callback else "endpoint"
        #: Whether the lane has other URLs too: a refusal of this one then says nothing of the others.
        self.shared = callback is not None
        self._found, self._pauses, self._callback = found, pauses, callback

    def outcomes(self, answer: Answer, now: float) -> Iterator[tuple[Outcome, int, list[bytes]]]:
        """What becomes of which entries, and when those to be repeated are due (Unix ms)."""
        if answer.taken:
            yield Outcome.DELIVERED, 0, self.keys
            return
        attempt = max(entry.attempt for _, entry in self._found) + 1
        if self._callback:
            pause = self._pauses.before(attempt, _CALLBACK_FACTOR, float("inf"))
        else:
            pause = self._pauses.before(attempt, _ENDPOINT_FACTOR, _LONGEST_ENDPOINT_PAUSE_SECONDS)
        due = int((now + max(pause, answer.pause)) * 1000)
        again = [key for key, entry in self._found if self._goes_on(entry, answer, due)]
        if again:
            yield Outcome.RETRYING, due, again
        if given_up := [key for key in self.keys if key not in again]:
            yield Outcome.GIVEN_UP, 0, given_up

    def _goes_on(self, entry: Entry, answer: Answer, due: int) -> bool:
        if due - entry.since > self._pauses.give_up_ms:
            return False
        if self._callback:
            return answer.temporary and entry.attempt < self._callback.retry
        return answer.temporary or (answer.status is not None and answer.status != _GONE)


class Target(ABC):
    """Where a lane's entries go. `gone`: why nobody is to be called, "" where somebody is. `batch`: entries a call, or
    given up at a time."""

    def __init__(self, url: str, *, batch: int = 1, gone: str = "") -> None:
        self.origin = queues.origin(url)
        self.batch, self.gone = batch, gone

    def wait(self, found: Sequence[Found], now: float) -> float:
        """Seconds for which these wait for others to go with them."""
        return 0.0

    @abstractmethod
    def calls(self, found: Sequence[Found]) -> Iterator[Call]:
        """The calls for these entries, in order; fewer where the target of one is another."""


class _Gone(Target):
    def calls(self, found: Sequence[Found]) -> Iterator[Call]:
        return iter(())


class _Callbacks(Target):
    """The callbacks of an account to one host: each call its own."""

    def __init__(self, url: str, targets: "Targets", view: View) -> None:
        super().__init__(url)
        self._targets, self._view = targets, view

    def calls(self, found: Sequence[Found]) -> Iterator[Call]:
        for key, entry in found:
            callback = self._targets.callback(self._view, entry.batch)
            if callback is None:
                return
            yield Call([(key, entry)], posts.of_callback(callback, entry), self._targets.pauses, callback)


class _Endpoint(Target):
    def __init__(self, endpoint: Endpoint, pauses: Pauses) -> None:
        super().__init__(endpoint.url, batch=endpoint.batch)
        self._endpoint, self._pauses = endpoint, pauses

    def wait(self, found: Sequence[Found], now: float) -> float:
        if len(found) >= self.batch:
            return 0.0
        return queues.due_of(found[0][0]) / 1000 + self._endpoint.batch_milliseconds / 1000 - now

    def calls(self, found: Sequence[Found]) -> Iterator[Call]:
        some: list[Found] = []
        size = 0
        for key, entry in found:
            full = len(some) == self.batch or size + len(entry.event.data) > _BATCH_BYTES
            if some and (full or _repeat(some[-1]) != _repeat((key, entry))):
                yield self._call(some)
                some, size = [], 0
            some.append((key, entry))
            size += len(entry.event.data)
        yield self._call(some)

    def _call(self, found: list[Found]) -> Call:
        return Call(found, posts.of_endpoint(self._endpoint, [entry for _, entry in found]), self._pauses, None)


def _repeat(found: Found) -> int:
    """What failed together is due together: it is repeated as it was, under the same id, and nothing joins it."""
    key, entry = found
    return queues.due_of(key) if entry.attempt else 0


class Targets:
    """Finds the target of an entry."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        config = settings.callbacks
        self.pauses = Pauses(config.retry_seconds, int(config.give_up_hours * 3_600_000))
        self._endpoints = endpoints

    def find(self, view: View, entry: Entry) -> Target:
        """Where this entry goes, and those behind it in its lane. `view`: the partition it waits in."""
        if not entry.target:
            callback = self.callback(view, entry.batch)
            return _Callbacks(callback.url, self, view) if callback else _Gone("", gone="the request is forgotten")
        endpoint = self._endpoints.get(entry.target)
        if endpoint is None or not endpoint.enabled:
            why = "the endpoint was removed" if endpoint is None else "the endpoint is disabled"
            return _Gone("", batch=_GIVEN_UP_AT_ONCE, gone=why)
        return _Endpoint(endpoint, self.pauses)

    def callback(self, view: View, batch: bytes) -> Callback | None:
        """The callback of the request of this batch; None where it is not known (any more)."""
        known = queues.known(view, batch)
        return _read(known.callback) if known and known.callback else None


_read = lru_cache(maxsize=1024)(posts.read_callback)
