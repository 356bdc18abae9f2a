"""The chaos suite's short form: one seed, all kinds of faults. `make chaos` is the long one."""

import pytest

from .faults import FAULTS
from .run import Wanted, run

pytestmark = pytest.mark.e2e

SEED, MESSAGES, KILLS = 1, 2_000, 4


def test_nothing_is_lost_or_doubled_whatever_dies() -> None:
    report = run(Wanted(SEED, MESSAGES, list(FAULTS), KILLS))
    shown = "\n".join(f"{found.kind}: {found.about}: {found.what}" for found in report.verdict.findings[:20])
    assert report.good, f"{shown}\nkept: {report.directory}\nagain: {report.wanted.command}"
    assert report.kills >= KILLS and report.verdict.messages == MESSAGES
