"""`/batches` over real HTTP, on a read model that is written as the projectors do."""

import csv
import io
import json

import msgspec
import pytest

from pipeline.billing import PriceList
from pipeline.store import batch_views
from pipeline.store.batches import Batches
from pipeline.store.database import open_database
from pipeline.store.writer import Moved, Told, Writer
from schemas import errors
from schemas.batch import BadLine, BatchRecord
from schemas.ledger import SIDES, Kind, LedgerEntry
from schemas.states import STATE, Detailed, is_final
from schemas.status import StatusError, StatusRecord

SECOND = 1_795_348_800
COSTS = PriceList.parse(["country,operator,prefix,price,carrier,cost", "IT,,,0.05,sim,0.0123"])
#: Of three requests with ten recipients each, four are not told of yet.
STATES = [Detailed.DELIVERED] * 20 + [Detailed.SUBMITTED] * 3 + [Detailed.REJECTED] * 2 + [Detailed.ACCEPTED]


def message(request, index, state, account="acme", **about):
    return StatusRecord(**({
        "id": f"{SECOND:08x}{sum(request.encode()):08x}{index:08x}", "request_id": request, "index": index,
        "account": account, "sender": "ACME", "recipient": f"+39333{index:07d}", "international_prefix": "39",
        "country_code": "IT", "state": STATE[state], "detailed_state": state.name, "final": is_final(state),
        "sequence": 3, "error": None, "encoding": "GSM-7", "characters_count": 9, "message_count": 1,
        "parts_delivered": 1, "price": "0.0500", "total_price": "0.0500", "currency": "EUR", "carrier": "sim",
        "carrier_reference": "c1", "dry_run": False, "custom": {}, "at": "2026-11-22T12:00:00.000Z",
    } | about))  # fmt: skip


def movement(sequence, kind, amount, request, account="acme"):
    """Only the reserve names the request."""
    name = request if kind == Kind.RESERVE else None
    source, target = (side.format(account) for side in SIDES[kind])
    return LedgerEntry(
        account=account, sequence=sequence, kind=kind, amount=amount, currency="EUR", source=source, target=target,
        balance="0", reserved="0", at="2026-11-22T12:00:00.000Z", request_id=name, batch=f"batch of {request}",
    )  # fmt: skip


def record(id_, second, account="acme", **about):
    told = {"name": None, "requests": 1, "recipients": 1, "sender": "ACME", "message": "Hi", "digest": "00"}
    return BatchRecord(account=account, id=id_, created_at=f"2026-11-22T10:00:{second:02d}.000Z", **(told | about))


@pytest.fixture(scope="module")
def gateway(gateway):
    bad = [BadLine(line, "not UTF-8") for line in range(2, 102)]
    batches = [record(f"old-{n}", n) for n in range(7)] + [record("old-3", 8, account="globex")]
    batches += [
        record("spring", 30, name="Spring", requests=3, recipients=30, repeats=2, bad_line_count=150, bad_lines=bad)
    ]
    told = [message(f"spring/{n // 10 + 1}", n % 10, state) for n, state in enumerate(STATES)]
    told += [message("spring/11", 0, Detailed.DELIVERED), message("spring", 0, Detailed.DELIVERED)]
    told += [message("spring/1", 0, Detailed.FAILED, account="globex")]
    told += [message("direct/one", n, Detailed.DELIVERED, dry_run=True) for n in range(3)]
    refused = StatusError(errors.CARRIER_REJECTED, '=HYPERLINK("http://x")', True)
    hostile = {"error": refused, "recipient": "@SUM(1)", "sender": "-1", "carrier_reference": "+1+cmd"}
    told += [message("hostile", 0, Detailed.REJECTED, **hostile), message("hostile", 1, Detailed.DELIVERED)]
    alike = [message("alike", n, Detailed.DELIVERED) for n in range(2)]
    moved = [
        movement(1, Kind.RESERVE, "1.00", "spring/1"), movement(2, Kind.RESERVE, "0.50", "spring/2"),
        movement(3, Kind.CAPTURE, "0.60", "spring/1"), movement(4, Kind.RELEASE, "0.10", "spring/2"),
        movement(5, Kind.REFUND, "0.05", "spring/1"), movement(6, Kind.RESERVE, "7.00", "spring"),
        movement(1, Kind.RESERVE, "9.00", "spring/1", account="globex"),
    ]  # fmt: skip
    engine = open_database(gateway.settings)
    Batches(engine).put(batches)
    rows = [Told(msgspec.json.encode(one), f"text {n}") for n, one in enumerate(told)]
    rows += [Told(msgspec.json.encode(one), "Hello all") for one in alike]
    encoded = [msgspec.json.encode(one) for one in moved]
    Writer(engine, lambda at: COSTS).write("status", rows, {0: 1}, Moved("ledger", encoded, {0: 1}))
    engine.dispose()
    return gateway


def get(gateway, path, account="acme", **parameters):
    with gateway.as_(account) as http:
        answer = http.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_uploads_newest_first_page_by_page(gateway):
    found, cursor = [], ""
    while cursor is not None:
        page = get(gateway, "/batches", limit=3, cursor=cursor)
        assert len(page["data"]) <= 3
        found += [one["id"] for one in page["data"]]
        cursor = page["nextCursor"]
    assert found == ["spring", *(f"old-{n}" for n in reversed(range(7)))]
    assert [one["id"] for one in get(gateway, "/batches", "globex")["data"]] == ["old-3"]


