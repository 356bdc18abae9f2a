"""Callbacks: who has yet to be told what?

In: moves of messages and events that are told again (`sms.callbacks`), accounts' news (`sms.events`), what came of
calls (`sms.callback-results`). Out: the log of deliveries (`sms.callback-deliveries`). Table: the queues (queues.py),
which the deliverer reads and calls for.

A message is told at each change of the contract's state, each once and in order: repeats and what comes late are known
by how far the batch was told.
"""

from hashlib import blake2b

import msgspec
import structlog

from pipeline import ids
from pipeline.callbacks import body, metrics, queues
from pipeline.callbacks.body import Status
from pipeline.callbacks.endpoints import Endpoints
from pipeline.callbacks.posts import read_callback
from pipeline.callbacks.records import (
    Again,
    Delivery,
    Entry,
    Event,
    Known,
    Outcome,
    Result,
    decode_news,
    decode_results,
)
from pipeline.config import Settings
from pipeline.ops.metrics import REPEATS
from pipeline.records import Notice, encode_one
from pipeline.streaming.stage import Record, Source, Step
from pipeline.streaming.topics import TopicNames
from schemas.states import STATE, Detailed

log = structlog.get_logger()

#: Told of a message so far: that it is on its way, and how it ended.
_PENDING, _ENDED = 1, 2
_NEW, _UNDER_WAY = STATE[Detailed.ACCEPTED], STATE[Detailed.SUBMITTED]


class _AccountNews(msgspec.Struct):
    account: str
    kind: str
    at: str


_read_news = msgspec.json.Decoder(_AccountNews).decode


def sources(settings: Settings, endpoints: Endpoints) -> list[Source]:
    """The stage's agents."""
    names = TopicNames(settings.kafka.topic_prefix)
    queue = _Queue(settings, names, endpoints)
    return [
        Source(names.callbacks, queue.moves),
        Source(names.events, queue.news, max_records=64),
        Source(names.callback_results, queue.results, max_records=32),
    ]


