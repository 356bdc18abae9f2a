"""Requests made to hurt: they grow, or are too large for what the pipeline itself writes. None ends a process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from endtoend import codes, numbers
from wholesystem import GOOD, LANDLINE, REQUEST_BYTES, System

pytestmark = pytest.mark.e2e


def noise(length: int) -> str:
    """Text that hardly compresses."""
    return random.Random(length).randbytes(length).hex()[:length]


@contextmanager
def modest(pid: int) -> Iterator[None]:
    """Meanwhile the process never takes more than 200 MB on top of what it has."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): forgets the peak
    before = peak_memory(pid)
    yield
    assert peak_memory(pid) < before + 200_000_000


def peak_memory(pid: int) -> int:
    """The most memory that the process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.parametrize("levels", [300, 700])
@pytest.mark.parametrize("field", ["custom", "callback", "nonsense"])
def test_deeply_nested_request_is_told(plain: System, field: str, levels: int) -> None:
    """It is read, so it has a status record, not only a dead letter."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"deep": deep}
    given: Any = {"url": "https://example.com/", "custom": deep} if field == "callback" else deep
    (told,) = plain.told([GOOD], **{field: given})
    assert told["state"] == "DELIVERED" or told["error"]["code"] == 3001


def test_large_custom_is_not_multiplied(plain: System) -> None:
    """Each of 1,000 recipients would carry it in each of its three status records: 1.5 GB."""
    told = plain.told(numbers(1000), custom={"large": "x" * 500_000})
    assert set(codes(told)) == {3001}


def test_template_that_grows_beyond_all_bounds(plain: System) -> None:
    """1,000 times 100,000 characters: refused without making them."""
    fields = {"a": "x" * 100_000}
    with modest(plain.pids["intake-0"]):
        told = plain.told([{"number": GOOD, "fields": fields}, LANDLINE], "{{a}}" * 1000)
    assert codes(told) == [3005, 2011]


def test_template_of_very_many_placeholders_for_many(plain: System) -> None:
    """100,000 times 500 values: refused without making them, and without the process standing still."""
    recipients = [{"number": number, "fields": {"a": "x"}} for number in numbers(500)]
    with modest(plain.pids["intake-0"]):
        told = plain.told(recipients, "{{a}}" * 100_000)
    assert {one["error"]["message"] for one in told} == {"message: 100000 placeholders; there may be 1000"}
    assert set(codes(told)) == {3005}


def test_long_template_for_many(plain: System) -> None:
    """500 texts of 3 MB, each another: refused without making them, and without the process standing still."""
    recipients = [{"number": number, "fields": {"a": number}} for number in numbers(500)]
    with modest(plain.pids["intake-0"]):
        told = plain.told(recipients, noise(3_000_000) + "{{a}}")
    assert set(codes(told)) == {3005}


def test_slices_with_much_in_common_fit_their_records(plain: System) -> None:
    """Ten slices of personalised recipients, each with the whole text, not to be compressed: no record of ours grows
    past what Kafka takes."""
    recipients = [{"number": number, "fields": {"a": noise(20_000)}} for number in numbers(80)]
    told = plain.told(recipients, noise(2_000_000) + "{{a}}")
    assert set(codes(told)) == {3005}


@pytest.mark.parametrize(
    "value",
    [b"x" * 20 * 1024 * 1024, random.Random(1).randbytes(8 * 1024 * 1024 - 700)],
    ids=["compressed", "as it is"],
)
def test_record_larger_than_ours_may_be(plain: System, value: bytes) -> None:
    """The broker takes it, compressed or just so: with the headers of a dead letter it is larger still."""
    assert f"at most {REQUEST_BYTES}" in plain.refused(value)


def test_nothing_else_went_wrong(plain: System) -> None:
    plain.assert_sound()
