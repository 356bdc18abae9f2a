"""The simulator's pure parts: fates by hash, distinct references, reading the journal back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.carriers.simulator import Behaviour, Journal
from pipeline.carriers.simulator.behaviour import Oracle
from pipeline.carriers.simulator.journal import Distinct, Entry

SHARES = ("undeliverable", "expired", "reject", "silent", "duplicate", "early", "disorder", "without_reference")


@given(st.integers(), st.text("0123456789abcdef", min_size=1, max_size=24))
def test_a_fate_hangs_on_seed_and_reference_alone(seed, reference):
    behaviour = Behaviour(seed=seed, undeliverable=0.5, reject=0.5, early=0.5, receipt_delay=(1, 2))
    fate = Oracle(behaviour).message(reference)
    assert fate == Oracle(behaviour).message(reference)
    assert 1 <= fate.delay <= 2
    with_more = behaviour.model_copy(update={"silent": 1.0, "duplicate": 1.0})  # other habits change nothing else
    assert Oracle(with_more).message(reference).rejected == fate.rejected


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_shares_are_kept(share):
    oracle = Oracle(Behaviour(**(dict.fromkeys(SHARES[2:], share) | {"undeliverable": share})))
    fates = [oracle.message(f"{n:024x}") for n in range(5000)]
    for habit in SHARES[2:]:
        name = "rejected" if habit == "reject" else habit
        assert sum(getattr(fate, name) for fate in fates) / 5000 == pytest.approx(share, abs=0.03)
    assert sum(fate.status == "UNDELIV" for fate in fates) / 5000 == pytest.approx(share, abs=0.03)


def test_fates_of_requests_change_from_try_to_try():
    oracle = Oracle(Behaviour(throttle=0.25, unavailable=0.25, error=0.25, cut=0.25))
    seen = [oracle.request("key", count)[0] for count in range(200)]
    assert {*seen} == {"throttle", "unavailable", "error", "cut"}
    assert seen == [oracle.request("key", count)[0] for count in range(200)]
    assert Oracle(Behaviour()).request("key", 1)[0] == "answer"


@pytest.mark.parametrize(
    "wrong",
    [
        {"reject": 1.1},
        {"silent": -0.1},
        {"undeliverable": 0.6, "expired": 0.5},
        {"throttle": 0.5, "cut": 0.6},
        {"receipt_delay": (2, 1)},
        {"receipt_delay": (-1, 1)},
        {"latency": -1},
        {"unknown": 1},
    ],
)
def test_behaviour_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Behaviour(**wrong)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda n: n << 8), max_size=300))
def test_distinct_counts_as_a_set_does(fingerprints):
    distinct, seen = Distinct(), set()
    for fingerprint in fingerprints:
        assert distinct.add(fingerprint) == ((fingerprint or 1) not in seen)
        seen.add(fingerprint or 1)
        assert distinct.count == len(seen)


def test_the_journal_is_read_back_from_any_line(tmp_path):
    entries = [Entry(str(n), "id", "ACME", "+39", 1, "x" * 1000, "key", "", 1) for n in range(2500)]  # 2.5 MB
    with Journal(tmp_path / "journal.ndjson") as journal:
        journal.write(entries)
        lines = journal.path.read_bytes().splitlines(keepends=True)
        assert len(lines) == 2500
        for since in (0, 1, 900, 935, 936, 2000, 2499, 2500, 9999):
            assert b"".join(journal.chunks(since)) == b"".join(lines[since:])
    with Journal(journal.path) as again:  # goes on where it ended
        again.write(entries[:1])
        assert b"".join(again.chunks(2500)) == lines[0]
