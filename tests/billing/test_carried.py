"""What carriers took against what was captured: what is paid, what is not, and what cannot be compared."""

import pytest

from pipeline.billing.audit import Held, Totals
from pipeline.billing.carried import Carried, Told, ToldError, complete, difference

BATCH = bytes.fromhex("6921f1000000000001")
RECEIPT = "the carrier's receipt says"
PRICE = 50_000


def told(index: int, *states: str, price: str = "0.0500", receipt: bool = False, **more: object) -> list[Told]:
    """The records of a message that went through these states."""
    ends = {"DELIVERED", "UNDELIVERABLE", "REJECTED", "EXPIRED", "NO_RECEIPT", "FAILED", "BLOCKED"}
    fields = {"account": "acme", "dry_run": False, "message_count": 1, "total_price": price} | more
    return [
        Told(
            id=BATCH.hex() + f"{index:06x}", index=index, detailed_state=state, final=state in ends,
            sequence=place, error=ToldError(f"{RECEIPT} {state}") if receipt and state in ends else None, **fields,
        )
        for place, state in enumerate(states, 1)
    ]  # fmt: skip


def heard(*messages: list[Told]) -> Carried:
    carried = Carried(RECEIPT)
    for message in messages:
        for record in message:
            carried.take(record)
    return carried


@pytest.mark.parametrize(
    ("states", "receipt", "paid"),
    [
        (["ACCEPTED"], False, 0),
        (["ACCEPTED", "SUBMITTED"], False, 1),
        (["ACCEPTED", "SUBMITTED", "DELIVERED"], False, 1),
        (["ACCEPTED", "SUBMITTED", "UNDELIVERABLE"], True, 1),
        (["ACCEPTED", "SUBMITTED", "NO_RECEIPT"], False, 1),
        (["ACCEPTED", "BUFFERED", "EXPIRED"], True, 1),
        (["ACCEPTED", "IN_DOUBT"], False, 0),
        (["ACCEPTED", "IN_DOUBT", "DELIVERED"], False, 1),
        (["ACCEPTED", "IN_DOUBT", "NO_RECEIPT"], False, 0),
        (["ACCEPTED", "IN_DOUBT", "FAILED"], False, 0),
        (["ACCEPTED", "REJECTED"], False, 0),  # the carrier's answer
        (["ACCEPTED", "REJECTED"], True, 1),  # its receipt, which came before its answer
        (["ACCEPTED", "EXPIRED"], False, 0),  # before any carrier took it
        (["BLOCKED"], False, 0),
    ],
)
def test_what_is_paid(states: list[str], receipt: bool, paid: int) -> None:
    carried = heard(
        told(0, *states, receipt=receipt), told(0, *states, receipt=receipt)
    )  # and a repeat changes nothing
    assert sum(one.due for one in carried.batches.values()) == paid * PRICE


def test_a_dry_run_costs_nothing() -> None:
    assert heard(told(0, "ACCEPTED", "SUBMITTED", dry_run=True)).batches == {}


def held(**totals: int) -> Held:
    return Held(account="acme", messages=2, **totals)


DELIVERED = [told(0, "ACCEPTED", "SUBMITTED", "DELIVERED"), told(7, "ACCEPTED", "SUBMITTED", "DELIVERED")]
LOST = [DELIVERED[0], told(7, "ACCEPTED", "SUBMITTED", "UNDELIVERABLE", receipt=True)]


@pytest.mark.parametrize(
    ("totals", "messages", "words"),
    [
        ({"reserved": 2, "captured": 2}, DELIVERED, None),
        ({"reserved": 2, "captured": 1, "released": 1}, [DELIVERED[0], told(7, "ACCEPTED", "REJECTED")], None),
        ({"reserved": 2, "captured": 1}, [DELIVERED[0], told(7, "ACCEPTED")], None),  # open: as far as settled
        ({"reserved": 2, "captured": 2, "refunded": 1}, LOST, None),
        ({"reserved": 2, "captured": 1, "released": 1}, DELIVERED, "captured is 0.05, carriers took 0.10"),
        ({"reserved": 2, "captured": 2}, [DELIVERED[0], told(7, "ACCEPTED")], "captured is 0.10, carriers took 0.05"),
        ({"reserved": 2, "captured": 2, "refunded": 1}, DELIVERED, "given back is 0.05, not delivered was 0.00"),
        ({"reserved": 2, "captured": 1}, [DELIVERED[0], told(7, "ACCEPTED", "FAILED")], "0.05 is still reserved"),
        (
            {"reserved": 3, "captured": 3},
            [*DELIVERED, told(9, "ACCEPTED", "SUBMITTED", "DELIVERED")],
            "3 messages were",
        ),
    ],
)
def test_differences_of_a_batch(totals: dict[str, int], messages: list[list[Told]], words: str | None) -> None:
    one = held(**{name: count * PRICE for name, count in totals.items()})
    batch = heard(*messages).batches[BATCH]
    assert complete(one, batch)
    found = difference(BATCH, one, batch)
    assert found is None if words is None else found and words in found.what


def test_a_batch_without_all_its_records_cannot_be_compared() -> None:
    carried = heard(DELIVERED[0], told(7, "SUBMITTED", "DELIVERED"))
    assert not complete(held(reserved=2 * PRICE), carried.batches[BATCH])
    assert not complete(held(reserved=2 * PRICE), None)


def test_what_carriers_took_and_nobody_reserved() -> None:
    found = difference(BATCH, None, heard(*DELIVERED).batches[BATCH])
    assert found and (found.account, found.batch) == ("acme", BATCH.hex())
    assert difference(BATCH, None, heard(told(0, "ACCEPTED", "SUBMITTED", price="0.0000")).batches[BATCH]) is None
    other = difference(BATCH, Held(account="globex", messages=2), heard(*DELIVERED).batches[BATCH])
    assert other and other.what == "its messages are acme's"


@pytest.mark.parametrize(
    ("captured", "released", "words"), [(3, 0, None), (2, 1, "2 parts are captured"), (4, 0, "4 parts are captured")]
)
def test_parts_of_bundles(captured: int, released: int, words: str | None) -> None:
    messages = [told(n, "ACCEPTED", "SUBMITTED", "DELIVERED", price="0.0000", message_count=n) for n in (1, 2)]
    one = Held(account="acme", messages=2, parts={"summer": Totals(3, captured, released)})
    found = difference(BATCH, one, heard(*messages).batches[BATCH])
    assert found is None if words is None else found and words in found.what
