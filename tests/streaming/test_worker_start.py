from collections.abc import Callable
from pathlib import Path

import broker
import pytest
from working import STAGES, Worker, names, number, open_account, request, statuses, wait_for

from pipeline.config import Billing, Settings
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.ops.ports import free_port
from pipeline.records import decode_batches


@pytest.mark.parametrize("time", [1, 2])
def test_workers_that_start_together_all_become_ready(settings: Settings, start: Callable[..., Worker], time: int):
    """On topics that none of them finds: whoever comes first creates, and groups form while others join."""
    workers = [start(settings, STAGES, f"w{n}") for n in range(3)]
    for worker in workers:
        worker.wait_ready(60)
    for worker in workers:
        worker.kill()


def test_a_worker_waits_for_a_kafka_that_is_not_there_yet(start: Callable[..., Worker], tmp_path: Path) -> None:
    port = free_port()
    prices = tmp_path / "prices.csv"
    prices.write_text("country,operator,prefix,price\nIT,,,0.0500\n")
    settings = broker.settings_for(f"127.0.0.1:{port}", tmp_path, billing=Billing(prices=prices))
    worker, impatient = start(settings, ["moderate"], "one"), start(settings, ["moderate"], "two")
    wait_for(lambda: "worker.waits_for_kafka" in worker.log.read_text(), 30, lambda: worker.log.read_text())
    wait_for(lambda: "worker.waits_for_kafka" in impatient.log.read_text(), 30)
    impatient.stop()
    assert impatient.process.returncode == 0
    with EmbeddedKafka(tmp_path / "kafka", port=port):
        worker.wait_ready()
        worker.stop()
    assert worker.process.returncode == 0


def test_top_ups_that_waited_pay_for_the_messages_that_waited(settings: Settings, start: Callable[..., Worker]) -> None:
    """Both are there when the price stage comes back; what it reads first must not be chance."""
    accounts = [f"account-{place}" for place in range(24)]
    others = start(settings, [stage for stage in STAGES if stage != "price"], "others").wait_ready()
    for account in accounts:
        open_account(settings, account)
    rows = [(None, request(account, number(place), account=account), None) for place, account in enumerate(accounts)]
    broker.produce(settings, names(settings).intake(), rows)
    moderated = names(settings).moderated()
    wait_for(lambda: sum(len(decode_batches(r.value)) for r in broker.read(settings, moderated)) == len(accounts))
    start(settings, ["price"], "price").wait_ready()
    wait_for(lambda: len(statuses(settings)) >= len(accounts))
    assert {told["detailedState"] for told in statuses(settings)} == {"ACCEPTED"}
    assert others.process.poll() is None
