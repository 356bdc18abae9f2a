import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from records import encode, status

from pipeline.store import search as searching
from pipeline.store.batches import Batches
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.rebuild import rebuild
from pipeline.store.search import Wanted, cursor, read_cursor
from pipeline.store.writer import Told, Writer
from schemas.batch import BatchRecord
from schemas.states import Detailed

BASE = 0x6921F100
COUNTRIES = {"IT": "39", "ES": "34", "LU": "352"}
STATES = [Detailed.DELIVERED] * 6 + [Detailed.UNDELIVERABLE, Detailed.IN_DOUBT, Detailed.ACCEPTED, Detailed.EXPIRED]


@pytest.fixture
def store(another):
    engine = open_database(another())
    yield Writer(engine), ReadModel(engine)
    engine.dispose()


def write(writer, *records):
    writer.write("status", [Told(encode(record)) for record in records], {0: 1})


def upload(model, id_):
    told = {"created_at": "2026-11-22T10:00:00.000Z", "sender": "ACME", "message": "Hi", "digest": "00"}
    Batches(model.engine).put([BatchRecord(account="acme", id=id_, recipients=3, requests=3, **told)])


def varied(number, chance):
    country = chance.choice(list(COUNTRIES))
    batch = number // 4
    return status(
        number, 6, chance.choice(STATES), account=chance.choice(["acme", "acme", "globex"]), country_code=country,
        sender=chance.choice(["ACME", "Other"]), recipient=f"+39333{number % 7:07d}",
        request_id=f"up/{batch}" if batch % 3 == 0 else f"request-{batch}",
        custom=chance.choice([{"order": number % 3, "vip": True}, {"order": str(number % 3), "vip": "no"}, {}]),
    )  # fmt: skip


def fits(record, wanted):
    second = int(record.id[:8], 16)
    values = {key: json.dumps(value).strip('"') for key, value in record.custom.items()}
    return (
        (not wanted.states or record.detailed_state in wanted.states)
        and wanted.recipient in ("", record.recipient)
        and (not wanted.requests or record.request_id in wanted.requests)
        and (not wanted.batch or record.request_id == wanted.batch or record.request_id.startswith(wanted.batch + "/"))
        and wanted.country in ("", record.country_code)
        and wanted.sender in ("", record.sender)
        and (wanted.since is None or second >= wanted.since)
        and (wanted.until is None or second < wanted.until)
        and all(values.get(key) == value for key, value in wanted.custom)
    )