def test_progress_and_cost(gateway):
    data = get(gateway, "/batches/spring")["data"]
    about = {
        "id": "spring", "requestId": "spring", "name": "Spring", "createdAt": "2026-11-22T10:00:30.000Z",
        "sender": "ACME", "message": "Hi", "dryRun": False, "recipients": 30, "repeats": 2, "badLineCount": 150,
        "progress": {"known": 26, "final": 22, "share": 0.7333},
        "detailedStates": {"ACCEPTED": 1, "DELIVERED": 20, "REJECTED": 2, "SUBMITTED": 3},
        "cost": {"spent": "0.55", "reserved": "0.80", "currency": "EUR"},
    }  # fmt: skip
    states = {"NEW": 5, "PENDING": 3, "DELIVERED": 20, "EXPIRED": 0, "UNDELIVERABLE": 0, "REJECTED": 2}
    assert data == about | {"states": states}


def test_a_request_to_several_is_a_batch_too(gateway):
    data = get(gateway, "/batches/direct%2Fone")["data"]
    assert (data["id"], data["recipients"], data["dryRun"]) == ("direct/one", 3, True)
    assert data["progress"] == {"known": 3, "final": 3, "share": 1.0}
    assert data["createdAt"] == "2026-11-22T12:00:00.000Z"
    assert data["message"] is None, "each recipient's text differs: none of them is what was asked for"
    assert get(gateway, "/batches/alike")["data"]["message"] == "Hello all"
    assert len(get(gateway, "/batches/direct%2Fone/messages")["data"]) == 3


@pytest.mark.parametrize(
    ("states", "count"), [([], 26), (["DELIVERED", "REJECTED"], 22), (["PENDING"], 3), (["NEW"], 1)]
)
def test_messages_in_the_order_of_the_lines_page_by_page(gateway, states, count):
    found, cursor = [], ""
    while cursor is not None:
        page = get(gateway, "/batches/spring/messages", limit=4, cursor=cursor, state=states)
        found += [(one["requestId"], one["index"]) for one in page["data"]]
        cursor = page["nextCursor"]
    assert found == sorted(found) and len(found) == len(set(found)) == count


@pytest.mark.parametrize(
    ("asked", "count"),
    [({"batch": "spring"}, 27), ({"requestId": "spring"}, 28), ({"requestId": ["spring", "direct/one"]}, 31),
     ({"batch": "direct/one"}, 3), ({"requestId": "spring", "state": "REJECTED"}, 2), ({"requestId": "direct"}, 0)],
)  # fmt: skip
def test_messages_are_found_by_the_id_that_was_given(gateway, asked, count):
    found, cursor = [], ""
    while cursor is not None:
        page = get(gateway, "/messages", **asked, limit=10, **({"cursor": cursor} if cursor else {}))
        found += [one["id"] for one in page["data"]]
        cursor = page["nextCursor"]
    assert len(found) == len(set(found)) == count


def test_bad_lines(gateway):
    body = get(gateway, "/batches/spring/errors")
    assert body["badLineCount"] == 150
    assert body["data"] == [{"line": line, "reason": "not UTF-8"} for line in range(2, 102)]
    assert get(gateway, "/batches/direct%2Fone/errors") == {"data": [], "badLineCount": 0}


def test_csv_holds_every_message_and_no_formula(gateway):
    with gateway.as_("acme") as http:
        answer = http.get("/batches/spring/messages", params={"format": "csv"})
        hostile = http.get("/batches/hostile/messages", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == batch_views.FIELDS and len(rows) == 26
    assert (rows[0]["recipient"], rows[0]["detailedState"], rows[0]["totalPrice"]) == (
        "+393330000000",
        "DELIVERED",
        "0.0500",
    )
    first, second = csv.DictReader(io.StringIO(hostile.text))
    assert (first["recipient"], first["carrierReference"]) == ("'@SUM(1)", "'+1+cmd")
    assert first["error"] == '\'=HYPERLINK("http://x")' and first["errorCode"] == str(errors.CARRIER_REJECTED)
    assert second["recipient"] == "+393330000001"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/batches/none", 404, "no batch"),
        ("/batches/spring/1", 404, "no batch"),
        ("/batches/none/messages", 404, "no batch"),
        ("/batches?cursor=x", 422, "cursor: "),
        ("/batches?cursor=eA", 422, "cursor: "),
        ("/batches?limit=0", 422, "limit: "),
        ("/batches/spring/messages?cursor=eA", 422, "cursor: "),
        ("/batches/spring/messages?cursor=LTEKMA", 422, "cursor: "),
        ("/batches/spring/messages?cursor=MAow", 422, "cursor: "),
        ("/batches/spring/messages?state=GONE", 422, "EXPIRED, UNDELIVERABLE, REJECTED, ACCEPTED, "),
        ("/batches/spring/messages?format=xml", 422, "format: "),
    ],
)
def test_wrong_questions(gateway, path, status, said):
    with gateway.as_("globex" if path == "/batches/spring/1" else "acme") as http:
        answer = http.get(path)
    assert answer.status_code == status and said in answer.json()["message"], answer.text


@pytest.mark.parametrize("path", ["/batches/spring", "/batches/spring/messages", "/batches/spring/errors"])
def test_another_account_finds_nothing(gateway, path):
    with gateway.as_("globex") as http:
        assert http.get(path).status_code == 404
    assert gateway.http.get(path).status_code == 401


def test_a_batch_is_there_as_soon_as_it_is_taken(gateway):
    files = {
        "request": (None, json.dumps({"message": "Hi", "requestId": "fresh"})),
        "recipients": ("n.txt", "+391\n+392"),
    }
    with gateway.as_("acme") as http:
        assert http.post("/batches", files=files).status_code == 202
    data = get(gateway, "/batches/fresh")["data"]
    assert data["progress"] == {"known": 0, "final": 0, "share": 0.0} and data["states"]["NEW"] == 2
