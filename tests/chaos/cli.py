"""`python -m tests.chaos`: run seeds, print what the oracle says of each, exit 1 where anything is wrong."""

import argparse
import json
import logging
import statistics
import sys
from typing import Any

from .faults import FAILPOINTS, FAULTS
from .oracle import Wrong
from .run import Report, Wanted, run

#: Findings printed of a seed; the file in its directory has them all.
_SHOWN = 10
_COLUMNS = (
    "seed", "messages", "sent", "kills", "others", "lost", "conflicts", "sent twice", "charged", "ledger", "in doubt",
    "by deaths", "unknown", "misreported", "dead letters", "store", "stuck", "recovery p50", "max", "seconds",
)  # fmt: skip


def main() -> None:
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what we wanted
    names = arguments.faults.split(",") if arguments.faults else list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        sys.exit(f"no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    reports = []
    if not arguments.json:
        print(_line(dict(zip(_COLUMNS, _COLUMNS, strict=True))))
    for seed in _seeds(arguments.seeds):
        report = run(Wanted(seed, arguments.messages, names, arguments.kills), keep=arguments.keep)
        reports.append(report)
        print(json.dumps(_row(report)) if arguments.json else _line(_row(report)), flush=True)
        if report.directory:
            _complain(report)
    reached = set().union(*(report.reached for report in reports))
    if arguments.json:
        print(json.dumps({**_sum(reports), "failpoints": sorted(reached)}))
    else:
        print(_line(_sum(reports)))
        missed = [point for point in FAILPOINTS if point not in reached]
        print(f"failpoints: {len(reached)} of {len(FAILPOINTS)} reached; not {', '.join(missed) or 'one is missing'}")
    sys.exit(any(not report.good for report in reports))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", default="1..20", help="1..20, or 7, or 1..3,7")
    parser.add_argument("--messages", type=int, default=20_000, help="a seed")
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs a seed, at least")
    parser.add_argument("--faults", default="", help=f"some of {', '.join(FAULTS)}")
    parser.add_argument("--keep", action="store_true", help="keep the directories of good seeds too")
    parser.add_argument("--json", action="store_true", help="an object a seed, and one of the sums")
    return parser.parse_args()


def _seeds(text: str) -> list[int]:
    """`1..3,7` is 1, 2, 3 and 7."""
    ranges = [(first, last or first) for first, _, last in (part.partition("..") for part in text.split(","))]
    return [seed for first, last in ranges for seed in range(int(first), int(last) + 1)]


def _row(report: Report) -> dict[str, Any]:
    """A seed's figures, by column."""
    count = report.verdict.count
    return {
        "seed": report.wanted.seed,
        "messages": report.verdict.messages,
        "sent": report.verdict.sent,
        "kills": report.kills,
        "others": report.others,
        "lost": count(Wrong.LOST),
        "conflicts": count(Wrong.CONFLICT),
        "sent twice": count(Wrong.SENT_TWICE),
        "charged": count(Wrong.CHARGED),
        "ledger": count(Wrong.LEDGER),
        "in doubt": report.verdict.in_doubt,
        "by deaths": f"{report.verdict.unexplained}/{report.doubt_bound}",
        "unknown": count(Wrong.UNKNOWN),
        "misreported": count(Wrong.MISREPORTED),
        "dead letters": report.verdict.dead_letters,
        "store": count(Wrong.STORE),
        "stuck": count(Wrong.STUCK),
        **_recovery([recovery.seconds for recovery in report.recoveries if recovery.undisturbed]),
        "seconds": round(report.seconds),
    }


def _recovery(seconds: list[float]) -> dict[str, Any]:
    return {
        "recovery p50": round(statistics.median(seconds), 1) if seconds else None,
        "max": round(max(seconds), 1) if seconds else None,
    }


def _sum(reports: list[Report]) -> dict[str, Any]:
    rows = [_row(report) for report in reports]
    seconds = [r.seconds for report in reports for r in report.recoveries if r.undisturbed]
    summed = {name: sum(row[name] for row in rows) for name in _COLUMNS if isinstance(rows[0][name], int)}
    doubt = f"{sum(r.verdict.unexplained for r in reports)}/{sum(r.doubt_bound for r in reports)}"
    return {**summed, "seed": "all", "by deaths": doubt, **_recovery(seconds)}


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{row[name]!s:>{max(6, len(name))}}" for name in _COLUMNS)


def _complain(report: Report) -> None:
    for finding in report.verdict.findings[:_SHOWN]:
        print(f"    {finding.kind}: {finding.about}: {finding.what}", file=sys.stderr)
    if (more := len(report.verdict.findings) - _SHOWN) > 0:
        print(f"    and {more} more", file=sys.stderr)
    print(f"    kept: {report.directory} (findings.txt, chaos.ndjson, logs, journals, broker data)", file=sys.stderr)
    print(f"    again: {report.wanted.command}", file=sys.stderr, flush=True)