WANTED = st.builds(
    Wanted,
    states=st.sampled_from(
        [(), ("IN_DOUBT",), ("UNDELIVERABLE", "EXPIRED"), ("DELIVERED",), ("DELIVERED", "ACCEPTED")]
    ).map(frozenset),
    recipient=st.sampled_from(["", "", "+393330000003", "+39"]),
    requests=st.sampled_from([(), (), ("request-1",), ("request-1", "request-4", "none")]),
    country=st.sampled_from(["", "", "LU", "FR"]),
    sender=st.sampled_from(["", "", "Other"]),
    since=st.sampled_from([None, BASE + 3]),
    until=st.sampled_from([None, BASE + 12, 2**40]),
    custom=st.sampled_from([(), (), (("order", "1"),), (("vip", "true"),), (("vip", "no"), ("order", "0"))]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=WANTED, seed=st.integers(0, 3), limit=st.integers(4, 30), looked=st.sampled_from([6, 20, 5000]))
def test_pages_together_are_the_whole_list_in_order_whatever_arrives(store, monkeypatch, wanted, seed, limit, looked):
    """Messages that arrive between two pages stand before the first, or are of the page's own time; none is told twice
    and none that was there is missed."""
    writer, model = store
    monkeypatch.setattr(searching, "MOST_LOOKED_AT", looked)
    monkeypatch.setattr(searching, "_FIRST_LOOK", min(looked, 4))
    rebuild(model._engine, empty=True)
    writer.offsets("status")
    chance = random.Random(seed)
    before = [varied(number, chance) for number in range(72)]
    write(writer, *before)
    later = iter(range(72, 10_000))
    seen, behind = [], None
    while True:
        page = model.search("acme", wanted, behind, limit)
        assert len(page.messages) <= limit
        seen += [row.id for row in page.messages]
        behind = page.behind and read_cursor(cursor(page.behind))
        if behind is None:
            break
        write(writer, *(varied(number, chance) for number in (next(later), next(later))))
    assert seen == sorted(set(seen), reverse=True)
    expected = {record.id for record in before if record.account == "acme" and fits(record, wanted)}
    there = {record.id for record in before}
    assert {id_ for id_ in seen if id_ in there} == expected


def test_each_filter_by_itself(store):
    writer, model = store
    chance = random.Random(5)
    records = [varied(number, chance) for number in range(200)]
    write(writer, *records)
    for wanted in (
        Wanted(), Wanted(states=frozenset({"IN_DOUBT", "ACCEPTED"})), Wanted(recipient="+393330000002"),
        Wanted(requests=("request-1", "request-2")), Wanted(batch="u"), Wanted(batch="up/0"), Wanted(batch="request-1"),
        Wanted(batch="request-1", requests=("request-1", "request-2")), Wanted(batch="request-1", requests=("up/0",)),
        Wanted(batch="request-1", states=frozenset({"DELIVERED"})),
        Wanted(country="LU"), Wanted(sender="Other"), Wanted(since=BASE + 10, until=BASE + 20),
        Wanted(custom=(("order", "1"),)), Wanted(custom=(("nothing", "1"),)),
        Wanted(requests=("request-1",), states=frozenset({"DELIVERED"}), recipient="+393330000004"),
    ):  # fmt: skip
        mine = [record.id for record in records if record.account == "acme" and fits(record, wanted)]
        page = model.search("acme", wanted, None, 1000)
        assert ([row.id for row in page.messages], page.behind) == (sorted(mine, reverse=True), None), wanted


def test_an_uploads_messages_are_of_one_second_and_found_among_others(store):
    writer, model = store
    ids = [f"{BASE:08x}{number:010x}000000" for number in range(40)]
    names = ["up/1", "up/2", "up/10", "upper", "up", "other/1", "up0"]
    upload(model, "up")
    write(writer, *(replace(status(n, 1), id=ids[n], request_id=names[n % 7]) for n in range(40)))

    def found(**wanted):
        return [row.id for row in model.search("acme", Wanted(**wanted), None, 100).messages]

    assert found(batch="up") == [ids[n] for n in reversed(range(40)) if n % 7 < 3]
    assert found(requests=("up",)) == [ids[n] for n in reversed(range(40)) if n % 7 in (0, 1, 2, 4)]
    assert found(requests=("up", "up/1", "up0")) == [ids[n] for n in reversed(range(40)) if n % 7 in (0, 1, 2, 4, 6)]
    assert found(requests=("up",), states=frozenset({"NO_SUCH"})) == []
    assert found(requests=("up/2",), batch="up") == [ids[n] for n in reversed(range(40)) if n % 7 == 1]
    assert found(requests=("other",)) == [], "no upload: a request's own id may have a slash"
    pages, behind = [], None
    while pages == [] or behind:
        page = model.search("acme", Wanted(requests=("up",)), behind, 3)
        pages, behind = pages + [row.id for row in page.messages], page.behind
    assert pages == found(requests=("up",))
    assert model.search("acme", Wanted(batch="nothing"), None, 100).messages == []
    assert model.search("globex", Wanted(batch="up"), None, 100).messages == []


@pytest.mark.parametrize("text", ["", "%%%", "a", "YQ==", "AAAA", "é", "aGk", "x" * 5000])
def test_what_is_no_cursor_is_told(text):
    found = read_cursor(text)
    assert found is None or cursor(found) == text


def test_many_states_and_requests_at_once(store):
    writer, model = store
    write(writer, *(status(n, n + 1, state) for n, state in enumerate(Detailed)))
    every = frozenset(state.name for state in Detailed)
    assert len(model.search("acme", Wanted(states=every), None, 100).messages) == len(Detailed)
    found = model.search("acme", Wanted(states=every - {"DELIVERED"}), None, 100).messages
    assert len(found) == len(Detailed) - 1
    requests = tuple(f"request-{n}" for n in range(10))
    assert len(model.search("acme", Wanted(requests=requests), None, 100).messages) == len(Detailed)
