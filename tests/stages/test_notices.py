"""What is told beside the status record itself: headers, and notices for those who want to be called."""

import json

from stepping import SETTINGS, Table, batch, decides, record
from tracking import RECIPIENTS, about, receipt, submitted

from pipeline.callbacks.records import decode_news
from pipeline.carriers import receipts
from pipeline.optouts import OptOuts
from pipeline.records import Accepted, Batch, Rejected, encode
from pipeline.stages import track
from pipeline.stages.telling import options_of
from schemas.errors import Error
from schemas.states import Detailed

CALLBACK = b'{"url":"https://client.example/"}'


def told(table: Table, listens: bool, about: Batch) -> tuple[list[list[tuple[str, bytes]]], list]:
    """The headers of the status records, and the notices, from acceptance to delivery."""
    decide = decides(
        track.sources(
            SETTINGS, track.Tracker(SETTINGS, OptOuts(), lambda account: listens and account == about.account)
        )
    )
    headers, notices = [], []
    news = [
        ("t.outcomes", encode([Accepted(about)])),
        ("t.outcomes", encode([submitted(dict.fromkeys(range(RECIPIENTS), Detailed.SUBMITTED))])),
        ("t.receipts", receipts.encode(receipt(0, "DELIVRD"))),
    ]
    for offset, (topic, value) in enumerate(news):
        sent = table.window(decide[topic], [record(topic, value, offset)])
        headers += sent.headers.get("t.status", [])
        notices += sent.items("t.callbacks", decode_news)
    return headers, notices


def test_nobody_is_called_who_did_not_ask(table: Table) -> None:
    headers, notices = told(table, False, about())
    assert (len(headers), notices) == (2 * RECIPIENTS + 1, [])
    assert not any(name == "sms_callback" for one in headers for name, _ in one)


def test_a_callback_stands_on_every_record_and_its_moves_are_noticed(table: Table) -> None:
    headers, notices = told(table, False, about(callback=CALLBACK))
    assert all(("sms_callback", CALLBACK) in one for one in headers)
    assert [len(notice.statuses) for notice in notices] == [RECIPIENTS, 1]
    assert {json.loads(value)["state"] for value in notices[0].statuses} == {"PENDING"}
    assert json.loads(notices[1].statuses[0])["state"] == "DELIVERED"
    assert (notices[1].callback, notices[1].texts, notices[1].account) == (CALLBACK, ["Hello"], "acme")


def test_an_account_with_an_endpoint_is_told_of_every_batch(table: Table) -> None:
    _, notices = told(table, True, about())
    assert [(len(notice.statuses), notice.callback) for notice in notices] == [(RECIPIENTS, None), (1, None)]


def test_options_stand_on_the_first_record_only(table: Table) -> None:
    headers, _ = told(table, False, about(transliterate=True, validity_seconds=60))
    options = [dict(one).get("sms_options") for one in headers]
    assert [json.loads(one) for one in options[:RECIPIENTS]] == [{"transliterate": True, "validitySeconds": 60}] * 4
    assert options[RECIPIENTS:] == [None] * (RECIPIENTS + 1)


def test_a_refusal_is_noticed_with_its_text(table: Table) -> None:
    refused = batch(1, 2, callback=CALLBACK)
    value = encode([Rejected("price", refused, [0, 0], [Error(3021, "no credit")], Detailed.REJECTED)])
    sent = table.window(
        decides(track.sources(SETTINGS, track.Tracker(SETTINGS, OptOuts())))["t.outcomes"],
        [record("t.outcomes", value)],
    )
    (notice,) = sent.items("t.callbacks", decode_news)
    assert ([json.loads(one)["state"] for one in notice.statuses], notice.text) == (["REJECTED"] * 2, [0, 0])
    assert all({"sms_options", "sms_text"} <= dict(one).keys() for one in sent.headers["t.status"])


def test_default_options_are_not_told() -> None:
    assert options_of(batch()) == b"{}"
    assert json.loads(options_of(batch(tariff="IT", dry_run=True))) == {"dryRun": True, "tariff": "IT"}
