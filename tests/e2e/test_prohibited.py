"""Prohibited content, opt-outs and personalised texts in a whole system: what is stopped, what follows, and how soon
a change of a list is in force."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from endtoend import codes, numbers
from wholesystem import GOOD, System

HERE, THERE = "+393331234567", "+4915112345678"
_SECOND = 1.0


def made(plain: System, name: str, credit: str = "100") -> str:
    plain.cli("account", "create", name, "--credit", credit)
    return name


def within(seconds: float, found: Callable[[], bool]) -> bool:
    """Whether it comes to be so in time; each look takes a moment itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found():
            return True
    return False


def test_prohibited_content_is_blocked_and_the_account_blocklisted(plain: System) -> None:
    account = made(plain, "fruity")
    people = [{"number": number, "fields": {"what": what}} for number, what in
              zip(numbers(3), ("apple", "f o r b i d d e n  fruit", "pear"), strict=True)]  # fmt: skip
    told = plain.told(people, "Taste the {{what}}", account=account)
    assert [one["detailedState"] for one in told] == ["DELIVERED", "BLOCKED", "DELIVERED"]
    assert codes(told) == [None, 2044, None]
    assert "forbidden fruit" in told[1]["error"]["message"] and "spacing" in told[1]["error"]["message"]
    shown = plain.cli.json("account", "show", account)
    assert shown["blocklisted"] and "forbidden fruit" in shown["blocklistedReason"]
    assert within(5, lambda: codes(plain.told([GOOD], account=account)) == [2020])
    plain.cli("account", "unblock", account)
    assert within(5, lambda: codes(plain.told([GOOD], account=account)) == [None])


def test_a_dry_run_says_the_same_without_consequence(plain: System) -> None:
    account = made(plain, "careful")
    told = plain.told([GOOD], "Taste the forb1dden fru!t", account=account, options={"dryRun": True})
    assert (told[0]["detailedState"], codes(told)) == ("BLOCKED", [2044])
    assert not plain.cli.json("account", "show", account)["blocklisted"]
    told = plain.told([GOOD], "Taste the apple", account=account, options={"dryRun": True})
    assert (told[0]["detailedState"], told[0]["final"]) == ("ACCEPTED", True)


def test_a_prohibited_sender_under_the_italian_tariff(plain: System, terms: Path) -> None:
    account = made(plain, "regional")
    plain.cli("lists", "add", "term", "badsender")
    assert within(3, lambda: codes(plain.told([HERE], sender="BadSender", account=account,
                                              options={"dryRun": True})) == [2044])  # fmt: skip
    told = plain.told([HERE, THERE], sender="BadSender", account=account, options={"tariff": "IT"})
    assert codes(told) == [2050, 2013]
    plain.cli("lists", "remove", "term", "badsender")


def test_a_changed_file_and_a_changed_topic_are_in_force_within_a_second(plain: System, terms: Path) -> None:
    def dry(text: str) -> list[int | None]:
        request = plain.user.send([GOOD], text, account="demo", options={"dryRun": True})
        return codes(plain.user.fates(request))

    before = terms.read_text()
    assert dry("a brand new term") == [None]
    try:
        terms.write_text(before + "brand new\n")
        assert within(_SECOND, lambda: dry("a brand new term") == [2044])
        terms.write_text(before + "brand new | nonsense=1\n")  # refused as a whole: what was in force stays
        time.sleep(_SECOND)
        assert dry("a brand new term") == [2044]
    finally:
        terms.write_text(before)
    assert within(_SECOND, lambda: dry("a brand new term") == [None])
    plain.cli("lists", "add", "term", "hot potato", "--country", "DE", "--flag")
    plain.cli("lists", "add", "blocked-domain", "evil.example")
    assert within(_SECOND, lambda: dry("see login.evil.example now") == [2044])
    assert dry("a hot potato") == [None]
    shown = [json.loads(line) for line in plain.cli("lists", "show", "--json").splitlines()]
    assert {(entry["list"], entry["text"], entry["severity"]) for entry in shown} >= {
        ("term", "hot potato", "flag"),
        ("blocked-domain", "evil.example", "block"),
    }
    plain.cli("lists", "remove", "blocked-domain", "evil.example")
    assert within(_SECOND, lambda: dry("see login.evil.example now") == [None])


def test_who_opted_out_is_not_written_to(plain: System) -> None:
    account = made(plain, "newsletter")
    out, other = numbers(2, first=500)
    plain.cli("opt-outs", "add", account, out)
    assert within(3, lambda: codes(plain.told([out, other], account=account)) == [3012, None])
    (told,) = plain.told([out], account=account)
    assert (told["state"], told["detailedState"]) == ("REJECTED", "BLOCKED")
    assert codes(plain.told([out])) == [None]  # another account's recipient
    plain.cli("opt-outs", "remove", account, out)
    assert within(3, lambda: codes(plain.told([out], account=account)) == [None])


def test_personalised_texts_cost_what_each_costs(plain: System) -> None:
    fields = ({"n": "Ada"}, {"n": "Žofie"}, {"n": "A" * 160}, {})
    people = [{"number": n, "fields": f} for n, f in zip(numbers(4, first=900), fields, strict=True)]
    told = plain.told(people, "Hello {{n}}{{m|!}}")
    assert codes(told) == [None, None, None, 3007]
    assert [(one["encoding"], one["messageCount"], one["charactersCount"]) for one in told[:3]] == [
        ("GSM-7", 1, 10),
        ("UCS-2", 1, 12),
        ("GSM-7", 2, 167),
    ]
    assert '"n"' in told[3]["error"]["message"]
    plain.assert_sound()
