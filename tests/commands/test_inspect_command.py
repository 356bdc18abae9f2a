import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.billing import PriceList
from pipeline.cli import app
from pipeline.inspection import Inquiry, Inspector
from pipeline.moderation import Rules, Term
from pipeline.records import Batch, Destination
from pipeline.stages.encode import contents
from pipeline.text import LANGUAGES, PLAIN, Wire
from schemas import errors

#: Those of the contract, and what else there is to say.
CONTRACT = ["encoding", "charactersCount", "messageCount", "parts", "nonGsmCharacters", "prohibited", "sender"]
CONTRACT += ["recipient", "price", "totalPrice", "currency"]
KEYS = {*CONTRACT, "transliterated", "findings"}
MOBILE = "+393331234567"


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    prices = PriceList.parse(["country,operator,prefix,price", "IT,,,0.05", "IT,,39340,0.07"])
    assert isinstance(prices, PriceList)
    rules = Rules([Term("casino"), Term("lottery", severity="flag"), Term("tarot", countries=("ES",))])
    return Inspector(prices, rules, "EUR", 10, lambda number: Wire((LANGUAGES["turkish"],)) if number else PLAIN)


def ask(inspector: Inspector, **inquiry: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inspector.answer(orjson.dumps(inquiry)))
    return found


def test_whole_answer(inspector: Inspector) -> None:
    found = ask(inspector, message="Hello {{name}}", sender="ACME", recipient=MOBILE, fields={"name": "Ada"})
    assert {key: found[key] for key in CONTRACT} == {
        "encoding": "GSM-7",
        "charactersCount": 9,
        "messageCount": 1,
        "parts": [{"udh": "", "payload": "c8329bfd0605c961"}],
        "nonGsmCharacters": [],
        "prohibited": [],
        "sender": {"valid": True, "error": None},
        "recipient": {
            "valid": True,
            "countryCode": "IT",
            "internationalPrefix": "39",
            "operator": "TIM",
            "type": "mobile",
            "error": None,
        },
        "price": "0.0500",
        "totalPrice": "0.0500",
        "currency": "EUR",
    }
    assert found.keys() == KEYS | {"choice"}


def test_nothing_but_a_message(inspector: Inspector) -> None:
    found = ask(inspector, message="ciao “tu”")
    assert found.keys() == KEYS | {"choice"}
    assert found["encoding"] == "UCS-2"
    assert found["parts"] == [{"udh": "", "payload": "ciao “tu”".encode("utf-16-be").hex()}]
    assert found["nonGsmCharacters"] == [{"character": "“", "index": 5}, {"character": "”", "index": 8}]
    assert (found["sender"], found["recipient"], found["price"], found["totalPrice"]) == (None, None, None, None)


def test_parts_carry_headers_of_reference_0_and_the_price_counts_them(inspector: Inspector) -> None:
    found = ask(inspector, message="a" * 161, recipient="+393401234567")
    assert [part["udh"] for part in found["parts"]] == ["050003000201", "050003000202"]
    assert (found["messageCount"], found["price"], found["totalPrice"]) == (2, "0.0700", "0.1400")


def test_text_is_normalised_and_transliterated_before_anything_is_counted(inspector: Inspector) -> None:
    assert ask(inspector, message="caffe\u0300")["charactersCount"] == 5
    found = ask(inspector, message="“sì” – ok", transliterate=True)
    assert (found["encoding"], found["nonGsmCharacters"]) == ("GSM-7", [])
    assert found["transliterated"] == [
        {"index": 0, "character": "“", "replacement": '"'},
        {"index": 3, "character": "”", "replacement": '"'},
        {"index": 5, "character": "–", "replacement": "-"},
    ]


