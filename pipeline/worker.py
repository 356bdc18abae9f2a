"""A worker process: one or more stages in one event loop, each a Faust app of its own.

`BUILDERS` says what can run and how each stage is put together from its parts.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.accounts import AccountDirectory
from pipeline.billing import parse_amount
from pipeline.callbacks import stage
from pipeline.callbacks.addresses import Policy
from pipeline.callbacks.caller import Caller
from pipeline.callbacks.deliverer import Deliverer
from pipeline.callbacks.endpoints import EndpointDirectory
from pipeline.callbacks.targets import Targets
from pipeline.callbacks.transport import Transport
from pipeline.cancellations import CancellationDirectory
from pipeline.carriers.http import HttpCarrier
from pipeline.carriers.routing import Router
from pipeline.config import ConfigError, Settings
from pipeline.numbers import classify
from pipeline.ops import interpreter, metrics, observe
from pipeline.optouts import OptOutDirectory
from pipeline.prices import PriceDirectory
from pipeline.prohibited import WatchedLists
from pipeline.records import Tick, encode
from pipeline.stages import dispatch, moderate, price, resolve, route, track, validate
from pipeline.stages import encode as encode_stage
from pipeline.stages.submission import Line
from pipeline.streaming import app as faust_app
from pipeline.streaming import client, pulse, topics
from pipeline.streaming.runner import Runner
from pipeline.streaming.stage import Source
from pipeline.streaming.state import State
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

log = structlog.get_logger()

_TICK_SECONDS = 5.0
_GAUGE_SECONDS = 0.5
_RETRY_SECONDS = 2.0
#: A record that the broker has not acknowledged by then ends the process; a broker may be away for a minute.
_PRODUCE_TIMEOUT_MS = 120_000


@dataclass
class _Parts:
    """What a stage brings: its agents, records a poll, its table, and what it opens and closes beside them."""

    sources: list[Source]
    poll: int = 32
    table: bool = False
    keeps_forever: bool = False
    close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    owned: Callable[[list[int]], None] = lambda partitions: None
    beside: "Beside | None" = None


class Beside(Protocol):
    """What works beside a stage, on its table."""

    async def run(self, runner: Runner, producer: AIOKafkaProducer) -> None:
        """Until cancelled; what it raises ends the process."""

    async def stop(self) -> None:
        """End what is under way, before the stage stops."""


async def _validate(settings: Settings) -> _Parts:
    accounts = AccountDirectory(settings)
    await accounts.start()
    classify("+393331234567")  # loads the numbering plans now, not with the first login code
    return _Parts(validate.sources(settings, accounts), poll=4, close=[accounts.stop])


async def _encode(settings: Settings) -> _Parts:
    return _Parts(encode_stage.sources(settings, Router(settings.routes, list(settings.http_carriers))), table=True)


async def _moderate(settings: Settings) -> _Parts:
    lists, opt_outs = WatchedLists(settings), OptOutDirectory(settings)
    await asyncio.gather(lists.start(), opt_outs.start())
    return _Parts(moderate.sources(settings, lists, opt_outs), close=[lists.stop, opt_outs.stop])


async def _price(settings: Settings) -> _Parts:
    minimum = parse_amount(settings.billing.minimum)
    if isinstance(minimum, Error):
        raise ConfigError(f"billing.minimum: {minimum.message}")
    accounts, prices = AccountDirectory(settings), PriceDirectory(settings)
    await asyncio.gather(accounts.start(), prices.start())
    await prices.keep_configured(time.time_ns() // 1_000_000, f"worker on {socket.gethostname()}")
    found = price.sources(settings, prices.book, minimum, accounts)
    return _Parts(found, table=True, keeps_forever=True, close=[accounts.stop, prices.stop])


async def _dispatch(settings: Settings) -> _Parts:
    for name in settings.carriers.keys() - settings.http_carriers.keys():
        log.warning(
            "carrier.passed_over", carrier=name, reason="SMPP is not offered yet; its routes use the next carrier"
        )
    lines = [Line(name, config, HttpCarrier(name, config)) for name, config in settings.http_carriers.items()]
    router = Router(settings.routes, list(settings.http_carriers))

    def share(partitions: list[int]) -> None:
        for line in lines:
            line.throughput.set_share(len(partitions) / settings.kafka.partitions)

    canceled = CancellationDirectory(settings)
    await canceled.start()
    found = route.sources(settings, router) + dispatch.sources(settings, lines, canceled)
    return _Parts(found, table=True, close=[*(line.carrier.close for line in lines), canceled.stop], owned=share)


async def _track(settings: Settings) -> _Parts:
    opt_outs, endpoints = OptOutDirectory(settings), EndpointDirectory(settings)
    await asyncio.gather(opt_outs.start(), endpoints.start())
    tracker = track.Tracker(settings, opt_outs, endpoints.listens)
    found = track.sources(settings, tracker) + resolve.sources(settings)
    return _Parts(found, table=True, close=[opt_outs.stop, endpoints.stop], owned=tracker.owned)


async def _callbacks(settings: Settings) -> _Parts:
    endpoints = EndpointDirectory(settings)
    await endpoints.start()
    config = settings.callbacks
    caller = Caller(Transport(Policy(config.allow), config.connections), https_only=config.https_only)
    deliverer = Deliverer(settings, Targets(settings, endpoints), caller)
    return _Parts(stage.sources(settings, endpoints), table=True, close=[endpoints.stop], beside=deliverer)


BUILDERS: dict[str, Callable[[Settings], Awaitable[_Parts]]] = {
    "validate": _validate,
    "encode": _encode,
    "moderate": _moderate,
    "price": _price,
    "dispatch": _dispatch,
    "track": _track,
    "callbacks": _callbacks,
}
#: The read model's projector runs as a worker too; it is no Faust stage.
STORE = "store"
NAMES = [*BUILDERS, STORE]
#: What follows a message (its story, the read model) must not delay what sends it, where cores are few.
_NICENESS = {"track": 5, "callbacks": 5, STORE: 10}


def run(settings: Settings, stages: list[str], instance: str | None) -> int:
    """Run until SIGTERM or SIGINT, then finish the records at hand. Returns the exit code.

    On asyncio's own loop: Faust wakes it from its consumer's threads in ways that uvloop loses.
    """
    return asyncio.run(_Worker(settings, stages, instance).main())


def _tell_tasks(runners: list[Runner]) -> None:
    """SIGUSR1: what every task waits for, innermost last, to the log. For the day a worker seems to hang."""
    loops = [runner.app.consumer._thread.thread_loop for runner in runners]
    for task in [task for loop in [None, *loops] for task in asyncio.all_tasks(loop)]:
        frames: list[str] = []
        waiting: Any = task.get_coro()
        while waiting is not None and (frame := getattr(waiting, "cr_frame", None)):
            frames.append(f"{frame.f_code.co_qualname} {frame.f_code.co_filename.rsplit('/', 2)[-1]}:{frame.f_lineno}")
            waiting = getattr(waiting, "cr_await", None)
        log.warning("task.waits", task=task.get_name(), at=frames, on=repr(waiting))


class _Worker:
    def __init__(self, settings: Settings, stages: list[str], instance: str | None) -> None:
        self._settings = settings
        self._stages = stages
        self._instance = instance
        self._names = TopicNames(settings.kafka.topic_prefix)
        self._stop = asyncio.Event()
        self._runners: list[Runner] = []
        self._parts: dict[str, _Parts] = {}
        self._beside: list[asyncio.Task[None]] = []
        self._store_ready = asyncio.Event()
        self._was_ready: dict[str, bool] = {}
        self._ready = False

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGUSR1, _tell_tasks, self._runners)
        os.nice(min(_NICENESS.get(stage, 0) for stage in self._stages))
        port = observe.serve(self._settings.metrics.host, self._settings.metrics.port, lambda: self._ready)
        log.info("worker.start", stages=self._stages, instance=self._instance, metrics_port=port)
        if not await self._topics_there():
            return 0
        producer = client.producer(self._settings.kafka, request_timeout_ms=_PRODUCE_TIMEOUT_MS)
        await producer.start()
        tasks = [asyncio.create_task(work) for work in (pulse.keep(), self._gauges(), self._ticks(producer))]
        store = asyncio.create_task(self._store()) if STORE in self._stages else None
        try:
            await asyncio.gather(*(self._start(name, producer) for name in self._stages if name != STORE))
            interpreter.tune()
            await self._wait(store)
            for task in tasks:
                task.cancel()
            await self._drain(producer, store)
        except ConfigError as error:
            sys.stderr.write(f"sms-pipeline: {error}\n")
            sys.stderr.flush()
            os._exit(1)
        except BaseException:
            # Nothing is closed: Faust's services swallow what would end them, and a process half alive reads nothing.
            log.critical("worker.broke", stages=self._stages, error=traceback.format_exc())
            os._exit(pulse.EXIT_UNSAFE)
        log.info("worker.stopped", stages=self._stages)
        return 0

    async def _topics_there(self) -> bool:
        """Wait for Kafka, however long it is away, and see to the topics; False where the stop comes first."""
        while not self._stop.is_set():
            try:
                await topics.ensure(self._settings)
            except KafkaError as error:
                log.warning("worker.waits_for_kafka", error=repr(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_SECONDS):
                        await self._stop.wait()
            else:
                return True
        return False

    async def _start(self, name: str, producer: AIOKafkaProducer) -> None:
        settings = self._settings
        parts = self._parts[name] = await BUILDERS[name](settings)
        app = faust_app.create(settings, name, self._instance, poll=parts.poll)
        state = None
        if parts.table:
            kept = None if parts.keeps_forever else int(settings.storage.retention_days * 24 * 3600)
            state = State(app, name, partitions=settings.kafka.partitions, retention_seconds=kept)
        runner = Runner(app, name, parts.sources, producer, settings, self._names.dead_letters, state)
        await runner.start()
        self._runners.append(runner)
        if parts.beside:
            self._beside.append(asyncio.create_task(self._attend(parts.beside, runner, producer)))
        log.info("stage.started", stage=name)

    async def _attend(self, beside: Beside, runner: Runner, producer: AIOKafkaProducer) -> None:
        """What works beside a stage ends the process where it fails, as the stage does."""
        try:
            await beside.run(runner, producer)
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.critical("stage.unsafe", stage=runner.name, source="beside", error=traceback.format_exc())
            os._exit(pulse.EXIT_UNSAFE)

    async def _wait(self, store: asyncio.Task[None] | None) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        waiting: Iterable[asyncio.Task[object]] = [stopped, *([store] if store else [])]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if store and store.done():
            store.result()

    async def _drain(self, producer: AIOKafkaProducer, store: asyncio.Task[None] | None) -> None:
        for parts in self._parts.values():
            if parts.beside:
                await parts.beside.stop()
        for task in self._beside:
            task.cancel()
        for runner in self._runners:
            await runner.stop()
        for parts in self._parts.values():
            for close in parts.close:
                await close()
        if store:
            self._stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await store
        await producer.stop()

    async def _store(self) -> None:
        from pipeline.store.batch_projector import run_batches  # brings SQLAlchemy, a third of a worker's start
        from pipeline.store.projector import run_projector

        messages = run_projector(self._settings, ready=self._store_ready, stop=self._stop)
        await asyncio.gather(messages, run_batches(self._settings, stop=self._stop))

    def _look(self) -> bool:
        """Whether every stage reads records. In the loop's thread: to look at a Faust app is to bind it to a loop."""
        for runner in self._runners:
            ready = runner.ready
            if ready != self._was_ready.get(runner.name):
                log.info("stage.ready" if ready else "stage.not_ready", stage=runner.name)
                self._was_ready[runner.name] = ready
            metrics.STAGE_READY.labels(runner.name).set(ready)
        stages = [name for name in self._stages if name != STORE]
        store = STORE not in self._stages or self._store_ready.is_set()
        return store and len(self._runners) == len(stages) and all(self._was_ready.values())

    async def _gauges(self) -> None:
        """What is looked at now and then: readiness, table sizes, this process's share of the partitions."""
        while True:
            self._ready = self._look()
            for runner in self._runners:
                if runner.ready:
                    for topic, records in runner.lag().items():
                        metrics.LAG.labels(runner.name, topic).set(records)
                if runner.state and runner.ready:
                    metrics.TABLE_KEYS.labels(runner.name).set(runner.state.size())
                    self._parts[runner.name].owned(runner.state.owned())
            await asyncio.sleep(_GAUGE_SECONDS)

    async def _ticks(self, producer: AIOKafkaProducer) -> None:
        """The clock of expiry goes through a topic, so that whoever owns a partition's table acts on it, in order."""
        if "track" not in self._stages:
            return
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for runner in self._runners:
                if runner.name == "track" and runner.state and runner.ready:
                    for partition in runner.state.owned():
                        tick = Tick(int(runner.watermark(partition, but=self._names.ticks)), int(time.time()))
                        await producer.send(self._names.ticks, encode([tick]), partition=partition)
