import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import WAY, blocked, encode, status

from pipeline.config import ConfigError, Settings, Storage
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.rebuild import rebuild
from pipeline.store.writer import Told, Writer
from schemas.states import Detailed

TOPIC = "status"


def opened(settings):
    engine = open_database(settings)
    return Writer(engine), ReadModel(engine), engine


@pytest.fixture
def store(another):
    writer, model, engine = opened(another())
    yield writer, model
    engine.dispose()


def write(writer, *records, offset=1):
    return writer.write(TOPIC, [Told(encode(record)) for record in records], {0: offset})


def test_a_row_holds_what_its_latest_record_says(store):
    writer, model = store
    record = status(5, 2)
    write(writer, record)
    row = model.get("acme", record.id)
    for name in ("account", "id", "request_id", "index", "recipient", "state", "detailed_state", "sequence", "price"):
        assert getattr(row, name) == getattr(record, name)
    assert (row.custom, row.error, row.dry_run) == ('{"order":5}', None, False)
    assert (row.updated_at, row.sent_at, row.delivered_at) == (record.at, record.at, None)


def test_an_error_is_kept_as_json(store):
    writer, model = store
    write(writer, blocked(1, 2))
    assert model.get("acme", status(1, 1).id).error == '{"code":2044,"message":"prohibited","permanent":true}'


def test_times_of_sending_and_delivery_stay_when_records_share_a_write_or_not(store):
    writer, model = store
    write(writer, status(1, 1), status(1, 2), status(1, 3), status(2, 1))
    write(writer, status(2, 2))
    write(writer, status(2, 3))
    for number in (1, 2):
        row = model.get("acme", status(number, 1).id)
        assert (row.sent_at, row.delivered_at) == (status(number, 2).at, status(number, 3).at)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_the_order_repeats_and_cuts_the_highest_sequence_stands(store, data):
    records = [status(number, sequence) for number in range(4) for sequence in WAY]
    records += data.draw(st.lists(st.sampled_from(records), max_size=8))
    random.Random(data.draw(st.integers())).shuffle(records)
    writer, model = store
    rebuild(model._engine, empty=True)
    assert writer.offsets(TOPIC) == {}
    while records:
        size = data.draw(st.integers(1, len(records)))
        write(writer, *records[:size])
        records = records[size:]
    assert model.counts() == {"DELIVERED": 4}
    rows = model.page("acme", 0, 10)
    assert {row.sequence for row in rows} == {3}
    timed = sum(row.sent_at is not None and row.sent_at != row.delivered_at for row in rows)
    (counted,) = model.counted("acme", ["state"], "2025-01-01", "2027-01-01")
    assert (counted.about, counted.messages, counted.parts, counted.timed) == ({"state": "DELIVERED"}, 4, 4, timed)


def test_rows_and_offsets_are_one_transaction(store, monkeypatch):
    writer, model = store
    write(writer, status(1, 1), offset=10)
    monkeypatch.setattr(writer._bulk, "_offsets", "this is no SQL")
    with pytest.raises(Exception, match="SQL"):
        write(writer, status(1, 2), status(2, 1), offset=20)
    assert writer.offsets(TOPIC) == {0: 10}
    assert model.counts() == {"ACCEPTED": 1}


def test_what_cannot_be_read_is_passed_over(store):
    writer, _ = store
    unreadable = [b"{", b"\xff", b"{}", encode(status(2, 1, characters_count=2**40))]
    told = [*map(Told, unreadable), Told(encode(status(1, 1)), "hello", "TIM")]
    assert writer.write(TOPIC, told, {0: 4, 2: 7}) == 1
    assert writer.offsets(TOPIC) == {0: 4, 2: 7}
    assert writer.offsets("another") == {}


def test_pages_are_newest_first_and_of_one_account(store):
    writer, model = store
    write(writer, *(status(n, 1, account="acme" if n % 2 else "globex") for n in range(50)))
    everything = model.page("acme", 0, 100)
    assert [row.id for row in everything] == sorted((status(n, 1).id for n in range(1, 50, 2)), reverse=True)
    assert model.page("acme", 10, 5) == everything[10:15]
    assert model.page("acme", 25, 5) == []
    assert model.get("globex", everything[0].id) is None
    assert model.get("acme", everything[0].id) == everything[0]


def test_counts_by_account_and_request(store):
    writer, model = store
    write(writer, *(status(n, 1 + n % 3) for n in range(12)), blocked(12, 1), status(13, 1, account="globex"))
    assert model.counts() == {"ACCEPTED": 5, "SUBMITTED": 4, "DELIVERED": 4, "BLOCKED": 1}
    assert model.counts("globex") == {"ACCEPTED": 1}
    assert model.counts("acme", ["request-0", "request-1"]) == {"ACCEPTED": 3, "SUBMITTED": 3, "DELIVERED": 2}
    assert model.counts(request_ids=["request-3"]) == {"BLOCKED": 1, "ACCEPTED": 1}
    assert model.counts("acme", []) == {}
    assert model.totals("acme") == {
        "NEW": 4, "PENDING": 4, "DELIVERED": 4, "EXPIRED": 0, "UNDELIVERABLE": 0, "REJECTED": 1,
    }  # fmt: skip


def test_totals_know_every_state(store):
    writer, model = store
    write(writer, *(status(n, n + 1, state) for n, state in enumerate(Detailed)))
    assert sum(model.totals().values()) == len(Detailed)


def test_a_reader_is_not_held_up_by_an_open_write(another):
    writer, model, engine = opened(another())
    write(writer, status(1, 1))
    with engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("DELETE FROM messages")
        assert model.counts() == {"ACCEPTED": 1}
    assert model.counts() == {}
    engine.dispose()


@pytest.mark.parametrize(
    ("database", "word"),
    [
        ("mysql://x/y", "postgresql://"),
        ("nonsense", "postgresql://"),
        ("postgresql+no://x/y", "driver"),
        ("postgresql+psycopg2cffi://x/y", "install"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named(tmp_path, database, word):
    with pytest.raises(ConfigError, match=word):
        open_database(Settings(storage=Storage(directory=tmp_path, database=database)))


def test_a_receipt_that_overtakes_the_carriers_answer_tells_that_it_was_sent(store):
    writer, model = store
    write(writer, status(1, 1), status(2, 1), status(2, 3))
    write(writer, status(1, 3))
    for number in (1, 2):
        row = model.get("acme", status(number, 1).id)
        assert row.sent_at == row.delivered_at == status(number, 3).at
