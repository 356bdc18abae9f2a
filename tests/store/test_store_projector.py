import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import broker
import pytest
from projecting import project
from records import encode, status

from pipeline.config import Settings
from pipeline.store.database import FILE, open_database
from pipeline.store.privacy import erase
from pipeline.store.projector import run_projector
from pipeline.store.queries import ReadModel
from pipeline.store.rebuild import rebuild
from pipeline.store.writer import Writer
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from schemas.ledger import Kind, LedgerEntry
from schemas.status import CALLBACK_HEADER, OPTIONS_HEADER, TEXT_HEADER

_CHILD = """
import asyncio, sys
from pipeline.config import Settings
from pipeline.store import projector
projector._MOST_RECORDS = 50  # many transactions, so that a kill finds one open
asyncio.run(projector.run_projector(Settings.model_validate_json(sys.argv[1])))
"""


@pytest.fixture
def settings(kafka, tmp_path):
    found = broker.settings_for(kafka, tmp_path)
    broker.create_topics(found)
    return found


def topic_of(settings: Settings) -> str:
    return TopicNames(settings.kafka.topic_prefix).status


def publish(settings, records):
    rows = [(r.id.encode(), encode(r), int(r.id, 16) % settings.kafka.partitions) for r in records]
    broker.produce(settings, topic_of(settings), rows)


def stored(settings):
    engine = open_database(settings)
    found = ReadModel(engine).page("acme", 0, 10_000), Writer(engine).offsets(topic_of(settings))
    engine.dispose()
    return found


def test_what_is_on_the_topic_is_in_the_read_model_and_stays_read(settings):
    publish(settings, [status(n, s) for s in (1, 2, 3) for n in range(100)])
    project(settings, lambda model: model.counts() == {"DELIVERED": 100})
    rows, offsets = stored(settings)
    assert sum(offsets.values()) == 300
    assert {row.sent_at for row in rows} == {status(0, 2).at}

    publish(settings, [status(0, 1), status(1, 2), status(100, 1)])  # a late one, a repeat, a new one
    project(settings, lambda model: model.counts() == {"DELIVERED": 100, "ACCEPTED": 1})
    assert sum(stored(settings)[1].values()) == 303


def test_the_ledger_is_read_beside_the_statuses(settings):
    """Rows and offsets of both, whichever comes, and killed in between: repeats of a crash are there once."""
    ledger = TopicNames(settings.kafka.topic_prefix).ledger
    entries = [
        LedgerEntry(
            account=f"account-{n % 3}", sequence=n // 3 + 1, kind=Kind.TOP_UP, amount="0.01", currency="EUR",
            source="bank", target="available", balance=f"{(n // 3 + 1) / 100:.2f}", reserved="0.00", at=status(0, 1).at,
        )
        for n in range(300)
    ]  # fmt: skip
    rows = [(one.account.encode(), encode(one), int(one.account[-1])) for one in entries]
    broker.produce(settings, ledger, rows[:200])

    def last(model, number):
        found = model.last_movement(f"account-{number}")
        return found and (found.sequence, found.balance)

    project(settings, lambda model: [last(model, n) for n in range(3)] == [(67, 670_000), (67, 670_000), (66, 660_000)])
    publish(settings, [status(n, 1) for n in range(10)])
    broker.produce(settings, ledger, rows[100:])
    project(settings, lambda model: last(model, 2) == (100, 1_000_000) and model.counts() == {"ACCEPTED": 10})
    engine = open_database(settings)
    assert len(ReadModel(engine).movements("account-2", limit=1000)) == 100
    assert sum(Writer(engine).offsets(ledger).values()) == 400
    assert sum(Writer(engine).offsets(topic_of(settings)).values()) == 10
    engine.dispose()


def test_what_a_request_said_is_read_off_the_first_records_headers(settings):
    async def put() -> None:
        producer = client.producer(settings.kafka)
        await producer.start()
        callback = (CALLBACK_HEADER, b'{"url":"https://example.com/"}')
        for record, options in ((status(0, 1), b'{"tariff":"IT"}'), (status(4, 1), b"{}"), (status(0, 2), None)):
            headers = [callback] if record.index == 0 and record.request_id == "request-0" else []
            headers += [(TEXT_HEADER, b"Hello"), (OPTIONS_HEADER, options)] if options else []
            await producer.send_and_wait(topic_of(settings), encode(record), partition=0, headers=headers)
        await producer.stop()

    asyncio.run(put())
    project(settings, lambda model: model.counts() == {"ACCEPTED": 1, "SUBMITTED": 1})
    rows, _ = stored(settings)
    said = [(row.options, row.callback, row.message) for row in rows]
    assert said == [(None, None, "Hello"), ('{"tariff":"IT"}', '{"url":"https://example.com/"}', "Hello")]


@pytest.mark.parametrize("empty", [False, True])
def test_a_rebuild_and_an_erasure_reach_the_projector_that_runs(settings, empty):
    """Also one that has nothing to read."""
    publish(settings, [status(n, 1) for n in range(50)])
    engine = open_database(settings)
    steps = [lambda: rebuild(engine, empty=empty), lambda: erase(engine, status(7, 1).recipient)]
    steps.append(lambda: rebuild(engine, empty=True))

    def done(_):
        if stored(settings)[1] and sum(stored(settings)[1].values()) == 50 and steps:
            steps.pop(0)()
            return False
        return not steps and sum(stored(settings)[1].values()) == 50

    project(settings, done)
    engine.dispose()
    rows, _ = stored(settings)
    assert len(rows) == 50
    assert [row.id for row in rows if row.recipient == "+39***"] == [status(7, 1).id]


def test_a_deleted_database_is_built_again(settings):
    publish(settings, [status(n, 1) for n in range(10)])
    project(settings, lambda model: model.counts() == {"ACCEPTED": 10})
    before = stored(settings)
    for file in settings.storage.directory.glob(FILE + "*"):
        file.unlink()
    project(settings, lambda model: model.counts() == {"ACCEPTED": 10})
    assert stored(settings) == before


def test_killed_at_any_moment_it_goes_on_where_the_rows_are(settings):
    count = 2000
    publish(settings, [status(n, s) for s in (1, 2, 3) for n in range(count)])
    published = [(r.partition, r.offset, r.key.decode()) for r in broker.read(settings, topic_of(settings))]
    seen = set()
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, settings.model_dump_json()], cwd=Path(__file__).parents[2]
        )
        start, offsets = time.monotonic(), sum(stored(settings)[1].values())
        while sum(stored(settings)[1].values()) == offsets < 3 * count and time.monotonic() < start + 20:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.01))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        rows, offsets = stored(settings)
        # The rows are those of exactly the offsets stored with them: replay the topic up to there and compare.
        expected: dict[str, int] = {}
        for partition, offset, id_ in published:
            if offset < offsets.get(partition, 0):
                expected[id_] = expected.get(id_, 0) + 1
        assert {row.id: row.sequence for row in rows} == expected
        seen.add(sum(offsets.values()))
    assert len(seen) > 1
    project(settings, lambda model: model.counts() == {"DELIVERED": count})


def test_it_waits_for_kafka_and_stops_while_waiting(tmp_path):
    settings = broker.settings_for("127.0.0.1:1", tmp_path)

    async def run() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(run_projector(settings, stop=stop))
        await asyncio.wait([task], timeout=0.5)
        assert not task.done()
        stop.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(run())
