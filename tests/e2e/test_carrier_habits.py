"""Carriers as they are: refusing, throttling, cutting connections, telling things twice and out of order, or not there.

What must become of each message is known beforehand: the simulated carrier's fates follow from the message's id.
"""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from endtoend import Status, User, assert_one_final_each, numbers, wait_for
from wholesystem import CREDIT, Systems

from pipeline.carriers.simulator.behaviour import Behaviour, Oracle
from pipeline.ops.rig import Rig

pytestmark = pytest.mark.e2e

HABITS = {
    "seed": 7,
    "reject": 0.05,
    "undeliverable": 0.05,
    "expired": 0.05,
    "duplicate": 0.2,
    "disorder": 0.2,
    "without_reference": 0.3,
    "early": 0.1,
    "throttle": 0.05,
    "unavailable": 0.05,
    "error": 0.05,
    "cut": 0.1,
}
STATES = {"DELIVRD": "DELIVERED", "UNDELIV": "UNDELIVERABLE", "EXPIRED": "EXPIRED"}
ERRORS = {"REJECTED": 3032, "UNDELIVERABLE": 3040, "EXPIRED": 3041}


@pytest.fixture(scope="module")
def running(systems: Systems) -> Iterator[tuple[Rig, User]]:
    """Italy and Germany through the simulator, Spain to a closed port, France to who listens and never answers."""
    options = [word for name, value in HABITS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    options += ["--receipt-delay", "0", "0.5", "--retry-after", "0"]
    with socket.socket() as closed, socket.socket() as mute:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused, and nobody takes the port
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        routes = {"39": ["sim"], "49": ["sim"], "34": ["closed"], "33": ["mute"], "44": ["closed", "sim"]}
        overrides = {
            "SMS_ROUTES": json.dumps([{"prefix": prefix, "carriers": to} for prefix, to in routes.items()]),
            "SMS_CARRIERS__SIM__BATCH": "10",
        }
        for name, listener in (("CLOSED", closed), ("MUTE", mute)):
            overrides[f"SMS_CARRIERS__{name}__URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/messages"
            overrides[f"SMS_CARRIERS__{name}__PATIENCE"] = "1"
            overrides[f"SMS_CARRIERS__{name}__TIMEOUT"] = "1"
        system = systems.get("habits", options, overrides)
        yield system.rig, system.user


def due(told: Status) -> tuple[str, int | None]:
    """The state and error that the carrier's habits mean for this message."""
    fate = Oracle(Behaviour.model_validate(HABITS)).message(told["id"])
    state = "REJECTED" if fate.rejected else STATES[fate.status]
    return state, ERRORS.get(state)


def became(told: Status) -> tuple[str, int | None]:
    return told["state"], told["error"]["code"] if told["error"] else None


def taken(user: User) -> list[Status]:
    """Final records of the messages that a carrier took, which are paid for."""
    final = [told for each in user.everything().values() for told in each if told["final"]]
    return [told for told in final if told["carrierReference"]]


def journal(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rig.journal.read_text().splitlines()]


def test_dead_carrier_ends_its_messages_with_their_validity_and_no_others(running: tuple[Rig, User]) -> None:
    _, user = running
    before = user.money()
    options = {"validitySeconds": 8}
    told = user.fates(user.send([*numbers(5), *numbers(5, "+3461"), "+34911234567"], options=options), 11)
    assert [became(one) for one in told[:5]] == [due(one) for one in told[:5]]
    assert [became(one) for one in told[5:10]] == [("EXPIRED", 3041)] * 5
    assert "closed" in told[5]["error"]["message"]
    assert became(told[10]) == ("REJECTED", 2011)
    paid = sum(Decimal(one["totalPrice"]) for one in told[:5] if one["state"] != "REJECTED")
    user.money(lambda balance, reserved: (balance, reserved) == (before[0] - paid, Decimal(0)))


def test_next_carrier_of_the_route_takes_over(running: tuple[Rig, User]) -> None:
    rig, user = running
    told = user.fates(user.send(numbers(3, "+44791", 2_345_678)), 3)
    assert [became(one) for one in told] == [due(one) for one in told]
    accepted = {entry["reference"] for entry in journal(rig)}
    assert [one["id"] in accepted for one in told] == [one["state"] != "REJECTED" for one in told]


def test_carrier_that_never_answers_leaves_doubt_and_is_not_asked_again(running: tuple[Rig, User]) -> None:
    """It does not recognise repeats. The money stays reserved until the receipt, or its time, is over."""
    _, user = running
    before = user.money()
    request = user.send(["+33612345678", *numbers(1, first=900)])
    doubt = user.wait_told(request, lambda told: told["detailedState"] == "IN_DOUBT")
    assert (doubt["state"], doubt["final"], doubt["error"]["code"]) == ("PENDING", False, 3033)
    (neighbour,) = user.fates(request)
    assert became(neighbour) == due(neighbour)
    assert user.money(lambda balance, reserved: reserved == Decimal("0.052"))[1] > before[1]


@pytest.mark.parametrize("lane", ["", ".priority"])
def test_every_message_ends_as_the_carrier_decided(running: tuple[Rig, User], lane: str) -> None:
    _, user = running
    first = 2000 if lane else 1000
    mixed = [*numbers(200, first=first), *numbers(100, "+491512", first)]
    told = user.fates(user.send(mixed, "€" * 100, lane=lane), 300, seconds=90)
    assert [became(one) for one in told] == [due(one) for one in told]
    assert Counter(one["state"] for one in told).keys() == {"DELIVERED", "UNDELIVERABLE", "EXPIRED", "REJECTED"}
    assert {(one["countryCode"], one["messageCount"], one["price"]) for one in told} >= {("IT", 2, "0.0500")}
    assert all(one["partsDelivered"] == (2 if one["state"] == "DELIVERED" else 0) for one in told)


def test_receipt_before_the_answer_tells_carrier_and_reference_too(running: tuple[Rig, User]) -> None:
    """A receipt names the carrier, and the message as that knows it: so does the final record, whichever came first."""
    rig, user = running
    references = {entry["reference"]: entry["id"] for entry in journal(rig)}
    told = taken(user)
    assert [(one["carrier"], one["carrierReference"]) for one in told] == [
        ("sim", references[one["id"]]) for one in told
    ]


def test_everything_adds_up(running: tuple[Rig, User]) -> None:
    rig, user = running
    wait_for(lambda: rig.stats()["receiptsPending"] == 0, what="the last receipt")
    paid = sum(Decimal(told["totalPrice"]) for told in taken(user))
    # what is in doubt at the carrier that never answers stays reserved
    user.money(lambda balance, reserved: (balance, reserved) == (CREDIT - paid, Decimal("0.052")))
    stats, entries = rig.stats(), journal(rig)
    assert stats["repeatedReferences"] == 0
    assert stats["throttled"] > 0
    assert stats["repeatedRequests"] > 0, "nothing was cut; another seed"
    assert sorted(entry["reference"] for entry in entries) == sorted(told["id"] for told in taken(user))
    assert stats["acceptedParts"] == sum(told["messageCount"] for told in taken(user))
    for told in user.everything().values():
        assert_one_final_each(told)
    assert user.no_dead_letters_but([]) == []
