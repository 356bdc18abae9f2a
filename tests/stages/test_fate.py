import msgspec
from hypothesis import given
from hypothesis import strategies as st
from stepping import NOON_MS, batch

from pipeline.records import Content
from pipeline.stages import fate
from pipeline.stages.fate import Change
from schemas.states import RECEIPT_STATES, TERMINAL, Detailed
from schemas.status import StatusRecord

PRICE, OTHER = 50_000, 70_000
RECIPIENTS = 3

POSITIONS = st.integers(0, RECIPIENTS - 1)
OURS = st.builds(
    lambda position, state: Change(position, state, NOON_MS),
    POSITIONS,
    st.sampled_from(
        [
            Detailed.ACCEPTED,
            Detailed.IN_DOUBT,
            Detailed.SUBMITTED,
            Detailed.REJECTED,
            Detailed.EXPIRED,
            Detailed.FAILED,
        ]
    ),
)
RECEIPTS = st.builds(
    lambda position, word: fate.receipt_change(position, word, "000", NOON_MS),
    POSITIONS,
    st.sampled_from(sorted(RECEIPT_STATES)),
)
NEWS = st.lists(OURS | RECEIPTS | st.builds(lambda p: fate.no_receipt(p, NOON_MS), POSITIONS), max_size=25)


def priced(dry_run: bool = False):
    """Three recipients, two prices, two texts of one and two parts."""
    contents = [Content("a", "GSM-7", 1, 1), Content("b" * 200, "GSM-7", 200, 2)]
    made = batch(recipients=RECIPIENTS, contents=contents, content=[0, 1, 1], where=[0, 0, 1], prices=[PRICE, OTHER],
                 dry_run=dry_run)  # fmt: skip
    made.destinations.append(made.destinations[0])
    return made


COSTS = [PRICE, 2 * PRICE, 2 * OTHER]


@given(NEWS, st.booleans())
def test_whatever_comes_states_move_forward_and_the_money_adds_up(news, dry_run):
    about = priced(dry_run)
    progress = fate.begin(about)
    for change in news:
        before = msgspec.msgpack.decode(msgspec.msgpack.encode(progress), type=fate.Progress)
        old = before.state[change.position]
        moved = fate.move(about, progress, change)
        assert moved == (old < TERMINAL and change.state > old)
        if not moved:
            assert progress == before
        if moved and old:
            assert fate.sequence_of(change.state) > fate.sequence_of(old)
        assert progress.captured >= before.captured
        assert progress.released >= before.released
    gone = sum(cost for cost, state in zip(COSTS, progress.state, strict=True) if state >= Detailed.SUBMITTED)
    assert progress.captured + progress.released == (0 if dry_run else gone)


@given(NEWS, st.data())
def test_repeats_change_nothing(news, data):
    about = priced()
    once, twice = fate.begin(about), fate.begin(about)
    for place, change in enumerate(news):
        fate.move(about, once, change)
        fate.move(about, twice, change)
        if place:
            fate.move(about, twice, news[data.draw(st.integers(0, place))])
    finals = [s for s in once.state if s >= TERMINAL]
    assert [s for s, o in zip(twice.state, once.state, strict=True) if o >= TERMINAL] == finals
    assert (twice.captured, twice.released) == (once.captured, once.released)


@given(st.permutations([Detailed.ACCEPTED, Detailed.SUBMITTED, Detailed.ENROUTE, Detailed.DELIVERED]))
def test_delivered_is_the_end_in_any_order_and_paid_once(order):
    about, progress = priced(), fate.begin(priced())
    for state in order:
        fate.move(about, progress, Change(1, state, NOON_MS, by_receipt=state > Detailed.SUBMITTED))
    assert progress.state[1] == Detailed.DELIVERED
    assert progress.delivered[1] == 2
    assert (progress.captured, progress.released) == (COSTS[1], 0)


def test_what_no_carrier_took_is_given_back_and_what_one_took_is_paid():
    taken = [Detailed.SUBMITTED, Detailed.DELIVERED]
    for state in taken:
        progress = fate.begin(priced())
        fate.move(priced(), progress, Change(0, state, NOON_MS))
        assert (progress.captured, progress.released) == (PRICE, 0)
    for state in (Detailed.REJECTED, Detailed.EXPIRED, Detailed.FAILED, Detailed.NO_RECEIPT):
        progress = fate.begin(priced())
        fate.move(priced(), progress, Change(0, state, NOON_MS))
        assert (progress.captured, progress.released) == (0, PRICE)
    for word in ("UNDELIV", "EXPIRED", "DELETED", "REJECTD"):
        progress = fate.begin(priced())
        fate.move(priced(), progress, fate.receipt_change(0, word, None, NOON_MS))
        assert (progress.captured, progress.released) == (PRICE, 0)


