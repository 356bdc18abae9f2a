"""`account holds`, `hold` and `release`: an operator's word on ranges of numbers, as it stands on the topic."""

import re

import broker
import pytest
from driving import Cli

from pipeline.accounts import Register
from pipeline.streaming.topics import TopicNames

RANGE = "+20100123"


def known(cli: Cli) -> Register:
    """What every process is told."""
    register = Register()
    for record in broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).accounts):
        register.take(record.key, record.value)
    return register


def test_held_and_released_as_everybody_is_told(still: Cli) -> None:
    for name in ("acme", "zeta"):
        still("account", "create", name)
    assert still.json("account", "holds") == []
    assert f"{RANGE} is held" in still("account", "hold", "acme", RANGE, "--reason", "codes at night").stdout
    still("account", "hold", "zeta", "23480212 3xxxx")
    held, other = still.json("account", "holds")
    assert re.fullmatch(r"20..-..-..T..:..:..\.\d{3}Z", held.pop("at"))
    assert held == {"account": "acme", "range": RANGE, "state": "held", "reason": "codes at night", "batch": None}
    assert (other["account"], other["range"]) == ("zeta", "+234802123")
    assert [one["account"] for one in still.json("account", "holds", "zeta")] == ["zeta"]
    assert not known(still).holds("acme")[RANGE].released
    for _ in range(2):  # once more changes nothing
        assert f"{RANGE} is released" in still("account", "release", "acme", RANGE).stdout
    assert known(still).holds("acme")[RANGE].released
    assert [one["state"] for one in still.json("account", "holds", "acme")] == ["released"]
    header, line = still("account", "holds", "acme").stdout.splitlines()
    assert header.split() == ["account", "range", "state", "since", "reason"] and "codes at night" in line
    still("account", "hold", "acme", RANGE)
    assert not known(still).holds("acme")[RANGE].released
    assert known(still).names() == ["acme", "zeta"]


@pytest.mark.parametrize("wrong", ["+201001234567", "+2010", "acme", "+", "+0123456", "0020100123"])
def test_what_is_no_range(still: Cli, wrong: str) -> None:
    still("account", "create", "strict")
    assert "range" in still.refused("account", "hold", "strict", wrong, code=2)
    assert still.json("account", "holds") == []


def test_who_and_what_is_not_there(still: Cli) -> None:
    assert "no account ghost" in still.refused("account", "holds", "ghost")
    assert "no account ghost" in still.refused("account", "hold", "ghost", RANGE)
    still("account", "create", "acme")
    assert "no hold on +20100123" in still.refused("account", "release", "acme", RANGE)
    assert "--reason" in still.refused("account", "hold", "acme", RANGE, "--reason", " ", code=2)