class _Queue:
    """What the stage decides, record by record."""

    def __init__(self, settings: Settings, names: TopicNames, endpoints: Endpoints) -> None:
        self._names = names
        self._partitions = settings.kafka.partitions
        self._endpoints = endpoints

    def moves(self, record: Record, step: Step) -> None:
        """Moves of messages, and events that are told again."""
        adder = _Adder(record, step)
        for item in decode_news(record.value):
            if isinstance(item, Notice):
                self._notice(item, step, adder)
            else:
                self._again(item, step, adder)

    def news(self, record: Record, step: Step) -> None:
        """News of an account."""
        told = _read_news(record.value)
        event = Event(
            f"evt_{blake2b(record.value, digest_size=12).hexdigest()}",
            f"account.{told.kind}",
            told.at,
            "",
            record.value,
        )
        adder = _Adder(record, step)
        for endpoint in self._endpoints.of(told.account):
            if endpoint.wants(event.type, event.at):
                adder.to_endpoint(endpoint.id, told.account, b"", event)

    def results(self, record: Record, step: Step) -> None:
        """What came of calls. An entry that is not there any more was settled by an earlier record."""
        for result in decode_results(record.value):
            found = [(key, step.view.get(key, Entry)) for key in result.keys]
            entries = [(key, entry) for key, entry in found if entry is not None]
            if len(entries) < len(found):
                REPEATS.labels("callbacks").inc(len(found) - len(entries))
            if entries:
                self._settle(entries, result, record.timestamp_ms, step)

    def _notice(self, notice: Notice, step: Step, adder: "_Adder") -> None:
        how_far = queues.known(step.view, notice.batch) or Known(notice.callback)
        callback = read_callback(notice.callback) if notice.callback else None
        endpoints = list(self._endpoints.of(notice.account))
        options = body.options_of(notice.options)
        for text, value in zip(notice.text, notice.statuses, strict=True):
            status = body.read_status(value)
            if status.detailed_state == Detailed.SUBMITTED.name:
                how_far.sent.setdefault(status.index, status.at)
            reached = _PENDING if status.state == _UNDER_WAY else _ENDED
            if status.state == _NEW or reached <= how_far.told.get(status.index, 0):
                continue
            how_far.told[status.index] = reached
            sent_at = how_far.sent.get(status.index)
            if status.detailed_state == Detailed.DELIVERED.name:
                sent_at = sent_at or status.at  # a receipt may overtake the carrier's answer
            shown = notice.texts[text], sent_at, options
            if callback:
                event = _event(status, body.message(status, *shown, callback))
                adder.to_callback(callback.url, notice.account, notice.batch, event)
            if wanted := [one for one in endpoints if one.wants(_type_of(status), status.at)]:
                event = _event(status, body.message(status, *shown, None))
                for endpoint in wanted:
                    adder.to_endpoint(endpoint.id, notice.account, notice.batch, event)
        queues.know(step.view, notice.batch, how_far)

    def _again(self, again: Again, step: Step, adder: "_Adder") -> None:
        if again.target:
            adder.to_endpoint(again.target, again.account, again.batch, again.event)
        elif again.callback:
            if queues.known(step.view, again.batch) is None:
                queues.know(step.view, again.batch, Known(again.callback))
            adder.to_callback(read_callback(again.callback).url, again.account, again.batch, again.event)

    def _settle(self, entries: list[tuple[bytes, Entry]], result: Result, now: int, step: Step) -> None:
        for key, entry in entries:
            if result.outcome == Outcome.RETRYING:
                queues.put_off(step.view, key, entry, result.due)
            else:
                queues.remove(step.view, key, entry, now)
        first = entries[0][1]
        kind = "endpoint" if first.target else "callback"
        if result.outcome != Outcome.RETRYING:
            metrics.TOLD.labels(kind, result.outcome.name.lower()).inc(len(entries))
        if result.outcome == Outcome.GIVEN_UP:
            log.warning(
                "callback.given_up", account=first.account, endpoint=first.target or None, error=result.error,
                events=[entry.event.id for _, entry in entries],
            )  # fmt: skip
        self._log_delivery([entry for _, entry in entries], result, step)

    def _log_delivery(self, entries: list[Entry], result: Result, step: Step) -> None:
        first = entries[0]
        last = result.outcome != Outcome.RETRYING
        events = [entry.event if last else msgspec.structs.replace(entry.event, data=b"") for entry in entries]
        known = queues.known(step.view, first.batch) if last and not first.target else None
        delivery = Delivery(
            id=result.id,
            account=first.account,
            endpoint=first.target,
            url=result.url,
            outcome=result.outcome,
            attempt=max(entry.attempt for entry in entries) + 1,
            at=result.at,
            milliseconds=result.milliseconds,
            status=result.status,
            error=result.error,
            due=result.due,
            events=events,
            callback=known.callback if known else None,
            batches=[entry.batch for entry in entries] if last else [],
        )
        account = first.account.encode()
        home = ids.partition_of(account, self._partitions)
        step.outbox.record(self._names.callback_deliveries, home, encode_one(delivery), key=account)


def _type_of(status: Status) -> str:
    return f"message.{status.state.lower()}"


def _event(status: Status, data: bytes) -> Event:
    return Event(f"{status.id}:{status.sequence}", _type_of(status), status.at, status.id, data)


class _Adder:
    """Puts the events of one record into queues, in the order of its calls."""

    def __init__(self, record: Record, step: Step) -> None:
        self._record, self._step = record, step
        self._number = 0

    def to_callback(self, url: str, account: str, batch: bytes, event: Event) -> None:
        """Tell the callback of the batch's request, which goes to `url`."""
        self._add(queues.callback_lane(account, url), "", account, batch, event)

    def to_endpoint(self, endpoint: str, account: str, batch: bytes, event: Event) -> None:
        self._add(queues.endpoint_lane(endpoint), endpoint, account, batch, event)

    def _add(self, lane: bytes, target: str, account: str, batch: bytes, event: Event) -> None:
        subject = bytes.fromhex(event.message) if event.message else event.id.encode()
        entry = Entry(event, account, target, batch, subject, self._record.timestamp_ms)
        place = queues.place_of(self._record, self._number)
        self._number += 1
        if queues.add(self._step.view, lane, entry, place):
            metrics.QUEUED.labels("endpoint" if target else "callback").inc()
        else:
            REPEATS.labels("callbacks").inc()
