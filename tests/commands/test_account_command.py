import broker
import msgspec
from driving import Cli

from pipeline.accounts import AccountRecord
from pipeline.records import decode_credits
from pipeline.streaming.topics import TopicNames

NEW = {
    "balance": "0.00",
    "reserved": "0.00",
    "available": "0.00",
    "currency": "EUR",
    "blocklisted": False,
    "blocklistedReason": None,
}


def stored(cli: Cli, name: str) -> AccountRecord:
    """The account as it stands on its topic."""
    records = broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).accounts)
    latest = [record.value for record in records if record.key == name.encode()][-1]
    return msgspec.json.decode(latest, type=AccountRecord)


def test_created_with_credit_and_shown_at_once(running: Cli) -> None:
    assert "100.00 EUR" in running("account", "create", "rich", "--credit", "100").stdout
    (shown,) = running.json("account", "show", "rich")
    assert shown == {"account": "rich", **NEW, "balance": "100.00", "available": "100.00"}
    assert "100.00 EUR" in running("account", "show", "rich").stdout


def test_limits_are_told_to_people_in_plain_words(running: Cli) -> None:
    running("account", "create", "bounded")
    told = running("account", "limit", "bounded", "--country", "it", "--country", "es", "--low-balance", "1000").stdout
    assert told == "account bounded: countries ES IT, lowBalance 1000.00\n"
    shown = running("account", "show", "bounded").stdout
    assert "limit      countries: ES IT\n" in shown and "limit      lowBalance: 1000.00\n" in shown


def test_credit_adds_up_and_a_reference_counts_once(running: Cli) -> None:
    running("account", "create", "thrifty")
    running("account", "credit", "thrifty", "0.05", "--reference", "R1")
    running("account", "credit", "thrifty", "2")
    assert "counted before" in running("account", "credit", "thrifty", "0.05", "--reference", "R1").stdout
    assert running.json("account", "show", "thrifty")[0]["balance"] == "2.05"


def test_account_without_money_is_shown_with_zeros(still: Cli) -> None:
    still("account", "create", "poor")
    assert still.json("account", "show", "poor") == [{"account": "poor", **NEW}]


def test_name_that_exists_is_refused_and_stays_as_it_was(still: Cli) -> None:
    still("account", "create", "twice")
    before = stored(still, "twice")
    assert "exists already" in still.refused("account", "create", "twice", "--credit", "5")
    assert stored(still, "twice") == before


def test_wrong_names_and_amounts(still: Cli) -> None:
    still.refused("account", "create", "two words", code=2)
    still("account", "create", "strict")
    for amount in ("-5", "1e3", "0", "1,50", "0.0000001"):
        assert amount in still.refused("account", "credit", "strict", amount, code=2)
    assert "negative" in still.refused("account", "create", "other", "--credit", "-1", code=2)
    assert [view["account"] for view in still.json("account", "list")] == ["strict"]


def test_unknown_account_is_refused_everywhere(still: Cli) -> None:
    for arguments in (
        ["show"],
        ["credit", "5"],
        ["token"],
        ["tokens"],
        ["revoke", "--all"],
        ["block", "--reason", "x"],
        ["unblock"],
    ):
        command, *others = arguments
        assert "no account ghost" in still.refused("account", command, "ghost", *others)


def test_top_up_that_nobody_counts_is_durable_and_says_so(still: Cli) -> None:
    still("account", "create", "waiting")
    result = still("account", "credit", "waiting", "7.5", "--reference", "R9", "--timeout", "0.5", code=1)
    assert "R9" in result.stderr
    assert "durable but not counted" in result.stderr
    (record,) = broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).credits)
    (credit,) = decode_credits(record.value)
    assert (credit.account, credit.amount, credit.reference) == ("waiting", 7_500_000, "R9")


def test_block_and_unblock(still: Cli) -> None:
    still("account", "create", "naughty")
    still("account", "block", "naughty", "--reason", "spam [bold]")
    (shown,) = still.json("account", "show", "naughty")
    assert (shown["blocklisted"], shown["blocklistedReason"]) == (True, "spam [bold]")
    assert "spam [bold]" in still("account", "list").stdout
    still("account", "unblock", "naughty")
    (shown,) = still.json("account", "list")
    assert (shown["blocklisted"], shown["blocklistedReason"]) == (False, None)
