"""A stage that fails on most of what it reads stops reading, says so, and goes on from there when started anew."""

from collections.abc import Callable

import broker
import pytest
from hypothesis import given
from hypothesis import strategies as st
from working import Worker, balance, names, number, open_account, request, statuses, wait_for

from pipeline.config import DeadLetters, Settings
from pipeline.ids import partition_of
from pipeline.streaming.ceiling import Ceiling, Halted

STAGES = ["validate", "encode", "moderate", "price", "track"]


@given(st.lists(st.booleans(), max_size=1500), st.floats(0, 1), st.integers(1, 50))
def test_it_halts_exactly_where_the_last_records_say_so(dead: list[bool], share: float, least: int) -> None:
    ceiling = Ceiling("t", DeadLetters(share=share, least=least))
    for place, bad in enumerate(dead):
        last = dead[max(0, place + 1 - Ceiling.LAST) : place + 1]
        due = bad and sum(last) >= least and sum(last) > share * len(last)
        if not bad:
            ceiling.good(1)
        elif due:
            with pytest.raises(Halted, match=f"{sum(last)} of the last {len(last)} records"):
                ceiling.bad("reason")
            return
        else:
            ceiling.bad("reason")


def test_a_window_larger_than_what_is_looked_back_upon_forgets_all_before() -> None:
    ceiling = Ceiling("t", DeadLetters(share=0, least=2))
    ceiling.bad("one")
    ceiling.good(5 * Ceiling.LAST)
    ceiling.bad("another")
    with pytest.raises(Halted, match="2 of the last 1000 records"):
        ceiling.bad("a second one")


def test_a_broken_topic_is_not_drained_and_the_other_lane_goes_on(
    settings: Settings, start: Callable[..., Worker]
) -> None:
    environment = {"SMS_DEAD_LETTERS__LEAST": "20", "SMS_DEAD_LETTERS__SHARE": "0.5"}
    worker = start(settings, STAGES, "one", environment).wait_ready()
    open_account(settings)
    partition = 0
    broker.produce(settings, names(settings).intake(), [(None, b"not JSON", partition)] * 100)
    good = [(None, request("good", number(1)), partition)]
    broker.produce(settings, names(settings).intake(), good)
    halted = f'sms_stage_halted{{stage="validate",topic="{names(settings).intake()}"}} 1.0'
    wait_for(lambda: halted in worker.metrics(), 30, lambda: worker.log.read_text()[-3000:])
    wait_for(lambda: not worker.ready(), 5)
    assert "19 of the last" not in worker.log.read_text()
    assert "20 of the last 20 records" in worker.log.read_text()

    broker.produce(settings, names(settings).intake(".priority"), [(None, request("urgent", number(2)), partition)])
    wait_for(lambda: [s["requestId"] for s in statuses(settings)] == ["urgent"], 30)
    assert len(broker.read(settings, names(settings).dead_letters)) == 19

    worker.stop()
    assert worker.process.returncode == 0
    # Started again, with a ceiling that lets the rest pass: nothing was skipped.
    start(settings, STAGES, "one", {"SMS_DEAD_LETTERS__LEAST": "500"}).wait_ready()
    wait_for(lambda: "good" in [s["requestId"] for s in statuses(settings)], 30)
    assert len(broker.read(settings, names(settings).dead_letters)) == 100


def test_who_goes_first_is_not_waited_for_when_it_is_halted(settings: Settings, start: Callable[..., Worker]) -> None:
    """Top-ups go before messages; where theirs is a broken topic, messages pass, and wait for it once."""
    environment = {"SMS_DEAD_LETTERS__LEAST": "20", "SMS_DEAD_LETTERS__SHARE": "0.5"}
    worker = start(settings, STAGES, "one", environment).wait_ready()
    open_account(settings)
    wait_for(lambda: balance(settings))
    home = partition_of(b"acme", settings.kafka.partitions)
    broker.produce(settings, names(settings).credits, [(None, b"not a top-up", home)] * 100)
    wait_for(lambda: f'{{stage="price",topic="{names(settings).credits}"}} 1.0' in worker.metrics())
    for place in range(6):
        broker.produce(settings, names(settings).intake(), [(None, request(f"r{place}", number(place)), None)])
        wait_for(lambda place=place: len(statuses(settings)) == place + 1)
    assert worker.log.read_text().count("source.not_waited_for") == 1
