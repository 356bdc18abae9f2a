"""The moderation's lists as files: what is wrong with one is said, and what was in force stays."""

from pathlib import Path

import pytest

from pipeline import lists
from pipeline.config import ConfigError, Moderation, Settings, Storage
from pipeline.lists import Entry
from pipeline.prohibited import WatchedLists


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    terms, domains = tmp_path / "terms.txt", tmp_path / "domains.txt"
    terms.write_text("casino\n")
    domains.write_text("evil.example  # since 2025\n")
    return Settings(
        storage=Storage(directory=tmp_path / "data"), moderation=Moderation(terms=[terms], blocked_domains=[domains])
    )


def hits(watched: WatchedLists, text: str) -> list[str]:
    return [hit.term for hit in watched.rules.find(text)]


FAULTS = {
    "faulty": (lambda path: path.write_text("lottery\nx | nonsense=1\n"), "line 2"),
    "missing": (lambda path: path.unlink(), "cannot be read"),
    "not UTF-8": (lambda path: path.write_bytes(b"caf\xe9\n"), "not UTF-8 (byte 3)"),
    "being written": (lambda path: path.write_bytes(b""), "is empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_starts_again_goes_on_with_what_was_in_force(settings: Settings, fault: str) -> None:
    (path,) = settings.moderation.terms
    spoil, told = FAULTS[fault]
    assert hits(WatchedLists(settings), "casino") == ["casino"]
    spoil(path)
    with pytest.raises(ConfigError, match=str(path)) as error:
        lists.rules(settings)
    assert told in str(error.value)
    again = WatchedLists(settings)
    assert hits(again, "casino at evil.example, lottery") == ["casino", "evil.example"]
    path.write_text("lottery\n")
    assert hits(WatchedLists(settings), "casino, lottery") == ["lottery"]


def test_a_fault_at_the_very_first_start_is_said(settings: Settings) -> None:
    settings.moderation.blocked_domains[0].write_text("no domain\n")
    with pytest.raises(ConfigError, match="no domain"):
        WatchedLists(settings)


def test_entries_of_the_topic_are_judged_like_those_of_files(settings: Settings) -> None:
    good = [Entry("term", "lott*", "flag", countries=("IT",)), Entry("allowed-domain", "evil.example")]
    bad = [Entry("term", "# a comment"), Entry("term", "x", countries=("Italy",)), Entry("blocked-domain", "no domain")]
    assert [entry.fault is None for entry in (*good, *bad)] == [True, True, False, False, False]
    found = lists.rules(settings, (*good, *bad)).find("lottery at evil.example, x")
    assert [(hit.term, hit.severity, hit.countries) for hit in found] == [("lott", "flag", ("IT",))]
