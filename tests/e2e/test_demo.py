"""`sms-pipeline demo --json`: the whole system, from nothing to the last receipt and back to nothing."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.ops.system import command

pytestmark = pytest.mark.e2e

FIELDS = "requested accepted rejected submitted delivered undeliverable expired inDoubt seconds recipientsPerSecond"


def test_demo_brings_every_message_to_its_end(alone: None, tmp_path: Path) -> None:
    argv = [*command(), "demo", "--recipients", "2000", "--json"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0, err.decode()[-3000:]
    told = json.loads(out.splitlines()[-1])
    assert " ".join(told) == FIELDS
    assert told["requested"] == told["accepted"] == 2000
    assert told["delivered"] + told["undeliverable"] + told["expired"] + told["rejected"] == 2000
    assert told["submitted"] == 2000 - told["rejected"]
    assert told["inDoubt"] == 0
    assert min(told["undeliverable"], told["expired"], told["rejected"]) > 0
    assert told["recipientsPerSecond"] == pytest.approx(2000 / told["seconds"], rel=0.01)
    assert list(tmp_path.iterdir()) == [], "something was left behind"
