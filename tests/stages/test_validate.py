import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import NOON_MS, SETTINGS, Table, decides, record

from pipeline.accounts import AccountRecord
from pipeline.numbers import classify
from pipeline.records import Batch, decode_batches
from pipeline.stages import validate
from pipeline.streaming.stage import Unreadable
from schemas import errors
from schemas.errors import Error
from schemas.intake import MAX_RECIPIENTS, Request

ACME = AccountRecord("acme", "2026-01-01T00:00:00Z", [])
LIMIT = 4 * 1024 * 1024
NUMBERS = st.one_of(
    st.integers(0, 60).map(lambda n: f"+39333{n:07d}"),  # few enough that some repeat
    st.sampled_from(["+4915123456789", "+14155550123", "+390612345678", "3331234567", "", "+39abc"]),
)
RECIPIENTS = st.lists(
    NUMBERS | st.builds(lambda n, name: {"number": n, "fields": {"name": name}}, NUMBERS, st.text(max_size=5)),
    min_size=1,
    max_size=40,
)


def request(**more) -> bytes:
    return orjson.dumps({"account": "acme", "recipients": ["+393331234567"], "message": "Hello"} | more)


def cut(value: bytes, offset: int = 0, timestamp_ms: int = NOON_MS) -> list[Batch]:
    data, seen, wrong = validate.read(value, LIMIT)
    error = seen if isinstance(seen, Error) else validate.check_request(seen, ACME)
    return list(validate.batches(data, record("intake", value, offset, timestamp_ms), error, wrong))


def number_of(recipient: str | dict) -> str:
    return recipient if isinstance(recipient, str) else recipient["number"]


@given(RECIPIENTS, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_every_recipient_stands_once_in_order_and_is_judged_alone(recipients, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "SLICE", size)
        made = cut(request(recipients=recipients))
    assert [i for b in made for i in b.index] == list(range(len(recipients)))
    assert [n for b in made for n in b.numbers] == [number_of(r) for r in recipients]
    assert [b.slice for b in made] == list(range(len(made)))
    assert all(len(b) <= size and len(b.where) == len(b) for b in made)
    wrong = {b.index[p]: e for b in made for p, e in b.errors.items()}
    before: set[str] = set()
    for place, recipient in enumerate(recipients):
        number = number_of(recipient)
        found = classify(number)
        if isinstance(found, Error):
            assert wrong[place] == found.of("recipient")
        else:
            assert (place in wrong) == (number in before)
            if number in before:
                assert wrong[place].code == errors.DUPLICATE_RECIPIENT
            before.add(number)


@given(RECIPIENTS, st.none() | st.text(min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_a_replay_gives_the_same_batches(recipients, request_id):
    value = request(recipients=recipients, **({"requestId": request_id} if request_id else {}))
    assert cut(value, 7) == cut(value, 7)


def test_a_repeat_at_another_place_and_time_has_the_same_request():
    value = request(requestId="r1")
    (once,), (again,) = cut(value, 1, NOON_MS), cut(value, 9, NOON_MS + 5000)
    assert once.request == again.request
    assert once.fingerprint == again.fingerprint
    assert once.id != again.id  # encode gives it the first ids


def test_the_order_of_fields_does_not_make_another_content():
    (once,) = cut(b'{"account":"acme","recipients":["+393331234567"],"message":"a","custom":{"x":1,"y":2}}')
    (again,) = cut(b'{"message":"a","custom":{"y":2,"x":1},"recipients":["+393331234567"],"account":"acme"}')
    assert once.fingerprint == again.fingerprint


def test_without_request_id_every_record_is_a_request_of_its_own():
    (once,), (again,) = cut(request(), 1), cut(request(), 2)
    assert once.request != again.request


def test_long_fields_cut_batches_too():
    recipients = [{"number": f"+39333{n:07d}", "fields": {"a": "x" * 90_000}} for n in range(5)]
    made = cut(request(recipients=recipients, message="{{a}}"))
    assert [b.index for b in made] == [[0, 1], [2, 3], [4]]
    assert [len(b.fields) for b in made] == [2, 2, 1]


def test_slices_of_a_large_request_have_ids_of_their_own():
    made = cut(request(recipients=[f"+39333{n:07d}" for n in range(1201)]))
    assert [len(b) for b in made] == [500, 500, 201]
    assert len({b.id for b in made}) == 3
    assert len({b.request for b in made}) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[1]",
        b"null",
        b'"text"',
        b"{}",
        b'{"account": 7, "recipients": ["+393331234567"], "message": "a"}',
        b'{"recipients": ["+393331234567"], "message": "a"}',
        b'{"account": "acme", "message": "a"}',
        b'{"account": "acme", "recipients": [], "message": "a"}',
    ],
)
def test_unreadable_is_what_nobody_could_be_answered_for(value):
    with pytest.raises(Unreadable):
        validate.read(value, LIMIT)


def test_a_record_past_the_limit_is_unreadable_and_says_the_limit():
    with pytest.raises(Unreadable, match="at most 100 are taken"):
        validate.read(request(message="x" * 200), 100)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"account": st.text(max_size=5)},
        optional=dict.fromkeys(
            ("requestId", "sender", "message", "options", "callback", "custom", "recipients", "unknown"), JSON
        ),
    ),
    JSON,
)
@settings(max_examples=200, deadline=None)
def test_whoever_names_an_account_and_recipients_is_answered_for_each(data, recipient):
    if "recipients" not in data:
        data["recipient"] = recipient
    listed = data.get("recipients", [data.get("recipient")])
    listed = listed if isinstance(listed, list) else [listed]
    if not listed:
        return
    made = cut(orjson.dumps(data))
    assert [i for b in made for i in b.index] == list(range(len(listed)))


