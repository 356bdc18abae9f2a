"""`sms-pipeline demo --json`: the whole system, from nothing to the last receipt and back to nothing."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from endtoend import descendants, wait_for

from pipeline.ops.system import command

pytestmark = pytest.mark.e2e

FIELDS = "requested accepted rejected submitted delivered undeliverable expired inDoubt seconds recipientsPerSecond"


COUNT = 10_000


def test_demo_brings_every_message_to_its_end(alone: None, tmp_path: Path) -> None:
    """Also where a worker is killed on the way."""
    argv = [*command(), "demo", "--recipients", str(COUNT), "--json"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path)
    try:
        wait_for(lambda: any(journal.stat().st_size for journal in tmp_path.glob("*/*-journal.ndjson")), 90)
        (worker,) = [pid for pid, line in descendants(process.pid).items() if "worker dispatch" in line]
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0, err.decode()[-3000:]
    told = json.loads(out.splitlines()[-1])
    assert " ".join(told) == FIELDS
    assert told["requested"] == told["accepted"] == COUNT
    assert told["delivered"] + told["undeliverable"] + told["expired"] + told["rejected"] == COUNT
    assert told["submitted"] == COUNT - told["rejected"]
    assert told["inDoubt"] == 0
    assert min(told["undeliverable"], told["expired"], told["rejected"]) > 0
    assert told["recipientsPerSecond"] == pytest.approx(COUNT / told["seconds"], rel=0.01)
    assert list(tmp_path.iterdir()) == [], "something was left behind"
