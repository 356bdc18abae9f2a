"""Cancelling over real HTTP: the word is on its topic when it is answered, and only for the account's own."""

import time

import broker
import msgspec
import pytest
from test_gateway_messages import problem
from test_gateway_money import COSTS, message

from pipeline import ids
from pipeline.gateway.messages import cancel
from pipeline.records import Cancellation, decode_cancellation
from pipeline.store.database import open_database
from pipeline.store.writer import Told, Writer
from schemas import errors
from schemas.states import Detailed

BATCH = int(time.time()).to_bytes(4, "big") + b"batch"


def named(index: int) -> str:
    return ids.message_id(BATCH, index)


@pytest.fixture(scope="module")
def gateway(gateway):
    states = [Detailed.SCHEDULED, Detailed.ACCEPTED, Detailed.IN_DOUBT, Detailed.SUBMITTED, Detailed.DELIVERED]
    rows = [message("acme", 0, state, id=named(i), request_id="some") for i, state in enumerate(states)]
    rows += [message("acme", 0, Detailed.CANCELED, id=named(7), request_id="over")]
    rows += [message("globex", 0, Detailed.SCHEDULED, id=named(8), request_id="theirs")]
    engine = open_database(gateway.settings)
    told = [Told(msgspec.json.encode(row)) for row in rows]
    Writer(engine, lambda at: COSTS).write(gateway.names.status, told, {0: 1})
    engine.dispose()
    with pytest.MonkeyPatch.context() as patched:  # the ids are as old as the run of all tests may take
        patched.setattr(cancel, "_UNKNOWN_SECONDS", 3600)
        yield gateway


def said(gateway) -> list[tuple[int, Cancellation]]:
    found = broker.read(gateway.settings, gateway.names.cancellations)
    return [(record.partition, decode_cancellation(record.value)) for record in found]


@pytest.mark.parametrize(("index", "state"), [(0, "SCHEDULED"), (1, "ACCEPTED"), (99, None)])
def test_the_word_is_durable_in_the_batchs_partition(gateway, index, state):
    answer = gateway.as_("acme").delete(f"/messages/{named(index).upper()}")
    assert answer.status_code == 202, answer.text
    assert answer.json()["data"] == {"id": named(index), "state": state and "NEW", "detailedState": state}
    partition, one = said(gateway)[-1]
    home = ids.partition_of(BATCH, gateway.settings.kafka.partitions)
    assert (partition, one.account, one.messages, one.request) == (home, "acme", [bytes.fromhex(named(index))], b"")


@pytest.mark.parametrize("index", [2, 3, 4, 7])
def test_what_a_carrier_may_have_and_what_is_at_its_end_is_too_late(gateway, index):
    before = len(said(gateway))
    assert "too late" in problem(gateway.as_("acme").delete(f"/messages/{named(index)}"), 409, errors.TOO_LATE)
    assert len(said(gateway)) == before


@pytest.mark.parametrize("id_", [named(8), f"{1_700_000_000:08x}" + "0" * 16, "nonsense", "0" * 23, "x" * 24])
def test_others_and_unknown_messages_are_not_found(gateway, id_):
    before = len(said(gateway))
    problem(gateway.as_("acme").delete(f"/messages/{id_}"), 404, errors.NOT_FOUND)
    problem(gateway.http.delete(f"/messages/{id_}"), 401, errors.UNAUTHENTICATED)
    assert len(said(gateway)) == before


@pytest.mark.parametrize(
    ("request_id", "states"),
    [
        ("some", {"SCHEDULED": 1, "ACCEPTED": 1, "IN_DOUBT": 1, "SUBMITTED": 1, "DELIVERED": 1}),
        ("of a moment ago", {}),
        ("theirs", {}),  # a request of our own by that name, not theirs
    ],
)
def test_a_request_is_cancelled_in_every_partition(gateway, request_id, states):
    answer = gateway.as_("acme").post("/messages/cancel", json={"requestId": request_id})
    assert (answer.status_code, answer.json()["data"]) == (202, {"requestId": request_id, "states": states})
    mine = ids.request_hash("acme", request_id)
    assert [p for p, one in said(gateway) if one.request == mine] == list(range(gateway.settings.kafka.partitions))


def test_a_request_that_is_over_is_too_late(gateway):
    answer = gateway.as_("acme").post("/messages/cancel", json={"requestId": "over"})
    assert "1 CANCELED" in problem(answer, 409, errors.TOO_LATE)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 422, "requestId"),
        (b"{", 400, "JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "requestId"),
        (b'{"requestId": 7}', 422, "requestId"),
        (b'{"requestId": ""}', 422, "requestId"),
        (b'{"requestId": "a", "x": 1}', 422, "x: unknown field"),
    ],
)
def test_what_is_wrong_is_named(gateway, body, status, word):
    answer = gateway.as_("acme").post("/messages/cancel", content=body)
    assert word in problem(answer, status, errors.MALFORMED_REQUEST)
    problem(gateway.as_("acme").post("/messages/cancel", content=b" " * 70_000), 413, errors.TOO_LARGE)
