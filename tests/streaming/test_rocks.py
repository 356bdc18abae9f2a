"""A store keeps its values over openings and compactions, for as long as it is told to."""

import time
from pathlib import Path

import pytest
import rocksdict

from pipeline.streaming.rocks import Rocks


def fill(path: Path, keep_seconds: int | None, life: int) -> None:
    store = Rocks(keep_seconds).open(path)
    for number in range(100):
        batch = rocksdict.WriteBatch(raw_mode=True)
        batch.put(b"%d-%d" % (life, number), b"value")
        batch.put(b"last", b"%d" % number)
        store.write(batch)
    store.close()


@pytest.mark.parametrize("keep_seconds", [None, 3 * 24 * 3600])
def test_nothing_is_forgotten_before_its_time_however_often_it_is_opened(
    tmp_path: Path, keep_seconds: int | None
) -> None:
    for life in range(6):
        fill(tmp_path / "store", keep_seconds, life)
    store = Rocks(keep_seconds).open(tmp_path / "store")
    store.compact_range(None, None)
    assert len(list(store.keys())) == 601
    assert {value for key, value in store.items() if key != b"last"} == {b"value"}
    store.close()


def test_what_is_too_old_goes_with_a_compaction(tmp_path: Path) -> None:
    fill(tmp_path / "store", 1, 0)
    until = time.time() + 2.5
    while time.time() < until:
        time.sleep(0.1)
    fill(tmp_path / "store", 1, 1)
    store = Rocks(1).open(tmp_path / "store")
    store.compact_range(None, None)
    assert {key[:2] for key, _ in store.items() if key != b"last"} == {b"1-"}
    store.close()
