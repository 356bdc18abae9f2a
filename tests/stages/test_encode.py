from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import NOON_MS, SETTINGS, Log, Table, batch, decides

from pipeline import ids
from pipeline.carriers.routing import Router
from pipeline.config import Route
from pipeline.records import Batch, Content, Rejected, decode_batches, decode_outcomes, encode
from pipeline.stages import encode as stage
from pipeline.text import LANGUAGES, PLAIN, Wire
from pipeline.text import encode as encode_text
from schemas import errors
from schemas.errors import Error

SLICES = 3
ROUTER = Router([], ["sim"])


def plain(numbers: Sequence[str]) -> list[Wire]:
    return [PLAIN] * len(numbers)


def piece(slice_number: int, later: int = 0, content: str = "first", request_id: str = "r1") -> Batch:
    """One slice of a request as validate makes it at a moment."""
    request = ids.request_hash("acme", request_id)
    return batch(
        recipients=2,
        id=ids.batch_id(request, slice_number, NOON_MS + later * 1000),
        request=request,
        slice=slice_number,
        fingerprint=content.encode().ljust(8),
        message=content,
        request_id=request_id,
        contents=[],
        index=[2 * slice_number, 2 * slice_number + 1],
    )


@given(
    st.lists(
        st.tuples(st.integers(0, SLICES - 1), st.integers(0, 3), st.sampled_from(["first", "other", "third"])),
        min_size=1,
        max_size=14,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_batch_twice_and_always_the_first_ids(shared_table: Table, arrivals):
    shared_table.clear()
    arrivals = [(arrivals[0][0], arrivals[0][1], "first"), *arrivals[1:]]
    passed: dict[tuple[str, int], bytes] = {}
    log = Log("t.validated")
    for number, later, content in arrivals:
        view = shared_table.view()
        found = stage.recognise(piece(number, later, content), log.append(b""), view, set())
        shared_table.write(view.take_first() | view.take_later())
        assert (found is None) == ((content, number) in passed)
        if found:
            assert (found.error is None) == (content == "first")
            passed[content, number] = found.id
    assert len(set(passed.values())) == len(passed)
    began = {c: next(later for _, later, content in arrivals if content == c) for c, _ in passed}
    for (content, number), identity in passed.items():
        assert int.from_bytes(identity[:4], "big") == NOON_MS // 1000 + began[content]
        if content == "first":
            assert identity == piece(number, began[content]).id


def test_another_content_under_the_same_id_is_refused_once(table: Table):
    decide, log = decides(stage.sources(SETTINGS, ROUTER))["t.validated"], Log("t.validated")
    refusals = []
    for later, content in enumerate(["first", "other", "first", "other"]):
        sent = table.window(decide, [log.append(encode([piece(0, later, content)]))])
        refusals += sent.items("t.outcomes", decode_outcomes)
        assert len(sent.items("t.encoded", decode_batches)) == (later == 0)
    (refused,) = refusals
    assert isinstance(refused, Rejected)
    assert [error.code for error in refused.errors] == [errors.REQUEST_ID_REUSED]
    assert refused.batch.id != piece(0).id


def test_a_request_cut_short_by_a_crash_is_completed_under_the_first_ids(table: Table):
    decide, log = decides(stage.sources(SETTINGS, ROUTER))["t.validated"], Log("t.validated")
    table.window(decide, [log.append(encode([piece(0)]))])
    sent = table.window(decide, [log.append(encode([piece(n, later=60) for n in range(SLICES)]))])
    assert [b.id for b in sent.items("t.encoded", decode_batches)] == [piece(1).id, piece(2).id]


@pytest.mark.parametrize("crash", [{"first": 0}, {"first": 1}, {"sent": False}, {"later": False}])
def test_a_window_repeated_after_a_crash_gives_the_same_batches(table: Table, crash):
    decide, log = decides(stage.sources(SETTINGS, ROUTER))["t.validated"], Log("t.validated")
    rows = [log.append(encode([piece(0)])), log.append(encode([piece(0, later=9), piece(1, later=9)]))]
    once = table.window(decide, rows, **crash)
    again = table.window(decide, rows)
    assert [b.id for b in again.items("t.encoded", decode_batches)] == [piece(0).id, piece(1).id]
    assert once.rows in ({}, again.rows)


def test_repeats_that_share_a_record_are_one(table: Table):
    """A client that sends twice at once meets itself in one window of validate, so in one record here."""
    decide, log = decides(stage.sources(SETTINGS, ROUTER))["t.validated"], Log("t.validated")
    sent = table.window(decide, [log.append(encode([piece(0), piece(0, later=1), piece(0)]))])
    assert [b.id for b in sent.items("t.encoded", decode_batches)] == [piece(0).id]


def test_a_repeat_in_the_other_lane_after_a_crash_has_the_first_ids(table: Table):
    """The worker dies between the outputs and the state; the client's repeat, in the other lane, is read before the
    replay. What was sent under the first ids must not go out under others too."""
    lanes = decides(stage.sources(SETTINGS, ROUTER))
    first = Log("t.validated").append(encode([piece(0)]))
    repeat = Log("t.validated.priority").append(encode([piece(0, later=5)]))
    passed = table.window(lanes["t.validated"], [first], later=False).items("t.encoded", decode_batches)
    passed += table.window(lanes["t.validated.priority"], [repeat]).items("t.encoded.priority", decode_batches)
    passed += table.window(lanes["t.validated"], [first]).items("t.encoded", decode_batches)
    assert {b.id for b in passed} == {piece(0).id}


def texts(made: Batch) -> dict[int, str]:
    """Recipient's index to text."""
    return {index: made.content_of(position).text for position, index in enumerate(made.index)}


@given(
    st.lists(st.sampled_from(["Ada", "Bob", "€", "中文", None]), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
@settings(max_examples=80, deadline=None)
def test_every_position_has_its_own_text(names, invalid):
    wrong = {p: Error(errors.INVALID_RECIPIENT, "no") for p in range(len(names)) if invalid[p]}
    fields: list[dict[str, str]] = [{"name": n} if n else {} for n in names]
    asked = batch(recipients=len(names), message="Hello {{name}}!", fields=fields, contents=[], errors=wrong)
    onward, rejected = stage.contents(asked, 10, plain)
    found = texts(onward) if onward else {}
    assert found == {p: f"Hello {n}!" for p, n in enumerate(names) if n and not invalid[p]}
    told = dict(zip(rejected.batch.index, rejected.which, strict=True)) if rejected else {}
    assert sorted([*found, *told]) == list(range(len(names)))
    for place, which in told.items():
        code = errors.INVALID_RECIPIENT if invalid[place] else errors.MISSING_FIELD
        assert rejected.errors[which].code == code
        assert rejected.errors[which].message.startswith("no" if invalid[place] else 'message: field "name" is missing')
    if onward:
        assert onward.errors == {}
        assert onward.fields is None
        assert len(onward.contents) == len({c.text for c in onward.contents})


def test_parts_are_those_that_every_carrier_of_the_route_can_carry():
    """Turkish letters: one part where shift tables are taken, two in UCS-2. Both carriers of +49 would have to."""
    turkish, both = Wire((LANGUAGES["turkish"],)), Wire((LANGUAGES["turkish"], LANGUAGES["urdu"]), "16-bit")
    wires = {"sim": turkish, "plain": PLAIN, "both": both}
    router = Router(
        [Route(prefix="39", carriers=["sim", "both"]), Route(prefix="49", carriers=["sim", "plain"])], list(wires)
    )
    asked = batch(message="ğ" + "a" * 100, recipients=4, contents=[])
    asked.numbers = ["+393331234567", "+4915112345678", "+393331234568", "+4915112345679"]
    onward, rejected = stage.contents(asked, 10, lambda numbers: router.wires(numbers, wires))
    assert onward and not rejected
    costs = [(c.encoding, c.count, c.single) for c in map(onward.content_of, range(4))]
    assert costs == [("GSM-7", 1, LANGUAGES["turkish"]), ("UCS-2", 2, 0)] * 2


def test_a_personalised_batch_is_what_each_text_is_by_itself():
    names = ["Ada", "Žofie", "", "[x]", "中" * 40, None]
    fields: list[dict[str, str]] = [{} if name is None else {"name": name} for name in names]
    asked = batch(recipients=len(names), message="Dear {{name}}, " + "a" * 140, fields=fields, contents=[])
    onward, rejected = stage.contents(asked, 10, plain)
    assert onward and rejected and rejected.batch.index == [5]
    for position, name in enumerate(names[:5]):
        alone = encode_text(f"Dear {name}, " + "a" * 140)
        content = onward.content_of(position)
        assert not isinstance(alone, Error)
        assert (content.encoding, content.characters, content.count) == (alone.encoding, alone.characters, alone.count)


@pytest.mark.parametrize(
    ("message", "more", "code"),
    [
        ("a" * 161, {"fail_on_multiple": True}, errors.MULTIPLE_PARTS),
        ("a" * 2000, {}, errors.TOO_MANY_PARTS),
        ("a\0b", {}, None),
    ],
)
def test_texts_that_cannot_be_sent_are_refused_for_all(message, more, code):
    onward, rejected = stage.contents(batch(message=message, contents=[], **more), 10, plain)
    if code:
        assert onward is None
        assert [e.code for e in rejected.errors] == [code]
    else:
        assert onward or rejected


def test_an_error_of_the_whole_request_is_everybodys():
    onward, rejected = stage.contents(batch(error=Error(3002, "unknown account"), contents=[]), 10, plain)
    assert onward is None
    assert (rejected.stage, rejected.which, len(rejected.errors)) == ("validate", [0, 0, 0], 1)


def test_transliteration_keeps_a_text_in_gsm():
    onward, _ = stage.contents(batch(message="“quoted” – dash", contents=[], transliterate=True), 10, plain)
    assert onward.contents[0].encoding == "GSM-7"
    onward, _ = stage.contents(batch(message="“quoted” – dash", contents=[]), 10, plain)
    assert onward.contents[0].encoding == "UCS-2"


def test_nothing_is_told_of_a_text_that_was_not_made():
    fields: list[dict[str, str]] = [{"n": "Ada"}, {}, {"n": "y" * 2000}]
    asked = batch(message="n={{n}}", fields=fields, contents=[])
    onward, rejected = stage.contents(asked, 10, plain)
    assert onward and rejected and rejected.batch.index == [1, 2]
    for position in range(2):
        assert rejected.batch.content_of(position) == Content("", "", 0, 0)