def test_the_choice_of_the_encoding_is_explained(inspector: Inspector) -> None:
    """A hundred and one Turkish letters: two parts in UCS-2, one with the shift table that this carrier takes."""
    text = "ğ" + "a" * 100
    plain, turkish = (ask(inspector, message=text, **more) for more in ({}, {"recipient": MOBILE}))
    assert (plain["encoding"], plain["messageCount"]) == ("UCS-2", 2)
    assert (turkish["encoding"], turkish["messageCount"], turkish["parts"][0]["udh"]) == ("GSM-7", 1, "03240101")
    chosen = [option for option in turkish["choice"]["considered"] if option["chosen"]]
    assert [(option["single"], option["locking"]) for option in chosen] == [("turkish", None)]
    first = turkish["choice"]["considered"][0]
    assert (first["encoding"], first["messageCount"]) == ("GSM-7", None)
    assert first["outside"] == [{"character": "ğ", "index": 0}]
    assert turkish["choice"]["reason"]


def test_prohibited_terms_with_their_places(inspector: Inspector) -> None:
    found = ask(inspector, message="The CASINO, a casino", sender="Casino")
    assert found["prohibited"] == [
        {"term": "casino", "start": 4, "end": 10},
        {"term": "casino", "start": 14, "end": 20},
    ]
    assert found["sender"]["error"]["code"] == errors.PROHIBITED
    found = ask(inspector, message="A lottery, a c4s1n0", sender="ACME")
    assert found["prohibited"] == [{"term": "casino", "start": 13, "end": 19}]
    assert [(hit["term"], hit["severity"], hit["kind"], hit["folding"]) for hit in found["findings"]] == [
        ("lottery", "flag", "term", "exact"),
        ("casino", "block", "term", "leet"),
    ]
    assert ask(inspector, message="tarot", recipient=MOBILE)["prohibited"] == []
    assert ask(inspector, message="tarot")["prohibited"] != []


@pytest.mark.parametrize(
    ("inquiry", "code"),
    [
        ({"message": ""}, errors.EMPTY_MESSAGE),
        ({"message": "{{a}}", "fields": {"a": ""}}, errors.EMPTY_MESSAGE),
        ({"message": "中" * 671}, errors.TOO_MANY_PARTS),
        ({"message": "Hello {{name}}"}, errors.MISSING_FIELD),
        ({"message": "bell 中 \x07"}, errors.INVALID_TEXT),
    ],
)
def test_text_that_cannot_be_sent(inspector: Inspector, inquiry: dict[str, Any], code: int) -> None:
    found = ask(inspector, **inquiry, recipient=MOBILE)
    assert found.keys() == KEYS | {"error"}
    assert found["error"]["code"] == code
    assert found["error"]["permanent"] is True
    assert (found["encoding"], found["messageCount"], found["parts"], found["totalPrice"]) == (None, None, [], None)
    assert found["price"] == "0.0500"


def test_bad_sender_and_recipient(inspector: Inspector) -> None:
    found = ask(inspector, message="x", sender="12345", recipient="+390612345678")
    assert (found["sender"]["valid"], found["sender"]["error"]["code"]) == (False, errors.NUMERIC_SENDER)
    assert (found["recipient"]["valid"], found["recipient"]["error"]["code"]) == (False, errors.INVALID_RECIPIENT)
    assert found["recipient"]["countryCode"] is None
    assert found["price"] is None
    assert found["encoding"] == "GSM-7"


def test_valid_number_without_a_price(inspector: Inspector) -> None:
    found = ask(inspector, message="x", recipient="+4915112345678")
    assert (found["recipient"]["valid"], found["recipient"]["countryCode"]) == (True, "DE")
    assert found["recipient"]["error"]["code"] == errors.NO_PRICE
    assert (found["price"], found["totalPrice"]) == (None, None)


def test_unknown_and_wrong_fields_are_named(inspector: Inspector) -> None:
    found = ask(inspector, message="x", text="y", fields={"a": [], "b": True}, transliterate="yes")
    assert list(found) == ["error"]
    assert found["error"]["code"] == errors.MALFORMED_REQUEST
    for name in ("text: unknown field", "fields.a: ", "fields.b: ", "transliterate: "):
        assert name in found["error"]["message"]


