"""What messages cost those who sent them and us: costs in rows, and their sums."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import WAY, encode, status

from pipeline.billing import PriceBook, PriceList
from pipeline.billing.price_book import Version
from pipeline.config import Settings, Storage
from pipeline.stages.fate import BY_RECEIPT
from pipeline.store import statement
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.tables import messages
from pipeline.store.writer import Told, Writer
from schemas.states import Detailed
from schemas.status import StatusError

DAY = 24 * 3600
NOON = 1_800_000_000 // DAY * DAY + DAY // 2
HEADER = "country,operator,prefix,price,carrier,cost,valid_from,valid_until"


def prices(*lines):
    found = PriceList.parse([HEADER, *(line + "," * (7 - line.count(",")) for line in lines)])
    assert isinstance(found, PriceList), found
    return found


#: What a part costs us: 0.03 to Italy, 0.02 to TIM there, 0.01 behind a prefix of Germany, and 0.04 elsewhere there.
LIST = prices(
    "IT,,,0.05,sim,0.03",
    "IT,222-01,,,sim,0.02",
    "DE,,,0.07,sim,0.04",
    "DE,,49151,,sim,0.01",
    "DE,,,,telco,0.05",
)


class Store:
    def __init__(self, directory, in_force=lambda at: LIST):
        self.engine = open_database(Settings(storage=Storage(directory=directory)))
        self.model = ReadModel(self.engine)
        self._writer = Writer(self.engine, in_force)

    def write(self, *told):
        """Records, or pairs of a record and the operator that travels with it."""
        pairs = [one if isinstance(one, tuple) else (one, None) for one in told]
        self._writer.write("status", [Told(encode(record), None, operator) for record, operator in pairs], {0: 1})

    def costs(self):
        """Operator and cost of each message, by the last digits of its id."""
        with self.engine.connect() as connection:
            rows = connection.execute(messages.select().order_by(messages.c.id))
            return {int(row.id[8:], 16): (row.operator, row.cost) for row in rows}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.engine.dispose()


def message(number, sequence, state=None, *, at=NOON, **more):
    return status(number, sequence, state, **({"id": f"{at:08x}{number:016x}"} | more))


def receipt(number, state=Detailed.REJECTED, **more):
    """An end that the carrier's receipt told."""
    return message(number, 6, state, error=StatusError(3032, f"{BY_RECEIPT} REJECTD, error 9", True), **more)


@pytest.mark.parametrize("together", [True, False])
def test_a_cost_is_that_of_the_operator_whose_name_came_with_the_first_record(store, together):
    told = [
        *((message(n, 1, carrier=None, carrier_reference=None), name) for n, name in ((1, "TIM"), (2, "Vodafone"))),
        message(3, 1, carrier=None, carrier_reference=None),
        *(message(n, 2, message_count=2) for n in (1, 2, 3)),
    ]
    for some in [told] if together else [[one] for one in told]:
        store.write(*some)
    expected = {1: ("TIM", 40_000), 2: ("Vodafone", 60_000), 3: (None, 60_000)}
    assert store.costs() == expected
    store.write(*(message(n, 3, message_count=2) for n in (1, 2, 3)))
    assert store.costs() == expected


def test_a_cost_by_prefix_and_by_carrier(store):
    german = {"country_code": "DE", "recipient": "+4915112345678"}
    store.write(
        message(1, 2, **german),
        message(2, 2, **german | {"recipient": "+4917612345678"}),
        message(3, 2, **german, carrier="telco"),
        message(4, 2, **german, carrier="other"),
        message(5, 2, country_code="FR"),
        message(6, 2, country_code=None),
    )
    costs = [cost for _, cost in store.costs().values()]
    assert costs == [10_000, 40_000, 50_000, None, None, None]


