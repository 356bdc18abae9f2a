from stepping import SETTINGS, Table, batch, decides, record

from pipeline.moderation import TermList
from pipeline.records import Content, decode_batches, decode_outcomes, encode
from pipeline.stages import moderate
from schemas import errors
from schemas.states import Detailed

TERMS = TermList.parse(["forbidden"])
CLEAN, BAD = Content("Hello", "GSM-7", 5, 1), Content("a f0rbidden thing", "GSM-7", 17, 1)


def test_only_whose_text_holds_a_term_is_blocked(table: Table):
    decide = decides(moderate.sources(SETTINGS, TermList.parse(["forbidden", "thing"])))["t.encoded"]
    mixed = batch(recipients=4, contents=[CLEAN, BAD], content=[0, 1, 0, 1])
    sent = table.window(decide, [record("t.encoded", encode([mixed]))])
    (onward,) = sent.items("t.moderated", decode_batches)
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (onward.index, rejected.batch.index) == ([0, 2], [1, 3])
    assert (rejected.state, {e.code for e in rejected.errors}) == (Detailed.BLOCKED, {errors.PROHIBITED})
    assert onward.content_of(1) == CLEAN


def test_a_prohibited_sender_blocks_all():
    assert set(moderate.prohibited(batch(sender="forbidden"), TERMS)) == {0, 1, 2}
    assert moderate.prohibited(batch(), TERMS) == {}