@pytest.mark.parametrize("line", [b"", b"nope", b"[]", b"\xff", b'{"message": 1}', b'{"message": "\\ud800"}', b"{}"])
def test_a_line_that_is_no_inquiry(inspector: Inspector, line: bytes) -> None:
    assert list(json.loads(inspector.answer(line))) == ["error"]


@given(
    message=st.text(max_size=400),
    fields=st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=20) | st.integers(-9, 9)),
    transliterate=st.booleans(),
)
def test_same_as_the_encode_stage(
    inspector: Inspector, message: str, fields: dict[str, Any], transliterate: bool
) -> None:
    message = message.replace("#", "{{a}}")
    found = inspector.inspect(Inquiry(message=message, fields=fields, transliterate=transliterate))
    onward, rejected = contents(batch(message, fields, transliterate), 10, lambda numbers: [PLAIN] * len(numbers))
    if rejected:
        assert found["error"]["code"] == rejected.errors[0].code
        return
    assert onward
    content = onward.contents[0]
    assert (found["encoding"], found["charactersCount"]) == (content.encoding, content.characters)
    assert (found["messageCount"], len(found["parts"])) == (content.count, content.count)


def batch(message: str, fields: dict[str, Any], transliterate: bool) -> Batch:
    return Batch(
        id=bytes(9), request=bytes(16), slice=0, fingerprint=b"", account="acme", request_id=None, sender="ACME",
        message=message, dry_run=False, fail_on_multiple=False, transliterate=transliterate, validity_seconds=60,
        received_at=0, custom=b"{}", callback=None, index=[0], numbers=[MOBILE], where=[0],
        destinations=[Destination("IT", "39", "")], fields=[{name: str(value) for name, value in fields.items()}],
    )  # fmt: skip


def test_command_answers_line_by_line_and_goes_on_after_a_bad_one(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("country,operator,prefix,price\nIT,,,0.0410\n")
    (tmp_path / "terms.txt").write_text("# a list\ncasino\n")
    config = tmp_path / "config.toml"
    config.write_text('[moderation]\nterms = ["terms.txt"]\n[billing]\nprices = "prices.csv"\ncurrency = "USD"\n')
    lines = [json.dumps({"message": "casino", "recipient": MOBILE}), "nope", json.dumps({"message": "ok"})]
    result = CliRunner().invoke(app, ["inspect", "--json", "--config", str(config)], input="\n".join(lines))
    assert result.exit_code == 0
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert (first["price"], first["currency"]) == ("0.0410", "USD")
    assert first["prohibited"] == [{"term": "casino", "start": 0, "end": 6}]
    assert list(second) == ["error"]
    assert third["charactersCount"] == 2


def test_view_for_a_person() -> None:
    result = CliRunner().invoke(app, ["inspect", "Hi [{{n}}] “x”", "--field", "n=Ada", "--recipient", MOBILE])
    assert result.exit_code == 0
    for shown in ("UCS-2", "'“' at 9", "IT +39 TIM (mobile)", "0.0500 EUR"):
        assert shown in result.stdout
    refused = CliRunner().invoke(app, ["inspect", "Hi", "--sender", "123456"])
    assert (refused.exit_code, "2024" in refused.stdout) == (1, True)


def test_wrong_usage() -> None:
    for arguments in ([], ["Hi", "--field", "name"], ["\udcff"]):
        result = CliRunner().invoke(app, ["inspect", *arguments])
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1


def test_two_thousand_lines_a_second(inspector: Inspector) -> None:
    lines = [
        orjson.dumps({"message": f"Ciao {{{{name}}}}, codice {n} “ok”", "fields": {"name": "Ada"}, "sender": "ACME",
                      "recipient": f"+39333{n:07d}"})
        for n in range(2000)
    ]  # fmt: skip
    inspector.answer(lines[0])
    started = time.perf_counter()
    for line in lines:
        inspector.answer(line)
    assert time.perf_counter() - started < len(lines) / 2000