def test_deep_custom_values_are_answered_too():
    value = b'{"account":"acme","recipients":["+393331234567"],"message":"a","custom":{"a":' + b"[" * 300 + b"]" * 300
    made = cut(value + b"}}")
    assert [i for b in made for i in b.index] == [0]


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [
        ({"message": ""}, errors.EMPTY_MESSAGE, "message"),
        ({"mesage": "a"}, errors.MALFORMED_REQUEST, "mesage"),
        ({"options": {"dryrun": True}}, errors.MALFORMED_REQUEST, "options.dryrun"),
        ({"options": {"dryRun": "yes"}}, errors.MALFORMED_REQUEST, "options.dryRun"),
        ({"options": {"validitySeconds": 0}}, errors.MALFORMED_REQUEST, "options.validitySeconds"),
        ({"options": {"sendAt": "2026-11-22T10:00:00"}}, errors.MALFORMED_REQUEST, "options.sendAt"),
        ({"recipient": "+393331234567"}, errors.MALFORMED_REQUEST, "not both"),
        ({"callback": {"url": "no url"}}, errors.MALFORMED_REQUEST, "callback.url"),
        ({"callback": {"url": "https://a.example", "retry": 6}}, errors.MALFORMED_REQUEST, "callback.retry"),
        ({"recipients": ["+39"] * (MAX_RECIPIENTS + 1)}, errors.TOO_MANY_RECIPIENTS, "10000"),
        ({"requestId": "x" * 129}, errors.MALFORMED_REQUEST, "requestId"),
        ({"sender": "ab"}, errors.INVALID_SENDER, "sender: "),
        ({"sender": "12345"}, errors.NUMERIC_SENDER, "sender: "),
    ],
)
def test_what_is_wrong_for_all_is_named(more, code, named):
    made = cut(request(**more))
    assert {b.error.code for b in made} == {code}
    assert named in made[0].error.message


def test_what_is_wrong_with_a_number_names_the_recipient():
    (made,) = cut(request(recipients=["+393331234567", "", "333"]))
    assert {place: error.message for place, error in made.errors.items()} == {
        1: "recipient: empty",
        2: "recipient: no + at the start",
    }


def test_accounts_must_exist_and_be_allowed():
    asked = Request(account="acme", recipients=["+393331234567"], message="a")
    unknown = validate.check_request(asked, None)
    blocked = validate.check_request(asked, AccountRecord("acme", "", [], blocklisted=True))
    assert (unknown.code, blocked.code) == (errors.UNKNOWN_ACCOUNT, errors.BLOCKLISTED)


class Directory:
    """Accounts as the stage sees them: `acme` is there, `late` arrives with the next refresh."""

    def __init__(self) -> None:
        self.names = {"acme"}

    def get(self, name: str) -> AccountRecord | None:
        return AccountRecord(name, "", []) if name in self.names else None

    async def refresh(self) -> None:
        self.names.add("late")


@pytest.mark.parametrize(("account", "code"), [("acme", None), ("late", None), ("nobody", errors.UNKNOWN_ACCOUNT)])
def test_the_stage_passes_checked_batches_on(table: Table, account, code):
    decide = decides(validate.sources(SETTINGS, Directory()))["t.intake.priority"]
    sent = table.window(decide, [record("t.intake.priority", request(account=account))])
    (found,) = sent.items("t.validated.priority", decode_batches)
    assert (found.error.code if found.error else None) == code
    assert found.numbers == ["+393331234567"]


def test_half_a_character_costs_its_recipient_alone():
    asked = {"account": "acme", "message": "Hi {{n}}", "recipients": [
        {"number": "+393331234567", "fields": {"n": "ok"}}, {"number": "+393331234568", "fields": {"n": "a\ud83d"}},
        {"number": "+393331234569", "fields": {"n": 2**70}},
    ]}  # fmt: skip
    data, request, wrong = validate.read(json.dumps(asked).encode(), 10_000)
    assert not isinstance(request, Error)
    assert (len(data["recipients"]), len(request.recipients)) == (3, 1)
    assert {place: error.code for place, error in wrong.items()} == {
        1: errors.INVALID_TEXT,
        2: errors.MALFORMED_REQUEST,
    }
    assert "recipients.1.fields.n: U+D83D at index 1" in wrong[1].message
    assert "n: a number of more than 15 digits" in wrong[2].message


def test_half_a_character_in_the_message_is_told_to_all():
    value = json.dumps({"account": "acme", "message": "\udc00x", "recipients": ["+393331234567"] * 2}).encode()
    _, error, wrong = validate.read(value, 10_000)
    assert isinstance(error, Error) and wrong == {}
    assert (error.code, error.message.startswith("message: U+DC00 at index 0")) == (errors.INVALID_TEXT, True)
    for broken in (b'{"account": "acme", "x": "\\ud83d', b'"\\ud83d"', b'{"x": "\\ud83d", "y": NaN}'):
        with pytest.raises(Unreadable):
            validate.read(broken, 10_000)