def test_only_what_a_carrier_took_costs(store):
    unsent = {"carrier_reference": None}
    store.write(
        message(1, 1, carrier=None, **unsent),
        message(2, 2, Detailed.IN_DOUBT, **unsent),
        message(3, 6, Detailed.REJECTED, error=StatusError(3032, "no", True), **unsent),  # the carrier answered so
        message(4, 6, Detailed.NO_RECEIPT, **unsent),
        receipt(5, **unsent),
        message(6, 6, Detailed.UNDELIVERABLE),
        message(7, 3, Detailed.ENROUTE, **unsent),
    )
    store.write(message(8, 3, Detailed.SUBMITTED, **unsent))
    store.write(message(8, 6, Detailed.NO_RECEIPT, **unsent))
    store.write(message(9, 3, Detailed.SUBMITTED, **unsent), message(9, 6, Detailed.NO_RECEIPT, **unsent))
    assert [number for number, (_, cost) in store.costs().items() if cost] == [5, 6, 7, 8, 9]
    assert sum(one.messages for one in store.model.spend("acme", "day", NOON, NOON + 1, ())) == 5
    assert sum(one.uncosted for one in store.model.spend("acme", "day", NOON, NOON + 1, ())) == 0


def test_the_list_that_counts_is_that_of_the_request(tmp_path):
    """Whatever version is in force when the record is read, and though a row of the list ends in between."""
    book = PriceBook(LIST)
    later = prices("IT,,,0.05,sim,0.09")
    book.add(Version("later", "", (NOON + 10) * 1000, 0, "ada"), lambda: later)
    book.add(Version("broken", "", (NOON + 15) * 1000, 0, "ada"), lambda: None)
    ends = prices("IT,,,0.05,sim,0.01,,2027-01-20", "IT,,,0.05,sim,0.07,2027-01-20,")
    book.add(Version("ends", "", (NOON + DAY) * 1000, 0, "ada"), lambda: ends)
    store = Store(tmp_path, book.at)
    day_of_change = int(datetime(2027, 1, 20, tzinfo=UTC).timestamp())
    for number, at in enumerate((NOON, NOON + 9, NOON + 10, NOON + 20, day_of_change - 1, day_of_change)):
        store.write(message(number, 2, at=at))
    assert [cost for _, cost in store.costs().values()] == [30_000, 30_000, 90_000, 90_000, 10_000, 70_000]
    store.write(message(6, 2, id="no id of ours, and longer than one"))
    assert store.model.get("acme", "no id of ours, and longer than one") is not None
    store.engine.dispose()


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_however_the_records_are_cut_the_costs_are_the_same(tmp_path_factory, data):
    """As when the read model is built again."""
    store = Store(tmp_path_factory.mktemp("db"))
    told = [(message(n, s), "TIM" if s == 1 and n % 2 else None) for s in WAY for n in range(6)]
    told += [(receipt(6), None), (message(7, 1), None)]
    while told:
        size = data.draw(st.integers(1, len(told)))
        store.write(*told[:size])
        told = told[size:]
    costs = store.costs()
    assert [costs[n] for n in range(6)] == [(None, 30_000), ("TIM", 20_000)] * 3
    assert costs[6] == (None, 30_000)
    store.engine.dispose()


def test_without_costs_nothing_is_known_of_them(tmp_path):
    store = Store(tmp_path, lambda at: prices("IT,,,0.05,,"))
    store.write((message(1, 1), "TIM"), message(1, 3))
    assert store.costs() == {1: ("TIM", None)}
    (told,) = [statement.told_margin(one) for one in store.model.margin("carrier", NOON, NOON + 1, ())]
    assert (told["cost"], told["margin"], told["uncosted"]) == (None, None, 1)
    store.engine.dispose()


