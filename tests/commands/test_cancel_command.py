"""`send --send-at`, `--quiet-hours` and `cancel`, on a system without dispatch: what is sent stays where it is."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from driving import Cli, wait_for
from typer.testing import CliRunner

from pipeline.cli import app
from schemas import errors

AT = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
TO = ("--to", "+393331234567", "--to", "+393331234568")


@pytest.fixture(scope="module")
def account(running: Cli) -> str:
    running("account", "create", "later", "--credit", "10")
    return "later"


def sent(cli: Cli, account: str, request: str, *more: str) -> list[str]:
    """Ids of the messages of a request, once they are told to be scheduled."""
    made = cli.json("send", "--account", account, "--text", "Hi", "--request-id", request, *TO, *more)
    ids = [one["id"] for one in made]
    wait_for(lambda: states(cli, *ids) == ["SCHEDULED"] * 2, 30)
    return ids


def states(cli: Cli, *messages: str) -> list[str]:
    """As the read model has them by now."""
    result = CliRunner().invoke(app, ["status", *messages, "--json"], env=cli.environment)
    return [json.loads(line)["detailedState"] for line in result.stdout.splitlines()]


def test_scheduled_and_cancelled_one_by_one(running: Cli, account: str) -> None:
    first, second = sent(running, account, "one by one", "--send-at", AT)
    shown = running("cancel", first.upper(), "--account", account).stdout
    assert f"sms-pipeline status {first}" in shown
    wait_for(lambda: states(running, first, second) == ["CANCELED", "SCHEDULED"])
    (said,) = running.json("cancel", second)  # an operator, whosever it is
    assert said["messages"] == [second]
    wait_for(lambda: states(running, first, second) == ["CANCELED"] * 2)
    (told,) = running.json("status", first)
    assert told["error"]["code"] == errors.CANCELED
    wait_for(lambda: running.json("account", "show", account)[0]["reserved"] == "0.00")


def test_a_whole_request(running: Cli, account: str) -> None:
    begin = datetime.now(UTC) - timedelta(hours=2)  # quiet for some hours yet, in Italy too
    hours = f"{begin:%H:%M}-{begin + timedelta(hours=8):%H:%M}"
    ids = sent(running, account, "at night", "--quiet-hours", hours)
    assert "--request at night" in running("cancel", "--account", account, "--request", "at night").stdout
    wait_for(lambda: states(running, *ids) == ["CANCELED"] * 2)


def test_what_is_wrong_is_said(running: Cli, account: str) -> None:
    assert "give message ids" in running.refused("cancel", code=2)
    assert "--account" in running.refused("cancel", "--request", "x", code=2)
    assert "24 hex digits" in running.refused("cancel", "nonsense", code=2)
    assert "no account nobody" in running.refused("cancel", "--request", "x", "--account", "nobody")
    send = ("send", "--account", account, "--text", "Hi", *TO)
    assert "no offset" in running.refused(*send, "--send-at", "2030-01-01T00:00:00", code=2)
    assert "quietHours" in running.refused(*send, "--quiet-hours", "night", code=2)
