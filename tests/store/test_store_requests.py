"""What a message's request said, and what is not kept of a message: erasures, ages, retention."""

import asyncio

import pytest
import sqlalchemy as sql
from msgspec.structs import replace
from records import encode, status

from pipeline.config import Privacy, Settings
from pipeline.store import tables
from pipeline.store.database import WRITES, open_database
from pipeline.store.privacy import Erasures, erase
from pipeline.store.queries import ReadModel
from pipeline.store.rebuild import rebuild, standing
from pipeline.store.search import Wanted
from pipeline.store.upkeep import Upkeep
from pipeline.store.writer import Restarted, Told, Writer
from schemas.states import Detailed
from schemas.status import StatusError

OPTIONS, CALLBACK = '{"transliterate":true,"tariff":"IT"}', '{"url":"https://example.com/"}'
SECOND = 0x6921F100
DAY = 86_400
NUMBER = status(1, 1).recipient


@pytest.fixture
def settings(another):
    return another()


@pytest.fixture
def store(settings):
    engine = open_database(settings)
    yield Writer(engine), ReadModel(engine), engine
    engine.dispose()


def first(record, text="Hello"):
    return Told(encode(record), text, "TIM")


def test_options_and_callback_are_kept_once_a_batch_and_told_with_each_message(store):
    writer, model, engine = store
    told = [Told(encode(status(n, 1)), "Hello", None, OPTIONS, CALLBACK if n < 4 else None) for n in range(8)]
    writer.write("status", [*told, Told(encode(status(8, 1)))], {0: 1})
    writer.write("status", [Told(encode(status(n, 2))) for n in range(9)], {0: 2})
    rows = model.page("acme", 0, 10)
    assert [(row.options, row.callback) for row in rows] == [(None, None)] + [(OPTIONS, None)] * 4 + [
        (OPTIONS, CALLBACK)
    ] * 4
    assert model.get("acme", rows[-1].id) == rows[-1]
    with engine.connect() as connection:
        assert connection.scalar(sql.select(sql.func.count()).select_from(tables.requests)) == 2
    assert model.search("acme", Wanted(country="IT"), None, 10).messages == rows


def test_an_erased_recipient_is_gone_and_stays_so_when_the_topic_is_read_again(store):
    writer, model, engine = store
    error = StatusError(2011, f"{NUMBER} is not reachable", True)
    told = [first(status(n, 1)) for n in range(4)] + [
        first(status(5, 6, Detailed.REJECTED, error=error, account="globex", recipient=NUMBER))
    ]
    writer.write("status", told, {0: 5})
    assert erase(engine, NUMBER, now=SECOND + 10) == 2
    with pytest.raises(Restarted):  # what was read before the erasure is not written after it
        writer.write("status", told, {0: 9})
    assert writer.offsets("status") == {0: 5}

    def erased():
        for account in ("acme", "globex"):
            (row,) = model.search(account, Wanted(recipient="+39***"), None, 10).messages
            assert (row.id, row.message, row.custom) == (status(5 if row.error else 1, 1).id, None, "{}")
            assert NUMBER not in (row.error or "")
        assert model.search("acme", Wanted(recipient=NUMBER), None, 10).messages == []
        assert [row.message for row in model.page("acme", 0, 10)] == ["Hello", "Hello", None, "Hello"]

    erased()
    writer.write("status", told, {0: 5})
    writer.write("status", [first(status(1, 2))], {0: 6})
    erased()
    rebuild(engine, empty=True)
    assert writer.offsets("status") == {} and model.page("acme", 0, 10) == []
    writer.write("status", [*told, first(status(1, 2))], {0: 6})
    erased()
    later = replace(status(1, 1), id=f"{SECOND + 100:08x}{1:016x}")
    writer.write("status", [first(later)], {0: 7})
    assert model.get("acme", later.id).recipient == NUMBER  # sent after the erasure
    with engine.connect() as connection:
        assert not any(NUMBER in str(row) for row in connection.execute(sql.select(tables.erasures)))


def test_an_erasure_of_one_account_leaves_the_others(store):
    writer, model, engine = store
    writer.write("status", [first(status(1, 1)), first(status(2, 1, recipient=NUMBER, account="globex"))], {0: 1})
    assert erase(engine, NUMBER, "acme") == 1
    assert erase(engine, NUMBER, "acme") == 0
    assert model.page("acme", 0, 1)[0].recipient == "+39***"
    assert model.page("globex", 0, 1)[0].recipient == NUMBER
    with engine.connect() as connection:
        found = Erasures.read(connection)
    assert found.holds("acme", NUMBER, status(1, 1).id) and not found.holds("globex", NUMBER, status(1, 1).id)


def work_off(upkeep):
    done = 0
    while (some := upkeep.piece()) is not None:
        done += some
    return done


