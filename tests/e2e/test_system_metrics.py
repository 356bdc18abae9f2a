"""Every process tells at /metrics what docs/metrics.md says, and its counters move with the messages."""

import re
from pathlib import Path

import pytest
from endtoend import numbers, wait_for
from wholesystem import System

from pipeline.ops.rig import fetch

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
SERVED_BY = {
    "Gateway": ["gateway"],
    "Callbacks": ["callbacks-0"],
    "Stages": ["intake-0", "dispatch-0", "track-0"],
    "Read model": ["store-0"],
    "Carrier simulator": ["simulator"],
}


def documented() -> dict[str, dict[str, str]]:
    """Names and types by section."""
    found: dict[str, dict[str, str]] = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        title = section.partition("\n")[0]
        found[title] = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))
    return found


def page_of(system: System, process: str) -> str:
    urls = {**system.rig.system.metrics_urls, "simulator": f"{system.rig.simulator_url}/metrics"}
    return fetch(urls[process])


@pytest.mark.parametrize("section", SERVED_BY)
def test_process_serves_what_is_documented(plain: System, section: str) -> None:
    wanted = documented()[section]
    assert wanted
    for process in SERVED_BY[section]:
        served = dict(re.findall(r"^# TYPE (sms_\w+) (\w+)$", page_of(plain, process), re.MULTILINE))
        assert {name: served.get(name) for name in wanted} == wanted, process


def test_counters_move_with_the_messages(plain: System) -> None:
    user, rig = plain.user, plain.rig
    before = rig.metrics()
    refused = user.produce(b"not JSON")
    plain.unreadable.add(refused)
    request = user.send([*numbers(30), "+390669812345"])
    user.fates(request, 31)
    user.send([*numbers(30), "+390669812345"], requestId=request)
    user.dead_letter(refused)
    stages = ("validate", "encode", "moderate", "price", "route", "dispatch")

    def moved(name: str, *labels: str) -> float:
        now = rig.metrics()[name]
        return sum(value - before[name][key] for key, value in now.items() if all(label in key for label in labels))

    wait_for(lambda: moved("sms_store_rows_total") >= 31, what="the read model")
    wait_for(lambda: moved("sms_stage_repeats_total", "encode") == 1, what="the repeat")
    for stage in stages:
        repeated = 31 if stage in ("validate", "encode") else 0
        expected = (31 if stage in ("validate", "encode") else 30) + repeated
        assert moved("sms_stage_messages_in_total", stage) == expected, stage
        assert moved("sms_stage_batches_in_total", stage) >= 1, stage
    for stage in stages[:5]:
        assert moved("sms_stage_messages_out_total", stage) >= 30, stage
    assert moved("sms_rejections_total", "2011") == 1
    assert moved("sms_dead_letters_total", "validate") == 1
    assert moved("sms_dispatch_attempts_total", "sim", "Answered") >= 1
    assert moved("sms_dispatch_messages_total", "sim", "submitted") == 30
    assert moved("sms_dispatch_seconds_count", "sim") >= 1
    assert moved("sms_receipts_total", "sim", "DELIVRD") == 30
    assert moved("sms_messages_state_total", "DELIVERED") == 30
    assert moved("sms_messages_state_total", "REJECTED") == 1
    assert moved("sms_intake_to_submitted_seconds_count") >= 1
    assert moved("sms_intake_to_final_seconds_count") == 30
    assert moved("sms_gateway_receipts_total", "sim") == 30
    assert moved("sms_gateway_requests_total") >= 1
    for stage in ("validate", "encode", "moderate", "price", "dispatch", "track"):
        assert moved("sms_stage_records_total", stage) >= 1, stage
        assert moved("sms_stage_window_seconds_count", stage) >= 1, stage
        assert rig.metrics()["sms_stage_ready"][(stage,)] == 1, stage
    for stage in ("encode", "price", "dispatch", "track"):
        assert rig.metrics()["sms_table_keys"][(stage,)] > 0, stage


def test_carriers_figures_are_those_of_its_stats(plain: System) -> None:
    stats = plain.rig.stats()
    page = page_of(plain, "simulator")
    assert f"sms_simulator_accepted_total {float(stats['accepted'])}" in page
    assert stats["accepted"] > 0
