"""The page of metrics: docs/metrics.md is what `python -m pipeline.ops.metrics_page` prints (`make docs`)."""

import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

import pipeline
from pipeline.carriers.simulator.stats import Stats, StatsCollector

_HEAD = """\
# Metrics

Every process serves these at `/metrics` in Prometheus' text format; a worker on its metrics port, the gateway and the
simulator on their own. Beside them stand the client library's `process_*` and `python_*`. A histogram has `_bucket`,
`_sum` and `_count`. Alert rules over these metrics are in `deploy/alerts.yml`.

This page is written by `make docs`; do not edit it.
"""
_TABLE = "| metric | type | labels | meaning |\n|---|---|---|---|\n"


def page() -> str:
    """The page, in Markdown: a table for each module of metrics, in the modules' order."""
    sections = [f"## {_title(module)}\n\n{_TABLE}{''.join(map(_row, _metrics(module)))}" for module in modules()]
    simulator = "".join(_row_of(metric, ()) for metric in StatsCollector(Stats()).collect())
    return "\n".join([_HEAD, *sections, f"## Carrier simulator\n\n{_TABLE}{simulator}"])


def modules() -> Iterator[ModuleType]:
    """Every module named `metrics`: metrics are defined nowhere else."""
    for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if found.name.endswith(".metrics"):
            yield import_module(found.name)


def _title(module: ModuleType) -> str:
    part = module.__name__.split(".")[-2]
    return {"ops": "Stages", "gateway": "Gateway", "store": "Read model"}.get(part, part.capitalize())


def _metrics(module: ModuleType) -> Iterator[MetricWrapperBase]:
    return (value for value in vars(module).values() if isinstance(value, MetricWrapperBase))


def _row(metric: MetricWrapperBase) -> str:
    (described,) = metric.describe()
    return _row_of(described, metric._labelnames)


def _row_of(metric: Metric, labels: tuple[str, ...]) -> str:
    name = metric.name + "_total" if metric.type == "counter" else metric.name
    return f"| `{name}` | {metric.type} | {', '.join(labels)} | {metric.documentation} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
