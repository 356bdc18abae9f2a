"""The jars of the embedded broker: resolved by jgo, pinned and checked by `kafka-jars.lock`.

The lock holds one line a jar, `group:artifact:version sha256`. After changing ROOTS, write it anew with

    python -m pipeline.ops.kafka_jars lock

Checked jars are kept in the user's cache directory, in a folder named after the lock's own hash; a start that finds
them there needs neither network nor jgo, and hashes them again (44 MB, 0.1 s).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from pipeline.ops.child import StartError

ROOTS = ("org.apache.kafka:kafka_2.13:4.1.2", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka-jars.lock")

log = structlog.get_logger(__name__)


def resolve(lock: Path = LOCK, cache: Path | None = None) -> list[Path]:
    """Return the broker's class path: every jar the lock names, each with the hash the lock gives.

    `cache` defaults to `sms-pipeline` in the user's cache directory. Raises StartError that names the jar when a
    coordinate or a hash differs, or says why the jars could not be downloaded.
    """
    expected = read_lock(lock)
    directory = (cache or _user_cache()) / f"kafka-jars-{_sha256(lock)[:12]}"
    jars = {coordinate: directory / _file_name(coordinate) for coordinate in expected}
    missing = [coordinate for coordinate, jar in jars.items() if not jar.exists()]
    if missing:
        directory.mkdir(parents=True, exist_ok=True)
        log.info("fetching the broker's jars", jars=len(missing), into=str(directory))
        _fetch(expected, {coordinate: jars[coordinate] for coordinate in missing})
    for coordinate, jar in jars.items():
        _check(coordinate, jar, expected[coordinate])
    return list(jars.values())


def read_lock(lock: Path) -> dict[str, str]:
    """Read a lock file into {"group:artifact:version": sha256}."""
    return dict(line.split() for line in lock.read_text().splitlines())


def write_lock(lock: Path = LOCK) -> int:
    """Resolve ROOTS, download every jar and write the lock. Returns the number of jars."""
    with tempfile.TemporaryDirectory() as scratch:
        artifacts = _artifacts(Path(scratch))
        lines = sorted(f"{coordinate} {_sha256(artifact.resolve())}\n" for coordinate, artifact in artifacts.items())
    lock.write_text("".join(lines))
    return len(lines)


def _fetch(expected: Mapping[str, str], wanted: Mapping[str, Path]) -> None:
    """Place the wanted jars, each only once it is whole and checked, so that an interrupted or concurrent fetch
    leaves nothing half-written."""
    any_jar = next(iter(wanted.values()))
    with tempfile.TemporaryDirectory(dir=any_jar.parent.parent, prefix="fetch-") as scratch:
        try:
            artifacts = _artifacts(Path(scratch))
            compare(expected, artifacts)
            with ThreadPoolExecutor(8) as pool:
                sources = list(pool.map(lambda coordinate: artifacts[coordinate].resolve(), wanted))
        except (OSError, RuntimeError) as error:
            raise StartError(f"the broker's jars could not be downloaded from Maven Central: {error}") from error
        for (coordinate, jar), source in zip(wanted.items(), sources, strict=True):
            _check(coordinate, source, expected[coordinate])
            whole = shutil.copyfile(source, Path(scratch, jar.name))
            os.replace(whole, jar)


def _artifacts(scratch: Path) -> dict[str, Any]:
    """Resolve ROOTS and all they need at run time into {coordinate: jgo artifact}; downloads poms, not jars.

    Downloads go to `scratch`, because jgo writes in place and takes half a file for a whole one later; the local
    Maven repository is only read.
    """
    from jgo.config import GlobalSettings  # imported here: slow, and not needed once the jars are cached
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    context = MavenContext(
        repo_cache=scratch,
        local_repos=[settings.repo_cache],
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        timeout=30,
    )
    roots, rest = context.resolver.resolve([context.create_dependency(root) for root in ROOTS])
    needed = [*roots, *(dependency for dependency in rest if dependency.scope in ("compile", "runtime"))]
    return {f"{d.groupId}:{d.artifactId}:{d.version}": d.artifact for d in needed}


def compare(expected: Mapping[str, str], resolved: Mapping[str, object]) -> None:
    """Raise StartError that names the differing coordinates unless the lock and what was resolved have the same."""
    missing = sorted(expected.keys() - resolved.keys())
    extra = sorted(resolved.keys() - expected.keys())
    if missing or extra:
        raise StartError(
            f"the broker's jars differ from {LOCK.name}: expected {', '.join(missing) or 'no other'}; "
            f"got {', '.join(extra) or 'no other'}"
        )


def _check(coordinate: str, jar: Path, expected: str) -> None:
    got = _sha256(jar)
    if got != expected:
        raise StartError(
            f"{coordinate} is not the jar that {LOCK.name} pins: expected sha256 {expected}, got {got}; "
            f"delete {jar} and start again"
        )


def _file_name(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sms-pipeline")


if __name__ == "__main__":
    if sys.argv[1:] != ["lock"]:
        sys.exit("usage: python -m pipeline.ops.kafka_jars lock")
    log.info("lock written", jars=write_lock(), path=str(LOCK))
