"""The commands, driven as a user does."""

import json
import time
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.config import Settings


class Cli:
    """Runs commands against the Kafka and topics of `settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SMS_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "SMS_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "SMS_STORAGE__DIRECTORY": str(settings.storage.directory),
        }

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        """Run a command, expecting an exit code."""
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=self.environment, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str, code: int = 0, stdin: str | None = None) -> list[dict[str, Any]]:
        """The objects a command with --json prints, a line each."""
        result = self(*arguments, "--json", code=code, stdin=stdin)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def refused(self, *arguments: str, code: int = 1) -> str:
        """The one line on standard error of a command that ends with `code` and prints nothing."""
        result = self(*arguments, code=code)
        assert result.stdout == ""
        assert result.stderr.startswith("sms-pipeline: ")
        assert result.stderr.count("\n") == 1
        return result.stderr


def wait_for(done: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `done` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.05)
    return found