def test_money_in_doubt_is_reserved_until_it_is_known_who_has_the_message():
    ends = {
        Detailed.SUBMITTED: (PRICE, 0),
        Detailed.DELIVERED: (PRICE, 0),
        Detailed.NO_RECEIPT: (0, PRICE),
        Detailed.FAILED: (0, PRICE),
        Detailed.REJECTED: (0, PRICE),
        Detailed.EXPIRED: (0, PRICE),
    }
    for state, money in ends.items():
        progress = fate.begin(priced())
        fate.move(priced(), progress, Change(0, Detailed.IN_DOUBT, NOON_MS))
        assert (progress.captured, progress.released) == (0, 0)
        fate.move(priced(), progress, Change(0, state, NOON_MS))
        assert (progress.captured, progress.released) == money
    progress = fate.begin(priced())
    for change in (Change(0, Detailed.SUBMITTED, NOON_MS), fate.no_receipt(0, NOON_MS)):
        fate.move(priced(), progress, change)
    assert (progress.captured, progress.released) == (PRICE, 0)


def test_a_receipt_that_says_nothing_changes_nothing():
    assert fate.receipt_change(0, "UNKNOWN", None, 0) is None
    assert fate.receipt_change(0, "", None, 0) is None
    assert fate.receipt_change(0, "delivrd", "000", 0).state == Detailed.DELIVERED


@given(st.sets(st.integers(0, 3000), min_size=1, max_size=40), st.integers(-1, 3001))
def test_positions_are_found_however_the_batch_was_cut(kept, index):
    places = sorted(kept)
    cut = batch(recipients=len(places), index=places)
    assert fate.position_of(cut, index) == (places.index(index) if index in kept else None)


def test_the_record_tells_the_message():
    about = priced()
    about.currency = "EUR"
    key, value, headers = fate.Teller(about).tell(1, Detailed.DELIVERED, NOON_MS + 7, delivered=2, carrier="sim",
                                                  reference="a1")  # fmt: skip
    told = msgspec.json.decode(value, type=StatusRecord)
    assert told.id == key.decode()
    assert (told.state, told.detailed_state, told.final, told.sequence) == ("DELIVERED", "DELIVERED", True, 6)
    assert (told.price, told.total_price, told.message_count, told.parts_delivered) == ("0.0500", "0.1000", 2, 2)
    assert told.at == "2026-09-21T14:13:20.007Z"
    assert dict(headers)["ce_id"] == key + b":6"


def test_a_dry_run_ends_when_it_is_accepted():
    _, value, _ = fate.Teller(priced(dry_run=True)).tell(0, Detailed.ACCEPTED, NOON_MS)
    assert msgspec.json.decode(value)["final"] is True


def test_the_sequence_grows_with_every_move_a_message_can_make():
    """A reader drops what is not newer: two states that may follow each other must not share a place."""
    ways = [
        [
            Detailed.ACCEPTED,
            Detailed.IN_DOUBT,
            Detailed.SUBMITTED,
            Detailed.BUFFERED,
            Detailed.ENROUTE,
            Detailed.FAILED,
        ],
        [Detailed.ACCEPTED, Detailed.SUBMITTED, Detailed.BUFFERED, Detailed.ENROUTE, Detailed.UNDELIVERABLE],
        [Detailed.ACCEPTED, Detailed.REJECTED],
    ]
    for way in ways:
        places = [fate.sequence_of(state) for state in way]
        assert places == sorted(set(places))


def test_what_a_carrier_took_and_then_rejected_is_given_back_where_that_is_the_policy():
    rejected = fate.receipt_change(0, "REJECTD", None, NOON_MS)
    for refunds, given_back in ((frozenset({Detailed.REJECTED}), PRICE), (frozenset(), 0)):
        for answered in (True, False):
            progress = fate.begin(priced())
            if answered:
                fate.move(priced(), progress, Change(0, Detailed.SUBMITTED, NOON_MS), refunds)
            fate.move(priced(), progress, rejected, refunds)
            fate.move(priced(), progress, rejected, refunds)
            assert (progress.captured, progress.released, progress.refunded) == (PRICE, 0, given_back)
    progress = fate.begin(priced())  # what never was taken is not paid for in the first place
    fate.move(priced(), progress, Change(0, Detailed.REJECTED, NOON_MS), frozenset({Detailed.REJECTED}))
    assert (progress.captured, progress.released, progress.refunded) == (0, PRICE, 0)
