"""What the lists find travels on the batch; what is to be done about it is the price stage's business."""

import msgspec
from stepping import SETTINGS, Table, batch, decides, record

from pipeline.moderation import Rules, Term
from pipeline.optouts import EVERYBODY, OptOuts, key
from pipeline.prohibited import Lists
from pipeline.records import Content, Destination, decode_batches, encode
from pipeline.stages import moderate
from schemas import errors
from schemas.findings import Finding

CLEAN, BAD = Content("Hello", "GSM-7", 5, 1), Content("a f0rbidden thing", "GSM-7", 17, 1)


def lists(*terms: Term) -> Lists:
    return Lists(Rules(terms or [Term("forbidden")]))


def codes(found: dict) -> dict[int, int]:
    return {position: error.code for position, error in found.items()}


def test_only_whose_text_holds_a_term_is_stopped(table: Table):
    decide = decides(moderate.sources(SETTINGS, lists(), OptOuts()))["t.encoded"]
    mixed = batch(recipients=4, country="DE", contents=[CLEAN, BAD], content=[0, 1, 0, 1])
    sent = table.window(decide, [record("t.encoded", encode([mixed]))])
    (onward,) = sent.items("t.moderated", decode_batches)
    assert (onward.index, codes(onward.errors)) == ([0, 1, 2, 3], {1: errors.PROHIBITED, 3: errors.PROHIBITED})
    assert "'forbidden' at 2 to 11" in onward.errors[1].message and "leet" in onward.errors[1].message
    (value,) = sent.rows["t.findings"]
    found = msgspec.json.decode(value, type=Finding)
    assert (found.account, found.field, found.term, found.messages) == ("acme", "message", "forbidden", 2)


def test_a_prohibited_sender_stops_all():
    wrong, findings = moderate.moderate(batch(sender="FORBIDDEN"), lists(), OptOuts(), 0)
    assert set(wrong) == {0, 1, 2}
    assert [(finding.field, finding.messages) for finding in findings] == [("sender", 3)]
    assert moderate.moderate(batch(), lists(), OptOuts(), 0) == ({}, [])


def test_the_code_is_the_tariffs_and_a_dry_runs():
    for tariff, dry_run, code in [("IT", False, 2050), ("IT", True, 2044), ("ES", False, 2050), ("WW", False, 2044)]:
        asked = batch(tariff=tariff, dry_run=dry_run, sender="forbidden")
        wrong, _ = moderate.moderate(asked, lists(), OptOuts(), 0)
        assert set(codes(wrong).values()) == {code}


def test_lists_may_be_a_countrys_an_accounts_or_only_report():
    mixed = batch(recipients=2, contents=[BAD], where=[0, 1])
    mixed.destinations.append(Destination("DE", "49", ""))
    wrong, _ = moderate.moderate(mixed, lists(Term("forbidden", countries=("DE",))), OptOuts(), 0)
    assert set(wrong) == {1}
    assert moderate.moderate(mixed, lists(Term("forbidden", accounts=("other",))), OptOuts(), 0) == ({}, [])
    wrong, findings = moderate.moderate(mixed, lists(Term("forbidden", severity="flag")), OptOuts(), 0)
    assert (wrong, [(f.severity, f.messages) for f in findings]) == ({}, [("flag", 2)])


def test_who_opted_out_of_the_account_or_of_all_is_not_written_to():
    asked = batch(recipients=4)
    opt_outs = OptOuts()
    for account, place in (("acme", 0), (EVERYBODY, 1), ("other", 2)):
        opt_outs.take(key(account, asked.numbers[place]), b"{}")
    wrong, _ = moderate.moderate(asked, lists(), opt_outs, 0)
    assert codes(wrong) == {0: errors.OPTED_OUT, 1: errors.OPTED_OUT}
    opt_outs.take(key("acme", asked.numbers[0]), None)
    assert set(moderate.moderate(asked, lists(), opt_outs, 0)[0]) == {1}
    asked.contents = [BAD]  # what is prohibited is told of first
    assert codes(moderate.moderate(asked, lists(), opt_outs, 0)[0])[1] == errors.PROHIBITED
