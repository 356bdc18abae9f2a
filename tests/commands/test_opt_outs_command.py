import asyncio
import time
from pathlib import Path

import broker
import pytest
from driving import Cli

from pipeline.optouts import OptOutDirectory, key
from pipeline.streaming.topics import TopicNames

ADA, BOB, CYD = "+393331111111", "+393332222222", "+4915123456789"


@pytest.fixture
def cli(still: Cli) -> Cli:
    """The commands, with two accounts."""
    for account in ("acme", "globex"):
        still("account", "create", account)
    return still


def listed(cli: Cli, *account: str) -> list[tuple[str, str]]:
    return [(one["account"], one["recipient"]) for one in cli.json("opt-outs", "list", *account)]


def written(cli: Cli) -> int:
    """Records on the topic, tombstones among them."""
    return len(broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).opt_outs))


def test_added_listed_and_removed(cli: Cli) -> None:
    assert cli("opt-outs", "list").stdout == "no opt-outs\n"
    assert "acme: 2 added, 0 were there" in cli("opt-outs", "add", "acme", CYD, ADA, ADA).stdout
    cli("opt-outs", "add", "globex", BOB)
    first, second = cli.json("opt-outs", "list", "acme")
    assert (first["account"], first["recipient"], first["source"]) == ("acme", ADA, "command")
    assert second["recipient"] == CYD and second["at"].endswith("Z")
    assert listed(cli) == [("acme", ADA), ("acme", CYD), ("globex", BOB)]
    rows = cli("opt-outs", "list").stdout.splitlines()
    assert rows[1].split() == ["acme", ADA, first["at"], "command"]
    assert "acme: 1 removed, 1 were not there" in cli("opt-outs", "remove", "acme", ADA, BOB).stdout
    assert listed(cli) == [("acme", CYD), ("globex", BOB)]


def test_what_is_there_keeps_its_time_and_nothing_is_written(cli: Cli) -> None:
    cli("opt-outs", "add", "acme", ADA)
    before = cli.json("opt-outs", "list")
    assert "0 added, 1 were there" in cli("opt-outs", "add", "acme", ADA).stdout
    assert cli.json("opt-outs", "list") == before
    assert written(cli) == 1


def test_everybody_is_an_account_of_its_own_and_warned_about(cli: Cli) -> None:
    result = cli("opt-outs", "add", "*", ADA)
    assert "every account" in result.stderr and "every account (*): 1 added" in result.stdout
    cli("opt-outs", "add", "acme", BOB)
    assert listed(cli, "*") == [("*", ADA)]
    assert listed(cli, "acme") == [("acme", BOB)]
    assert "* is every account" in cli("opt-outs", "list").stdout
    assert "* is every account" not in cli("opt-outs", "list", "acme").stdout
    assert "1 were not there" in cli("opt-outs", "remove", "acme", ADA).stdout
    assert "1 removed" in cli("opt-outs", "remove", "*", ADA).stdout


def test_a_file_of_numbers_and_standard_input(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "numbers.txt"
    file.write_bytes(f"\ufeff{ADA}\r\n\n  {BOB} \n{ADA}".encode())
    assert "2 added" in cli("opt-outs", "add", "acme", "--file", str(file)).stdout
    assert "1 added, 1 were there" in cli("opt-outs", "add", "acme", CYD, "--file", "-", stdin=f"{BOB}\n").stdout
    assert listed(cli) == [("acme", ADA), ("acme", BOB), ("acme", CYD)]
    assert "3 removed" in cli("opt-outs", "remove", "acme", "--file", "-", stdin=f"{BOB}\n{ADA}\n{CYD}\n").stdout


def test_bad_lines_are_told_by_line_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "numbers.txt"
    file.write_bytes(f"{ADA}\n\n39 333 111 1112\n\xff\n{BOB}\n".encode("latin-1"))
    result = cli("opt-outs", "add", "acme", "none", "--file", str(file), code=2)
    assert result.stdout == ""
    first, second, third, end = result.stderr.splitlines()
    assert "'none': letters" in first
    assert "line 3: '39 333 111 1112': " in second and "write it as +393331111112" in second
    assert "line 4: " in third
    assert "3 are no numbers, nothing was changed" in end
    assert written(cli) == 0

    result = cli("opt-outs", "add", "acme", "--file", str(file), "--skip-bad")
    assert "2 that are no numbers left out" in result.stderr and "2 added" in result.stdout
    assert listed(cli) == [("acme", ADA), ("acme", BOB)]


def test_a_file_of_another_kind_is_not_told_line_by_line_for_ever(cli: Cli) -> None:
    result = cli("opt-outs", "add", "acme", "--file", "-", stdin="name,number\n" * 1000, code=2)
    assert "and 900 more" in result.stderr
    assert result.stderr.count("\n") == 102


def test_arguments_that_cannot_be(cli: Cli, tmp_path: Path) -> None:
    assert "no numbers" in cli.refused("opt-outs", "add", "acme", code=2)
    assert "no numbers" in cli.refused("opt-outs", "remove", "acme", "--file", "-", code=2)
    assert "No such file" in cli.refused("opt-outs", "add", "acme", "--file", str(tmp_path / "no"), code=2)
    for command in (["add", "ghost", ADA], ["remove", "ghost", ADA], ["list", "ghost"]):
        assert "no account ghost; create it with" in cli.refused("opt-outs", *command)


def test_many_are_written_quickly_and_all_are_seen(cli: Cli) -> None:
    numbers = [f"+3933{n:08d}" for n in range(60_000)]
    started = time.monotonic()
    assert "60000 added" in cli("opt-outs", "add", "acme", "--file", "-", stdin="\n".join(numbers)).stdout
    assert time.monotonic() - started < 30

    async def seen() -> list[str]:
        directory = OptOutDirectory(cli.settings)
        await directory.start()
        try:
            return directory.page("acme", "", len(numbers) + 1)
        finally:
            await directory.stop()

    assert asyncio.run(seen()) == numbers
    assert "60000 removed" in cli("opt-outs", "remove", "acme", "--file", "-", stdin="\n".join(numbers)).stdout
    assert listed(cli) == []


def test_a_record_of_others_is_shown_as_far_as_it_can_be_read(cli: Cli) -> None:
    topic = TopicNames(cli.settings.kafka.topic_prefix).opt_outs
    broker.produce(cli.settings, topic, [(key("acme", ADA), b"?", 0), (b"nobody", b"{}", 0)])
    assert cli.json("opt-outs", "list") == [{"account": "acme", "recipient": ADA, "at": None, "source": None}]
    assert ADA in cli("opt-outs", "list").stdout