def test_texts_and_numbers_are_erased_by_age_and_not_stored_past_it(another):
    settings = another(privacy=Privacy(erase_text_days=1, erase_numbers_days=2))
    engine = open_database(settings)
    model, now = ReadModel(engine), SECOND + 5 * DAY
    records = [replace(status(n, 1), id=f"{now - n * DAY // 2:08x}{n:016x}") for n in range(8)]
    Writer(engine).write("status", [first(record) for record in records], {0: 1})
    upkeep = Upkeep(engine, settings, clock=lambda: now)
    upkeep._size = 2
    assert work_off(upkeep) == 5 + 3
    expected = [("Hello", True)] * 3 + [(None, True)] * 2 + [(None, False)] * 3
    assert [(row.message, row.recipient != "+39***") for row in model.page("acme", 0, 10)] == expected
    assert work_off(upkeep) == 0
    # Long past both ages by the clock of the writer: a topic that is read again brings nothing back.
    Writer(engine, privacy=settings.privacy).write("status", [first(record) for record in records], {0: 1})
    assert {row.message for row in model.page("acme", 0, 10)} == {"Hello", None}
    assert [row.message for row in model.page("acme", 0, 10)] == [text for text, _ in expected]
    Writer(engine, privacy=settings.privacy).write("status", [first(status(1, 1))], {0: 1})
    assert (model.get("acme", status(1, 1).id).message, model.get("acme", status(1, 1).id).recipient) == (
        None,
        "+39***",
    )
    engine.dispose()


def test_old_messages_are_removed_with_what_their_requests_said_and_stay_counted(store, settings):
    writer, model, engine = store
    told = [
        Told(encode(status(n, 1, account="acme" if n % 2 else "globex")), "Hello", None, OPTIONS) for n in range(40)
    ]
    writer.write("status", told, {0: 1})
    upkeep = Upkeep(engine, settings, clock=lambda: SECOND + 5 + settings.storage.read_model_days * DAY)
    upkeep._size = 3
    assert work_off(upkeep) == 20
    assert len(model.page("acme", 0, 100)) == len(model.page("globex", 0, 100)) == 10
    found = standing(engine, settings)
    assert (found.messages, found.oldest) == (20, SECOND + 5)
    assert found.requests <= 12 and found.bytes > 0
    assert sum(one.messages for one in model.counted("acme", ["day"], "2025-01-01", "2027-01-01")) == 20


def test_reading_again_writes_over_and_keeps_what_the_topic_holds_no_more(store):
    writer, model, engine = store
    writer.write("status", [first(status(n, 3)) for n in range(6)], {0: 6})
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        connection.execute(tables.messages.update().values(sender="wrong"))
    rebuild(engine)
    with pytest.raises(Restarted):
        writer.write("status", [first(status(9, 1))], {0: 7})
    assert writer.offsets("status") == {}
    assert len(model.page("acme", 0, 10)) == 6
    writer.write("status", [first(status(n, 3)) for n in range(3, 6)], {0: 6})
    assert [row.sender for row in model.page("acme", 0, 10)] == ["ACME"] * 3 + ["wrong"] * 3
    (counted,) = model.counted("acme", ["day"], "2025-01-01", "2027-01-01")
    assert counted.messages == 6


def test_the_upkeep_works_in_turns_and_ends_when_told(store, settings):
    writer, model, engine = store
    writer.write("status", [first(status(n, 1)) for n in range(100)], {0: 1})
    upkeep = Upkeep(engine, settings, clock=lambda: SECOND + 1000 + settings.storage.read_model_days * DAY)
    upkeep._size = 10

    async def run():
        async with upkeep.turn:
            task = asyncio.create_task(upkeep.run())
            await asyncio.sleep(0.05)
            assert len(model.page("acme", 0, 1000)) == 100
        async with asyncio.timeout(20):
            while model.page("acme", 0, 1):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_nothing_that_postgresql_cannot_hold_stops_the_projector(store):
    writer, model, _ = store
    odd = status(1, 1, sender="a\0b", request_id="r\0", custom={"k\0": "v\0"}, country_code="I\0")
    writer.write("status", [Told(encode(odd), "te\0xt", "op\0", OPTIONS)], {0: 1})
    assert model.get("acme", odd.id).message in ("te\0xt", "te\ufffdxt")
    for wanted in (Wanted(custom=(("k", "v"),)), Wanted(custom=(("k\ufffd", "v"),))):
        assert model.search("acme", wanted, None, 10).behind is None


def test_settings_keep_the_read_model_longer_than_the_topic():
    with pytest.raises(ValueError, match="8"):
        Settings(storage={"read_model_days": 7})


def test_the_upkeep_ends_whenever_it_is_told(store, settings):
    _, _, engine = store

    async def run(turns: int) -> None:
        task = asyncio.create_task(Upkeep(engine, settings).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled(), f"cancelled after {turns} turns of the loop it goes on"

    for turns in range(8):
        asyncio.run(run(turns))
