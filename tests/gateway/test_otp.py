"""Login codes: what they look like, in which language they are sent, where they are seen, and how they are verified,
by one gateway and by two that share the topic."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import broker
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from provided import NUMBER, OTHER, SPANISH, forbid, fund, intake, known, problem, produced
from serving import Gateway, eventually, serving, start

from pipeline import ids
from pipeline.gateway.otp.codes import ALPHANUMERIC, DIGITS, Challenge, Challenges, Shape, code_of, matches
from pipeline.gateway.otp.register import OtpDirectory
from pipeline.gateway.otp.texts import CODE, LANGUAGES, TEXTS, text_for
from pipeline.lists import Entry
from pipeline.numbers import check_sender
from pipeline.records import Batch
from pipeline.stages.fate import Teller
from pipeline.stages.validate import batches, read
from pipeline.streaming.stage import Record
from pipeline.text import Template, measure
from schemas import errors

SECRET = b"0123456789abcdef"


@pytest.fixture(scope="module")
def gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start(kafka, tmp_path_factory.mktemp("otp")) as running:
        fund(running, "acme", "100.00")
        known(running, "acme", "100.00")
        yield running


@pytest.fixture
def acme(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.as_("acme") as client:
        yield client


def fresh() -> Iterator[str]:
    yield from (f"+39333{number:07d}" for number in range(1_000_000, 9_999_999))


_numbers = fresh()


@pytest.fixture
def number() -> str:
    """A recipient nobody has written to."""
    return next(_numbers)


def sent(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/otp", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def verified(client: httpx.Client, number: str, code: str) -> tuple[bool, int]:
    answer = client.post("/otp/verify", json={"recipient": number, "code": code})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["data"]) == {"verified", "attemptsLeft"}
    return answer.json()["data"]["verified"], answer.json()["data"]["attemptsLeft"]


def wrong(code: str) -> str:
    return code[:-1] + ("7" if code[-1] != "7" else "8")


# What codes look like


@given(shape=st.builds(Shape, st.integers(4, 10), st.booleans()), nonce=st.text(), who=st.tuples(st.text(), st.text()))
def test_a_code_has_its_shape_and_is_made_of_all_it_stands_for(shape: Shape, nonce: str, who: tuple[str, str]) -> None:
    code = code_of(SECRET, *who, nonce, shape)
    assert len(code) == shape.length and set(code) <= set(ALPHANUMERIC if shape.alphanumeric else DIGITS)
    assert code == code_of(SECRET, *who, nonce, shape)
    assert matches(code, f" {code.lower()} ") and not matches(code, wrong(code))
    longer = Shape(10, True)
    account, recipient = who
    others = [(SECRET + b"x", *who, nonce), (SECRET, account + "x", recipient, nonce),
              (SECRET, account, recipient + "x", nonce), (SECRET, *who, nonce + "x")]  # fmt: skip
    assert code_of(SECRET, *who, nonce, longer) not in [code_of(*other, longer) for other in others]


@pytest.mark.parametrize("alphanumeric", [False, True])
def test_every_character_is_as_likely_as_any_other(alphanumeric: bool) -> None:
    """Chi-squared over 10,000 codes, place by place: no fair code is 5 standard deviations off."""
    alphabet = ALPHANUMERIC if alphanumeric else DIGITS
    shape, codes = Shape(6, alphanumeric), 10_000
    seen = [Counter[str]() for _ in range(shape.length)]
    for number in range(codes):
        for place, character in enumerate(code_of(SECRET, "acme", NUMBER, str(number), shape)):
            seen[place][character] += 1
    expected = codes / len(alphabet)
    for counts in seen:
        chi = sum((counts[c] - expected) ** 2 / expected for c in alphabet)
        freedom = len(alphabet) - 1
        assert chi < freedom + 5 * (2 * freedom) ** 0.5


def test_alphanumeric_codes_hold_nothing_that_looks_alike_and_no_words() -> None:
    assert not set(ALPHANUMERIC) & set("0O1IlLAEU") and len(set(ALPHANUMERIC)) == 28


# Texts


OTHER_LETTERS = {"ar", "bg", "el", "he", "hu", "ja", "ko", "ru", "uk", "vi", "zh", "zh-Hant"}


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_text_is_one_part_with_the_longest_code(language: str) -> None:
    template = Template.parse(TEXTS[language])
    assert template.fields == (CODE,)
    text = template.render({CODE: "8" * 10})
    assert isinstance(text, str)
    measured = measure(text)
    assert not isinstance(measured, errors.Error) and measured.count == 1
    assert (measured.encoding == "UCS-2") == (language in OTHER_LETTERS)


def test_languages_by_country() -> None:
    assert len(TEXTS) >= 12 and set(LANGUAGES.values()) | {"en"} == set(TEXTS)
    begins = {"IT": "Il tuo", "ES": "Tu clave", "BR": "A sua", "US": "Your", "TW": "您的驗", "XX": "Your"}
    for country, words in begins.items():
        assert text_for(country).startswith(words)
    assert check_sender("OTP MOBILE") is None


# The contract


def test_a_code_is_sent_as_the_contract_has_it(gateway: Gateway, acme: httpx.Client, number: str) -> None:
    callback = {"url": "https://www.mysite.com/x"}
    data = sent(acme, recipient=number, callback=callback)
    told = {"username": "acme", "state": "NEW", "sender": "OTP MOBILE", "recipient": number, "isOtp": True, "price": 0,
            "otpOptions": {"length": 5, "alphanumeric": False, "cacheSeconds": 0}, "messageCount": 1}  # fmt: skip
    assert {name: data[name] for name in told} == told
    code = data["otp"]
    assert len(code) == 5 and code.isdigit()
    assert data["message"] == f"Il tuo codice di verifica è {code}. Non comunicarlo a nessuno."
    assert data["callback"]["method"] == "JSON"
    ((record, value),) = intake(gateway, data["requestId"])
    assert record.topic.endswith("intake.priority")
    assert value["recipients"] == [{"number": number, "fields": {"code": code}}] and value["options"]["otp"] is True
    assert code not in json.dumps({**value, "recipients": [], "requestId": ""})
    assert sent(acme, recipient=SPANISH, length=10, alphanumeric=True)["message"].startswith("Tu clave")


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({"length": 3}, 1020, "Length must be between 4 and 10."),
        ({"length": 11}, 1020, "Length must be between 4 and 10."),
        ({"recipient": "+390669812345"}, 2011, "mobile"),
        ({"length": "5"}, 3001, "length"),
        ({"length": True}, 3001, "length"),
        ({"cacheSeconds": 601}, 3001, "cacheSeconds"),
        ({"cacheSeconds": -1}, 3001, "cacheSeconds"),
        ({"alphanumeric": 1}, 3001, "alphanumeric"),
        ({"sender": "Me"}, 3001, "sender: unknown field"),
        ({"options": {"sendAt": "2030-01-01T00:00:00Z"}}, 3001, "options.sendAt"),
        ({"callback": {"retry": 1}}, 3001, "callback.url"),
        ({"recipient": None}, 3001, "recipient"),
    ],
)
def test_wrong_requests(acme: httpx.Client, gateway: Gateway, body: dict[str, Any], code: int, word: str) -> None:
    before = produced(gateway)
    assert word in problem(acme.post("/otp", json={"recipient": NUMBER, **body}), 422, code)
    assert produced(gateway) == before


def test_a_dry_run_sends_no_code(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    before = produced(gateway)
    data = sent(acme, recipient=number, length=8, options={"dryRun": True})
    assert (len(data["otp"]), data["price"], data["isOtp"]) == (8, 0.05, True)
    assert produced(gateway) == before
    assert not verified(acme, number, data["otp"])[0]


def test_the_text_is_told_with_the_code_masked(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    data = sent(acme, recipient=number)
    ((record, _),) = intake(gateway, data["requestId"])
    asked, request, _ = read(record.value, 1_000_000)
    assert not isinstance(request, errors.Error)
    (batch,) = batches(asked, Record("t", 0, 0, record.timestamp, None, record.value), None, {})
    assert isinstance(batch, Batch) and batch.otp
    text = Teller(batch).text(0)
    assert text == "Il tuo codice di verifica è *****. Non comunicarlo a nessuno."
    assert ids.message_id(batch.id, 0) == data["id"]


def test_the_topic_holds_no_code(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    data = sent(acme, recipient=number, length=10)
    verified(acme, number, data["otp"])
    records = [r for r in broker.read(gateway.settings, gateway.names.otps) if r.key == f"acme/{number}".encode()]
    assert len(records) == 2 and not [r for r in records if data["otp"].encode() in r.value]


# Caching and verifying


def test_a_code_is_sent_again_while_it_is_cached(acme: httpx.Client, number: str) -> None:
    first = sent(acme, recipient=number, cacheSeconds=600)
    assert sent(acme, recipient=number, cacheSeconds=600)["otp"] == first["otp"]
    other = sent(acme, recipient=number, cacheSeconds=600, alphanumeric=True)
    assert len(other["otp"]) == 5 and other["id"] != first["id"]
    codes = {sent(acme, recipient=number, length=10)["otp"] for _ in range(3)}
    assert len(codes) == 3  # without caching each is new


def test_a_code_verifies_once(acme: httpx.Client, number: str) -> None:
    code = sent(acme, recipient=number, cacheSeconds=60)["otp"]
    assert verified(acme, number, wrong(code)) == (False, 4)
    assert verified(acme, number, code) == (True, 3)
    assert verified(acme, number, code) == (False, 2)
    assert sent(acme, recipient=number, cacheSeconds=60, length=10)["otp"] != code
    # a used code is not sent again, cached or not
    again = sent(acme, recipient=number, cacheSeconds=60)["otp"]
    assert verified(acme, number, again) == (True, 4)


def test_attempts_are_limited_and_a_new_code_has_its_own(acme: httpx.Client, number: str) -> None:
    code = sent(acme, recipient=number, length=10)["otp"]
    assert [verified(acme, number, wrong(code)) for _ in range(5)] == [(False, left) for left in (4, 3, 2, 1, 0)]
    assert verified(acme, number, code) == (False, 0)
    code = sent(acme, recipient=number, alphanumeric=True)["otp"]
    assert verified(acme, number, f" {code.lower()} ") == (True, 4)


def test_a_refused_request_leaves_the_code_and_its_attempts_as_they_are(acme: httpx.Client, number: str) -> None:
    code = sent(acme, recipient=number)["otp"]
    assert verified(acme, number, wrong(code)) == (False, 4)
    refused = acme.post("/otp", json={"recipient": number, "callback": {"url": "http://10.0.0.1/"}})
    assert (refused.status_code, refused.json()["code"]) == (422, errors.URL_NOT_CALLABLE)
    assert verified(acme, number, code) == (True, 3)


def test_nobody_without_a_code_is_told_apart(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    assert [verified(acme, number, "12345") for _ in range(6)] == [(False, left) for left in (4, 3, 2, 1, 0, 0)]
    with gateway.as_("globex") as globex:  # nor is another account's
        code = sent(acme, recipient=OTHER)["otp"]
        assert verified(globex, OTHER, code) == (False, 4)
    assert verified(acme, OTHER, code) == (True, 4)


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({"code": "1"}, 3001, "recipient"),
        ({"recipient": "12", "code": "1"}, 2011, ""),
        ({"recipient": NUMBER, "code": ""}, 3001, "code"),
        ({"recipient": NUMBER, "code": "9" * 65}, 3001, "code"),
        ({"recipient": NUMBER, "code": 12345}, 3001, "code"),
    ],
)
def test_what_cannot_be_verified(acme: httpx.Client, body: dict[str, Any], code: int, word: str) -> None:
    assert word in problem(acme.post("/otp/verify", json=body), 422, code)


def test_two_gateways_and_a_restart_share_codes_and_attempts(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    second = gateway.settings.model_copy(update={"gateway": gateway.settings.gateway.model_copy(update={"port": 0})})
    secret = gateway.settings.storage.directory / "otp-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    with serving(second) as other, other.as_("acme") as there:
        eventually(lambda: other.http.get("/health/ready").status_code == 200)
        first = sent(acme, recipient=number, cacheSeconds=600, length=10)
        assert sent(there, recipient=number, cacheSeconds=600, length=10)["otp"] == first["otp"]

        def guess(place: int) -> tuple[bool, int]:
            with (gateway, other)[place % 2].as_("acme") as client:
                return verified(client, number, first["otp"] if place > 1 else wrong(first["otp"]))

        with ThreadPoolExecutor(8) as pool:
            tried = list(pool.map(guess, range(10)))
        # whoever came when, in whichever process: one verifies, and each of the five tries has its own place
        assert [verdict for verdict, _ in tried].count(True) == 1
        assert sorted(left for _, left in tried if left) == [1, 2, 3, 4]
        assert verified(there, number, first["otp"]) == (False, 0)


def test_a_repeat_tells_the_cached_code_that_its_first_was_sent(gateway: Gateway) -> None:
    """Where the gateway was started anew meanwhile: of the request it knows what its own code would have been."""
    known = OtpDirectory(gateway.settings)
    assert known.code_again("acme", "+391", "own", Shape()) == known.code("acme", "+391", "own", Shape())
    later = time.time_ns() // 1_000_000 + 60_000
    known.take(b"acme/+391", msgspec.json.encode(Challenge("before", Shape(), True, later, later, 0)))
    assert known.code_again("acme", "+391", "own", Shape()) == known.code("acme", "+391", "before", Shape())
    assert known.code_again("acme", "+391", "own", Shape(10)) == known.code("acme", "+391", "own", Shape(10))


# The order of the topic decides


def record(challenge: Challenge, **changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(challenge, **changes))


A_CODE = Challenge("n", Shape(), True, 0, 10_000, 0)


@given(tries=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans()), max_size=12))
def test_of_any_tries_in_any_number_of_processes_the_first_right_one_among_five_verifies(
    tries: list[tuple[bool, int, bool]],
) -> None:
    """Each writer knows as many tries as it likes: what it knew of the past does not matter."""
    known = Challenges(5)
    known.take(b"k", record(A_CODE))
    verdicts = []
    for number, (right, behind, _) in enumerate(tries):
        attempts = max(number - behind, 0) + 1
        name = str(number)
        known.expect(name)
        known.take(b"k", record(A_CODE, attempts=attempts, attempt=name, matched=right, at=number))
        verdicts.append(known.verdict(name))
    expected = next((n for n, (right, *_) in enumerate(tries[:5]) if right), None)
    assert [n for n, verdict in enumerate(verdicts) if verdict and verdict.verified] == (
        [] if expected is None else [expected]
    )
    assert [verdict and verdict.attempts_left for verdict in verdicts] == [max(4 - n, 0) for n in range(len(tries))]


def test_a_try_at_an_earlier_code_counts_for_nothing() -> None:
    known = Challenges(5)
    known.take(b"k", record(A_CODE))
    known.take(b"k", record(A_CODE, nonce="later", at=1))
    known.expect("x")
    known.take(b"k", record(A_CODE, attempts=1, attempt="x", matched=True, at=2))
    verdict = known.verdict("x")
    assert verdict is not None and (verdict.verified, verdict.attempts_left) == (False, 5)
    assert known.verdict("x") is None
    challenge = known.get(b"k", 2)
    assert challenge is not None and (challenge.nonce, challenge.attempts) == ("later", 0)


def test_what_expired_is_forgotten_and_a_compacted_topic_still_counts() -> None:
    known = Challenges(5)
    for number in range(100):
        known.take(str(number).encode(), record(A_CODE, at=number * 1_000, expires_at=number * 1_000 + 5_000))
    assert len(known) <= 7 and known.get(b"99", 99_000) and not known.get(b"99", 104_000)
    after = Challenges(5)  # a start from what compaction left: the last try alone
    after.take(b"k", record(A_CODE, attempts=4, attempt="x", matched=False, at=3))
    challenge = after.get(b"k", 4)
    assert challenge is not None and challenge.attempts == 4
    after.take(b"k", None)
    assert after.get(b"k", 4) is None


def test_a_code_that_is_prohibited_by_chance_is_not_sent(acme: httpx.Client, gateway: Gateway, number: str) -> None:
    entries = [Entry("term", "*8*"), Entry("term", "*9*")]
    forbid(gateway, *entries, Entry("term", "rotten apple"))
    codes = "".join(sent(acme, recipient=number, length=4)["otp"] for _ in range(8))
    assert len(codes) == 32 and not set(codes) & set("89")
