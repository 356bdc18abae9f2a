"""What travels beside a message's first status record: its text and its operator, for the read model."""

import asyncio

import pytest
from stepping import NOON_MS, SETTINGS, Table, batch, decides, record

from pipeline.optouts import OptOuts
from pipeline.records import Accepted, Destination, Rejected, Submitted, encode
from pipeline.stages import track
from pipeline.streaming.outbox import Outbox
from pipeline.streaming.stage import Step
from schemas.errors import Error
from schemas.states import Detailed
from schemas.status import OPERATOR_HEADER, TEXT_HEADER

OUTCOMES = "t.outcomes"


def told(table: Table, *news: object) -> list[tuple[str, str | None, str | None]]:
    """What the track stage tells of each news, a window each: the message's place, its text and its operator."""
    decide = decides(track.sources(SETTINGS, track.Tracker(SETTINGS, OptOuts())))[OUTCOMES]
    found = []
    for one in news:
        step = Step(table.view(), Outbox())
        decide(record(OUTCOMES, encode([one])), step)
        table.write(step.view.take_first())
        asyncio.run(acts(step))
        rows = step.outbox.drain().get(("t.status", 0), [])
        table.write(step.view.take_first() | step.view.take_later())
        for key, _, headers, _ in rows:
            beside = {name: value.decode() for name, value in headers}
            found.append((key.decode()[-1], beside.get(TEXT_HEADER), beside.get(OPERATOR_HEADER)))
    return found


async def acts(step: Step) -> None:
    for action in step.acts:
        await action(step)


def mixed(**more: object):
    """A batch to two known operators and an unknown one, in no order, of a request whose other recipients are gone."""
    destinations = [Destination("IT", "39", name) for name in ("TIM", "", "BITĖ")]
    return batch(1, 4, destinations=destinations, where=[2, 0, 1, 2], index=[1, 3, 4, 7], **more)


def test_the_operator_is_told_with_the_first_record_and_never_again(table: Table):
    sent = Submitted(mixed().id, "acme", "sim", NOON_MS, [1, 3], bytes([Detailed.SUBMITTED] * 2), ["a", "b"])
    assert told(table, Accepted(mixed()), sent) == [
        ("1", "Hello", "BITĖ"),
        ("3", "Hello", "TIM"),
        ("4", "Hello", None),
        ("7", "Hello", "BITĖ"),
        ("1", None, None),
        ("3", None, None),
    ]


@pytest.mark.parametrize(("operator", "header"), [("WIND", "WIND"), ("", None)])
def test_a_batch_to_one_operator(table: Table, operator: str, header: str | None):
    alone = batch(1, 2, destinations=[Destination("IT", "39", operator)])
    assert told(table, Accepted(alone)) == [("0", "Hello", header), ("1", "Hello", header)]


def test_what_is_refused_early_tells_it_too(table: Table):
    rejected = Rejected("price", mixed().select([1, 2]), [0, 0], [Error(3021, "no credit", False)], Detailed.REJECTED)
    assert told(table, rejected) == [("3", "Hello", "TIM"), ("4", "Hello", None)]
