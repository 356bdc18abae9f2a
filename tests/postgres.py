"""A private PostgreSQL for tests, of Debian's packages or any other, and databases on it."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The server refuses to run as root, and is then started as this user of Debian's package.
_USER = "postgres"
_SAFE_ENOUGH = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=",
    "max_connections=40",
]


def missing() -> str | None:
    """Why there can be no server here; None where there can."""
    if os.environ.get("SMS_TEST_POSTGRES"):
        return None
    if _binaries() is None:
        return "no PostgreSQL here: install Debian's package postgresql, or name a server in SMS_TEST_POSTGRES"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_USER)
        except KeyError:
            return f"PostgreSQL does not run as root, and there is no user {_USER}"
    return None


@contextmanager
def server() -> Iterator[str]:
    """URL of a server's maintenance database: that of SMS_TEST_POSTGRES, else one started here, on a socket only."""
    if given := os.environ.get("SMS_TEST_POSTGRES"):
        yield given
        return
    binaries = _binaries()
    assert binaries
    directory = Path(tempfile.mkdtemp(prefix="smspg"))  # a socket's path is short
    if os.geteuid() == 0:
        shutil.chown(directory, _USER)
    data = directory / "data"
    options = " ".join(f"-c {setting}" for setting in [*_SAFE_ENOUGH, f"unix_socket_directories={directory}"])
    try:
        # A language whose order of texts is not that of their bytes.
        initdb = [binaries / "initdb", "-D", data, "-U", "sms", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        if not _run(*initdb, "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"):
            assert _run(*initdb, "--locale=C.UTF-8"), "initdb failed"
        log = directory / "log"
        assert _run(binaries / "pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start"), log.read_text()
        try:
            yield f"postgresql://sms@/postgres?host={directory}"
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def database(url: str, template: str = "") -> Iterator[str]:
    """URL of a new database on the server: an empty one, or a copy of the one at the URL `template`."""
    import psycopg

    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        like = f" TEMPLATE {template.partition('?')[0].rpartition('/')[2]}" if template else ""
        connection.execute(f"CREATE DATABASE {name}{like}")
        try:
            yield url.replace("/postgres?", f"/{name}?")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).parent
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    return there[-1].parent if there else None


def _run(*command: str | Path) -> bool:
    """Run as a user that is not root."""
    before = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
    words = [*before, *map(str, command)]
    done = subprocess.run(words, cwd="/", capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode == 0