def test_spend_is_what_carriers_took(store):
    def taken(number, state, **more):
        fields = {"carrier_reference": None, "message_count": 2, "total_price": "0.1005"}
        return message(number, 3, state, **(fields | more))

    store.write(
        taken(1, Detailed.DELIVERED),
        taken(2, Detailed.SUBMITTED, country_code="DE", carrier="telco", total_price="1.00"),
        taken(3, Detailed.UNDELIVERABLE, carrier_reference="c3", at=NOON + DAY),
        taken(4, Detailed.REJECTED),  # by the carrier
        taken(5, Detailed.IN_DOUBT),
        taken(6, Detailed.DELIVERED, dry_run=True),
        taken(7, Detailed.DELIVERED, account="globex"),
        taken(8, Detailed.DELIVERED, at=NOON - 9 * DAY),
        taken(9, Detailed.DELIVERED, total_price="0.000001", message_count=1),
    )

    def spend(by, since=NOON - DAY, until=NOON + 2 * DAY):
        found = store.model.spend("acme", by, since, until, ["REJECTED"])
        return [(one.about[by], one.messages, one.parts, one.amount) for one in found]

    first, second = (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (NOON, NOON + DAY))
    assert spend("day") == [(first, 3, 5, 1_100_501), (second, 1, 2, 100_500)]
    assert spend("country") == [("DE", 1, 2, 1_000_000), ("IT", 3, 5, 201_001)]
    assert spend("carrier", until=NOON + DAY) == [("telco", 1, 2, 1_000_000), ("sim", 2, 3, 100_501)]
    assert spend("day", NOON + 1) == [(second, 1, 2, 100_500)]
    told = statement.told_spend(store.model.spend("acme", "country", NOON, NOON + 1, ())[0])
    assert told == {"country": "DE", "messages": 1, "parts": 2, "amount": "1.00", "currency": "EUR"}
    accounts = [(one.about, one.amount) for one in store.model.margin("account", NOON, NOON + 1, ())]
    assert accounts == [({"account": "acme"}, 1_100_501), ({"account": "globex"}, 100_500)]


def test_operators_of_two_countries_may_share_a_name(store):
    store.write(*((message(n, 2, country_code=country), "Vodafone") for n, country in enumerate(["IT", "DE", "IT"])))
    found = store.model.spend("acme", "operator", NOON, NOON + 1, ())
    assert [(one.about, one.messages) for one in found] == [
        ({"operator": "Vodafone", "country": "IT"}, 2),
        ({"operator": "Vodafone", "country": "DE"}, 1),
    ]


def test_what_was_given_back_is_not_earned_and_costs_all_the_same(store):
    gone = {"carrier_reference": None}
    store.write(
        message(1, 3),
        receipt(2),
        receipt(3, carrier_reference=None),  # told before the carrier's answer
        receipt(4, Detailed.UNDELIVERABLE),
        message(5, 3, Detailed.SUBMITTED), message(5, 6, Detailed.REJECTED, error=StatusError(3032, "no", True)),
        message(6, 6, Detailed.REJECTED, error=StatusError(3032, f"no: {BY_RECEIPT}", True), **gone),
        message(7, 6, Detailed.REJECTED, error=StatusError(3032, f'","message":"{BY_RECEIPT}', True), **gone),
    )  # fmt: skip

    def margin(*refunds):
        (found,) = store.model.margin("country", NOON, NOON + 1, refunds)
        assert (found.messages, found.parts, found.uncosted) == (5, 5, 0)
        return found.amount, found.cost

    assert margin() == (250_000, 150_000)
    assert margin("REJECTED") == (150_000, 150_000)
    assert margin("REJECTED", "UNDELIVERABLE", "EXPIRED") == (100_000, 150_000)
    (told,) = [statement.told_margin(one) for one in store.model.margin("country", NOON, NOON + 1, ["REJECTED"])]
    assert (told["amount"], told["cost"], told["margin"]) == ("0.15", "0.15", "0.00")


def test_days_are_those_with_messages(store):
    store.write(*(message(n, 3, at=NOON + n * 40 * DAY) for n in range(3)))

    def days():
        found = store.model.spend("acme", "day", NOON - DAY, NOON + 366 * DAY, ())
        return [(one.about["day"], one.messages) for one in found]

    expected = [(datetime.fromtimestamp(NOON + n * 40 * DAY, UTC).date().isoformat(), 1) for n in range(3)]
    assert days() == expected
    store.write(message(8, 3, id=f"{NOON + 41 * DAY:08x}"[:5] + "xyz, which is no id of ours"))
    assert set(expected) < set(days())


def test_the_period_that_spend_is_asked_of():
    now = 1_800_000_000_123
    assert statement.period(None, None, now) == ((1_800_000_000 // DAY - 29) * DAY, 1_800_000_001)
    assert statement.period(1_500, 10_000, now) == (2, 10)
