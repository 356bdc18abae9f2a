"""Whatever is put on the intake ends in a status record or a dead letter with its reason, and harms nobody."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from endtoend import codes, headers, numbers
from wholesystem import GOOD, LANDLINE, REQUEST_BYTES, System

pytestmark = pytest.mark.e2e


def request(**fields: Any) -> bytes:
    return json.dumps({"account": "demo", "recipient": GOOD, "message": "Hello", **fields}).encode()


def brief(value: Any) -> str:
    return repr(value)[:30]


# Records that cannot be read


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not JSON"),
        (None, "not JSON"),
        (b"{not json", "not JSON"),
        (b"account=demo&message=Hello", "not JSON"),
        (request()[:-1], "not JSON"),
        (request() + request(), "not JSON"),
        (b'{"account": "d\xffmo"}', "not JSON in UTF-8"),
        (request().decode().encode("utf-16"), "not JSON in UTF-8"),
        (b"\x00" * 1000, "not JSON"),
        (b"[" * 100_000, "depth"),
        (b'{"a":' * 100_000, "depth"),
        (request(custom={"n": float("nan")}), "not JSON"),
        (request(custom={"n": float("inf")}), "not JSON"),
        (request(custom={"n": 0}).replace(b"0}", b"1e400}"), "infinity"),
        (request(message="x" * REQUEST_BYTES), f"at most {REQUEST_BYTES}"),
        (b"[1, 2]", "this is a list"),
        (request().join([b"[", b"]"]), "this is a list"),
        (b"5", "this is a int"),
        (b'"Hello"', "this is a str"),
        (b"null", "this is a NoneType"),
        (b"{}", "names its account"),
        (b'{"recipient": "+393331234567", "message": "Hello"}', "names its account"),
        (request(account=7), "names its account"),
        (request(account=None), "names its account"),
        (b'{"account": "demo", "message": "Hello"}', "at least one recipient"),
        (b'{"account": "demo", "message": "Hello", "recipients": []}', "at least one recipient"),
    ],
    ids=brief,
)  # fmt: skip
def test_unreadable_record_is_a_dead_letter_with_its_reason(plain: System, value: bytes | None, reason: str) -> None:
    assert reason in plain.refused(value)


def test_dead_letter_keeps_key_and_says_where_it_stood(plain: System) -> None:
    place = plain.user.produce(b"\xff\x00", key=b"\x00\xff", headers=[("trace", b"\xff\xfe")], partition=2)
    plain.unreadable.add(place)
    letter = plain.user.dead_letter(place)
    assert (letter.key, letter.value) == (b"\x00\xff", b"\xff\x00")
    found = headers(letter)
    assert (found["topic"], found["partition"], found["offset"]) == (place[0], "2", str(place[2]))
    listed = [json.loads(line) for line in plain.cli("dead-letters", "list", "--json").splitlines()]
    assert place[2] in [one["offset"] for one in listed if one["topic"] == place[0] and one["partition"] == 2]


# Requests that are refused as a whole


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"recipent": GOOD}, 3001, "recipent"),
        ({"request_id": "snake"}, 3001, "request_id"),
        ({"message": 5}, 3001, "message"),
        ({"message": ["Hello"]}, 3001, "message"),
        ({"message": None}, 3001, "message"),
        ({"sender": 5}, 3001, "sender"),
        ({"options": "dryRun"}, 3001, "options"),
        ({"options": {"dryRun": "yes"}}, 3001, "options.dryRun"),
        ({"options": {"dryrun": True}}, 3001, "options.dryrun"),
        ({"options": {"validitySeconds": 0}}, 3001, "options.validitySeconds"),
        ({"options": {"validitySeconds": 10**30}}, 3001, "options.validitySeconds"),
        ({"options": {"sendAt": "tomorrow"}}, 3001, "options.sendAt"),
        ({"options": {"sendAt": "2099-01-01T00:00:00Z"}}, 3080, "options.sendAt"),
        ({"callback": {"url": "not a url"}}, 3001, "callback.url"),
        ({"callback": {}}, 3001, "callback.url"),
        ({"custom": [1]}, 3001, "custom"),
        ({"message": ""}, 3004, "message"),
        ({"account": "nobody"}, 3002, "nobody"),
        ({"account": "no\x00body"}, 3002, "account"),
        ({"account": "x" * 65}, 3001, "account"),
        ({"sender": "AB"}, 2021, "3 to 11"),
        ({"sender": "TWELVE LETTE"}, 2021, "3 to 11"),
        ({"sender": "Ünicode"}, 2021, "Ü"),
        ({"sender": "A\x00C"}, 2021, "index 1"),
        ({"sender": "x" * 65}, 2021, "sender"),
        ({"sender": "12345"}, 2024, "letter"),
        ({"sender": "+393331234567"}, 2024, "letter"),
    ],
    ids=brief,
)  # fmt: skip
def test_refused_request_is_told_once_a_recipient(plain: System, fields: dict[str, Any], code: int, named: str) -> None:
    told = plain.told([GOOD, "+393337654321"], **fields)
    assert [(one["state"], one["detailedState"]) for one in told] == [("REJECTED", "REJECTED")] * 2
    assert [one["recipient"] for one in told] == [GOOD, "+393337654321"]
    for one in told:
        assert (one["error"]["code"], one["error"]["permanent"]) == (code, True)
        assert named in one["error"]["message"]


@pytest.mark.parametrize("request_id", [5, "", "r" * 129, ["a"]], ids=brief)
def test_request_id_that_is_none_is_told_all_the_same(plain: System, request_id: Any) -> None:
    number = numbers(1, first=100 + len(str(request_id)))[0]
    body = {"requestId": request_id, "account": "demo", "recipient": number, "message": "Hello"}
    plain.user.produce(json.dumps(body).encode())
    shown = request_id[:128] or None if isinstance(request_id, str) else None
    told = plain.user.wait_told(shown, lambda told: told["recipient"] == number)
    assert (told["final"], told["error"]["code"]) == (True, 3001)
    assert "requestId" in told["error"]["message"]


@pytest.mark.parametrize("recipients", [GOOD, {"number": GOOD}, None, 5])
def test_recipients_that_are_no_list(plain: System, recipients: Any) -> None:
    name = f"no list {recipients}"
    body = {"requestId": name, "account": "demo", "recipients": recipients, "message": "Hello"}
    plain.user.produce(json.dumps(body).encode())
    told = plain.user.fate(name)
    assert told["error"]["code"] == 3001
    assert "recipients" in told["error"]["message"]


def test_recipient_and_recipients_are_not_both_given(plain: System) -> None:
    (told,) = plain.told([GOOD], recipient=GOOD)
    assert "not both" in told["error"]["message"]


def test_more_recipients_than_a_record_may_hold(plain: System) -> None:
    told = plain.told(numbers(10_001))
    assert Counter(codes(told)) == {3003: 10_001}
    assert "10000" in told[0]["error"]["message"]


def test_blocklisted_account_until_it_is_not(plain: System) -> None:
    plain.cli("account", "create", "naughty", "--credit", "10")
    (told,) = plain.told([GOOD], account="naughty")
    assert told["state"] == "DELIVERED"
    plain.cli("account", "block", "naughty", "--reason", "spam")
    assert codes(plain.told([GOOD, LANDLINE], account="naughty")) == [2020, 2020]
    plain.cli("account", "unblock", "naughty")
    (told,) = plain.told([GOOD], account="naughty")
    assert told["state"] == "DELIVERED"


def test_account_that_cannot_pay_for_all(plain: System) -> None:
    """A euro must be there for each part, and each costs 0.05: two of the three fit."""
    plain.cli("account", "create", "poor", "--credit", "1.05")
    told = plain.told(numbers(3), account="poor")
    assert codes(told) == [None, None, 3021]
    assert told[2]["error"]["permanent"] is False
    plain.user.money(lambda balance, reserved: (balance, reserved) == (Decimal("0.95"), Decimal(0)), "poor")
    assert codes(plain.told(numbers(1), account="poor")) == [3021]


def test_request_id_used_for_other_content(plain: System) -> None:
    first = plain.user.send([GOOD], "one")
    before = plain.user.fate(first)
    plain.user.send([GOOD, LANDLINE], "other", requestId=first)
    found = plain.user.fates(first, 3)
    refusals = [told for told in found if told["id"] != before["id"]]
    assert codes(refusals) == [3009, 3009]
    plain.user.send([GOOD], "one", requestId=first)
    plain.neighbour()
    assert plain.user.fates(first, 3) == found


# Recipients, one by one


def test_bad_recipients_do_not_spoil_the_good_ones(plain: System) -> None:
    bad = {
        LANDLINE: "fixed line",
        "callme": "letters",
        "+39333CALLME": "letters",
        "": "empty",
        "+" + "3" * 40: "40 digits",
        "3" * 40: "+",
        "393331234567": "+393331234567",
        "+39 333 1234567": "+393331234567",
        "+0393331234567": "0",
        "+39333123456\x00": "digits",
        "+\u0663\u0669\u0663\u0663\u0663\u0661\u0662\u0663\u0664\u0665\u0666\u0667": "digits",
        "+3933312345678901": "16 digits",
        "+8001234567890": "",
        "+" + "9" * 100_000: "100000 digits",
    }
    told = plain.told([GOOD, *bad, "+393337654321"])
    assert codes(told) == [None, *[2011] * len(bad), None]
    for one, (number, reason) in zip(told[1:-1], bad.items(), strict=True):
        assert one["recipient"] == number[:128]
        assert reason in one["error"]["message"], number
    assert [told[0]["state"], told[-1]["state"]] == ["DELIVERED", "DELIVERED"]


def test_same_recipient_twice_is_sent_to_once(plain: System) -> None:
    told = plain.told([GOOD, "+393337654321", GOOD, {"number": GOOD}])
    assert codes(told) == [None, None, 3006, 3006]
    sent = [json.loads(line)["reference"] for line in plain.rig.journal.read_text().splitlines()]
    assert [one["id"] in sent for one in told] == [True, True, False, False]


def test_same_recipient_in_another_slice_is_sent_to_once(plain: System) -> None:
    told = plain.told([*numbers(600), *numbers(1)])
    assert Counter(codes(told)) == {None: 600, 3006: 1}
    assert codes(told[-1:]) == [3006]


def test_template_field_missing_is_that_recipients_alone(plain: System) -> None:
    recipients = [
        {"number": "+393330000001", "fields": {"name": "Ada"}},
        {"number": "+393330000002", "fields": {"nome": "Ada"}},
        "+393330000003",
        {"number": "+393330000004", "fields": {"name": 1e22}},
        {"number": "+393330000008", "fields": {"name": "a\ud800"}},
        {"number": "+393330000009", "fields": {"name": 2.5}},
        {"number": "+393330000005", "fields": {"name": ""}},
        {"number": "+393330000006", "fields": {"name": "\x00"}},
        {"number": "+393330000007", "fields": {"name": "A" * 100_000}},
    ]
    told = plain.told(recipients, "Hello {{name}}")
    assert codes(told) == [None, 3007, 3007, 3001, 3014, None, None, 3014, 3005]
    assert codes(plain.told([GOOD, LANDLINE], "half a \ud83d character")) == [3014, 3014]
    assert '"name"' in told[1]["error"]["message"]
    texts = {entry["reference"]: entry["text"] for entry in map(json.loads, plain.rig.journal.read_text().splitlines())}
    assert texts[told[0]["id"]] == "Hello Ada"


def test_recipient_of_another_shape_does_not_spoil_the_others(plain: System) -> None:
    """Contract: one bad recipient never spoils the others."""
    bad = [
        {"number": "+393337654321", "fields": {"name": None}},
        {"number": "+393337654322", "feilds": {}},
        {"number": 393337654323},
        {"fields": {"name": "Ada"}},
        {"number": "+" + "3" * 65},
        12345,
        None,
    ]
    told = plain.told([GOOD, *bad])
    assert told[0]["state"] == "DELIVERED"
    assert set(codes(told[1:])) <= {3001, 2011}
    assert "name" in told[1]["error"]["message"]


# Texts


@pytest.mark.parametrize(
    ("message", "code", "named"),
    [
        ("x" * 100_000, 3005, "parts"),
        ("中" * 100_000, 3005, "parts"),
        ("e\u0301" * 50_000, 3005, "parts"),
        ("Hello\x00", 3014, "U+0000"),
        ("\x1b[31m", 3014, "U+001B"),
    ],
    ids=brief,
)
def test_text_that_cannot_be_sent(plain: System, message: str, code: int, named: str) -> None:
    told = plain.told([GOOD, LANDLINE], message)
    assert codes(told) == [code, 2011]
    assert named in told[0]["error"]["message"]


def test_prohibited_text_and_sender(plain: System) -> None:
    plain.cli("account", "create", "rude", "--credit", "10")
    told = plain.told([GOOD, LANDLINE], "taste the forbidden fruit", account="rude")
    assert (told[0]["state"], told[0]["detailedState"]) == ("REJECTED", "BLOCKED")
    assert codes(told) == [2044, 2011]


def test_no_price_and_no_route(plain: System) -> None:
    """Zimbabwe is not on the sample list; France is, and no route of this system leads there."""
    told = plain.told(["+263712345678", "+33612345678", GOOD])
    assert codes(told) == [3020, 3030, None]


# Odd, and still good


def test_odd_requests_are_sent(plain: System) -> None:
    twice = request(requestId="twice", message="Hello").replace(b'"message":', b'"message": "first", "message":')
    plain.user.produce(twice, key=b"\x00\xff", headers=[("trace", b"\xff")], timestamp_ms=None)
    assert plain.user.fate("twice")["state"] == "DELIVERED"
    name = "null \x00 byte 😀"
    told = plain.told([GOOD], requestId=name, custom={"big": 10**40, "deep": [[[[["x"]]]]], "\x00": "\x00"})
    assert (told[0]["requestId"], told[0]["state"]) == (name, "DELIVERED")
    assert told[0]["custom"]["deep"] == [[[[["x"]]]]]


def test_request_from_the_past_expires(plain: System) -> None:
    plain.user.produce(request(requestId="past"), timestamp_ms=1_000_000_000_000)
    told = plain.user.fate("past")
    assert (told["state"], told["error"]["code"]) == ("EXPIRED", 3041)


# Options


def test_dry_run_costs_nothing_and_goes_nowhere(plain: System) -> None:
    plain.cli("account", "create", "trying", "--credit", "5")
    told = plain.told([GOOD, LANDLINE], "x" * 200, account="trying", options={"dryRun": True})
    assert codes(told) == [None, 2011]
    dry = told[0]
    assert (dry["state"], dry["detailedState"], dry["dryRun"], dry["carrier"]) == ("NEW", "ACCEPTED", True, None)
    assert (dry["messageCount"], dry["price"], dry["totalPrice"]) == (2, "0.0500", "0.1000")
    assert dry["id"] not in plain.rig.journal.read_text()
    assert plain.cli.json("account", "show", "trying")["available"] == "5.00"


def test_fail_on_multiple_messages(plain: System) -> None:
    options = {"failOnMultipleMessages": True}
    assert codes(plain.told([GOOD], "x" * 160, options=options)) == [None]
    (told,) = plain.told([GOOD], "x" * 161, options=options)
    assert told["error"]["code"] == 3008
    assert "2 parts" in told["error"]["message"]
    recipients = [
        {"number": "+393330000001", "fields": {"name": "Ada"}},
        {"number": "+393330000002", "fields": {"name": "中"}},
    ]
    assert codes(plain.told(recipients, "x" * 100 + "{{name}}", options=options)) == [None, 3008]


# At the end


def test_nothing_else_went_wrong(plain: System) -> None:
    plain.assert_sound()
