"""Prometheus finds every process, and no alert rule asks for a metric or label that nobody exports."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from composed import ROOT, SERVICES, STAGE_SERVICES

from pipeline.ops import metrics_page

PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
ALERTS = [
    rule for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
#: Labels that Prometheus itself gives, by deploy/prometheus.yml.
TARGET_LABELS = {"job", "instance", "service"}
_PARTS = {"histogram": ("_bucket", "_sum", "_count")}


def exported() -> dict[str, set[str]]:
    """Every series of ours by its name on the wire, with its labels, as docs/metrics.md tells them."""
    found: dict[str, set[str]] = {"up": set()}
    for row in re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \|", metrics_page.page(), re.MULTILINE):
        name, kind, labels = row
        for suffix in _PARTS.get(kind, ("",)):
            found[name + suffix] = set(filter(None, labels.split(", "))) | ({"le"} if suffix == "_bucket" else set())
    return found


def test_every_process_is_scraped_at_its_port() -> None:
    scraped: dict[str, int] = {}
    for job in PROMETHEUS["scrape_configs"]:
        for found in job.get("dns_sd_configs", []):
            assert found["type"] == "A"
            scraped |= dict.fromkeys(found["names"], found["port"])
    stages = {name: int(SERVICES[name]["environment"]["SMS_METRICS__PORT"]) for name in STAGE_SERVICES}
    assert scraped == stages | {"gateway": 8080, "simulator": 9090}
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_a_rule_refers_to_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    expression = re.sub(r"\[\w+\]", "", rule["expr"])
    known = exported()
    names = set(re.findall(r"\b(?:sms_\w+|up)\b", expression))
    assert names
    assert names <= known.keys()
    labels = set().union(*(known[name] for name in names)) | TARGET_LABELS
    asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    asked += [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")]
    shown = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
    assert set(asked + shown) <= labels


def test_rules_say_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on the PATH")
def test_promtool_agrees() -> None:
    for arguments in (["check", "config", "deploy/prometheus.yml"], ["test", "rules", "tests/deploy/alerts_test.yml"]):
        ran = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
