import json
from datetime import UTC, datetime, timedelta

import broker
import pytest
from serving import SECRET
from standardwebhooks import Webhook

from pipeline import ids
from pipeline.carriers.receipts import Receipt, ReceiptBatch, decode
from schemas import errors


def signed(body: bytes, secret: str = SECRET, age: timedelta = timedelta()) -> dict[str, str]:
    at = datetime.now(UTC) - age
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode("latin-1")),
    }


def post(gateway, body, headers=None, carrier="sim"):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return gateway.http.post(
        f"/carriers/{carrier}/receipts", content=body, headers=signed(body) if headers is None else headers
    )


def read(gateway, topic):
    return [(record.partition, decode(record.value)) for record in broker.read(gateway.settings, topic)]


def test_receipts_are_grouped_by_where_they_belong(gateway):
    partitions = gateway.settings.kafka.partitions
    batches = [bytes([n]) * ids.BATCH_BYTES for n in range(1, 9)]
    ours = [
        {"id": f"c{n}-{i}", "reference": ids.message_id(batch, i), "status": "DELIVRD", "error": "000", "doneAt": "x"}
        for n, batch in enumerate(batches)
        for i in range(3)
    ]
    theirs = [{"id": f"d{n}", "status": "whatever", "extra": 1} for n in range(20)]
    theirs.append({"id": "e", "reference": "not-an-id", "status": "UNDELIV"})
    before = {topic: len(read(gateway, topic)) for topic in (gateway.names.receipts, gateway.names.references)}
    assert post(gateway, {"receipts": [*ours, *theirs]}).status_code == 204

    found = read(gateway, gateway.names.receipts)
    assert len(found) - before[gateway.names.receipts] == len({ids.partition_of(b, partitions) for b in batches})
    kept = [receipt for _, batch in found for receipt in batch.receipts]
    assert sorted(r.id for r in kept) == sorted(one["id"] for one in ours)
    assert Receipt("c0-0", ours[0]["reference"], "DELIVRD", "000", "x") in kept
    for partition, batch in found:
        assert isinstance(batch, ReceiptBatch) and batch.carrier == "sim" and batch.received_at_ms > 1_700_000_000_000
        assert {ids.partition_of(ids.split(r.reference)[0], partitions) for r in batch.receipts} == {partition}

    found = read(gateway, gateway.names.references)
    assert sorted(r.id for _, b in found for r in b.receipts) == sorted(one["id"] for one in theirs)
    for partition, batch in found:
        assert {ids.partition_of(f"sim\0{r.id}".encode(), partitions) for r in batch.receipts} == {partition}


def test_nothing_to_tell_is_taken(gateway):
    assert post(gateway, {"receipts": []}).status_code == 204


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(b'{"receipts":[] }'),
        signed(b'{"receipts":[]}', age=timedelta(minutes=6)),
        signed(b'{"receipts":[]}', secret="whsec_YWJj"),
        {**signed(b'{"receipts":[]}'), "webhook-signature": "nonsense"},
        {**signed(b'{"receipts":[]}'), "webhook-signature": "v1,@"},
    ],
)
def test_only_what_is_signed_now_with_the_secret_is_taken(gateway, headers):
    answer = post(gateway, b'{"receipts":[]}', headers)
    assert (answer.status_code, answer.json()["code"]) == (401, errors.UNAUTHENTICATED)


def test_a_rotated_secret_may_sign_beside_the_old(gateway):
    body = b'{"receipts":[]}'
    headers = signed(body)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert post(gateway, body, headers).status_code == 204


def test_a_carrier_without_secret_is_told_to_get_one(gateway):
    answer = post(gateway, {"receipts": []}, carrier="bare")
    assert answer.status_code == 403 and "carriers.bare.secret" in answer.json()["message"]


@pytest.mark.parametrize("carrier", ["unknown", "telco"])
def test_other_carriers_have_no_receipts_here(gateway, carrier):
    assert post(gateway, {"receipts": []}, carrier=carrier).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{", 400, "JSON"),
        (b'{"receipts": [\xff]}', 401, "signature"),
        (b"[]", 422, "body"),
        (b"{}", 422, "receipts"),
        (b'{"receipts": [{"id": "a"}]}', 422, "status"),
        (b'{"receipts": [{"id": 1, "status": "DELIVRD"}]}', 422, "receipts[0].id"),
    ],
)
def test_what_cannot_be_read_is_named(gateway, body, status, word):
    answer = post(gateway, body)
    assert answer.status_code == status and word in answer.json()["message"]


def test_too_large_a_body_is_refused(gateway):
    assert post(gateway, b" " * (4 * 1024 * 1024 + 1), headers={}).status_code == 413
