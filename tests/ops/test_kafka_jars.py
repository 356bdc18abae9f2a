"""The lock of the broker's jars. The jars themselves are resolved once by the machine's own cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.ops.child import StartError
from pipeline.ops.kafka_jars import LOCK, ROOTS, compare, read_lock, resolve


def locked(tmp_path: Path, jars: dict[str, bytes]) -> Path:
    """Write a lock over made-up jars and lay them into the cache that belongs to it."""
    lock = tmp_path / "kafka-jars.lock"
    lock.write_text("".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in jars.items()))
    directory = tmp_path / "cache" / f"kafka-jars-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    directory.mkdir(parents=True)
    for name, content in jars.items():
        _, artifact, version = name.split(":")
        (directory / f"{artifact}-{version}.jar").write_bytes(content)
    return lock


def test_the_lock_pins_the_roots_and_names_no_host() -> None:
    lock = read_lock(LOCK)
    assert len(lock) == 46
    assert set(ROOTS) <= lock.keys()
    assert all(len(sha256) == 64 for sha256 in lock.values())
    assert "/" not in LOCK.read_text()
    assert list(lock) == sorted(lock)


def test_the_real_class_path_is_complete() -> None:
    jars = resolve()
    assert len(jars) == len(read_lock(LOCK))
    assert sum(jar.stat().st_size for jar in jars) > 40_000_000


def test_cached_jars_need_no_network(tmp_path: Path) -> None:
    lock = locked(tmp_path, {"org.one:one:1.0": b"one", "org.two:two:2.0": b"two"})
    assert [jar.name for jar in resolve(lock, tmp_path / "cache")] == ["one-1.0.jar", "two-2.0.jar"]


def test_a_jar_with_another_hash_is_refused_by_name(tmp_path: Path) -> None:
    lock = locked(tmp_path, {"org.one:one:1.0": b"one", "org.two:two:2.0": b"two"})
    (forged,) = (tmp_path / "cache").rglob("two-2.0.jar")
    forged.write_bytes(b"tow")
    expected, got = (hashlib.sha256(content).hexdigest() for content in (b"two", b"tow"))
    with pytest.raises(StartError, match=rf"org\.two:two:2\.0 .*expected sha256 {expected}, got {got}.*two-2\.0\.jar"):
        resolve(lock, tmp_path / "cache")


def test_a_resolved_jar_with_another_hash_never_enters_the_cache(tmp_path: Path) -> None:
    right = read_lock(LOCK)["org.slf4j:slf4j-api:1.7.36"]
    lock = tmp_path / "kafka-jars.lock"
    lock.write_text(LOCK.read_text().replace(right, "0" * 64))
    directory = tmp_path / "cache" / f"kafka-jars-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    directory.mkdir(parents=True)
    for jar in resolve():  # all are there but the wrong one
        if jar.name != "slf4j-api-1.7.36.jar":
            os.symlink(jar, directory / jar.name)
    with pytest.raises(StartError, match=rf"org\.slf4j:slf4j-api:1\.7\.36 .*expected sha256 0{{64}}, got {right}"):
        resolve(lock, tmp_path / "cache")
    assert not (directory / "slf4j-api-1.7.36.jar").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [directory.name], "no scratch left"


def test_coordinates_must_equal_the_lock() -> None:
    same = {"org.one:one:1.0": "aa", "org.two:two:2.0": "bb"}
    compare(same, same)
    with pytest.raises(StartError, match=r"expected org\.two:two:2\.0; got org\.two:two:2\.1"):
        compare(same, {"org.one:one:1.0": "", "org.two:two:2.1": ""})
    with pytest.raises(StartError, match=r"expected no other; got org\.three:three:3"):
        compare(same, {**same, "org.three:three:3": ""})
