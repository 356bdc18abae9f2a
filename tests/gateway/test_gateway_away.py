"""Kafka goes away and comes back under a running gateway."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import broker
import pytest
from serving import TOKENS, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord
from pipeline.gateway import publisher, reading
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import hash_token

MESSAGE = {"recipient": "+393331234567", "message": "Hi"}


@pytest.mark.timeout(120)
def test_what_was_refused_with_503_is_never_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(reading, "_REFRESH_SECONDS", 1.0)
    kafka = EmbeddedKafka(tmp_path / "kafka", heap_mb=256)
    settings = configured(kafka.start(), tmp_path)
    try:
        broker.create_topics(settings)
        put_accounts(settings, AccountRecord("acme", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["acme"])]))
        with serving(settings) as gateway:
            acme = gateway.as_("acme")
            eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
            assert acme.post("/messages", json={**MESSAGE, "requestId": "before"}).status_code == 201

            os.kill(kafka.pid, signal.SIGKILL)
            eventually(lambda: not kafka.alive())
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: acme.post("/messages", json=MESSAGE), range(8)))
            for answer in answers:
                assert answer.status_code == 503 and answer.headers["retry-after"]
                assert answer.json()["requestId"]
            assert gateway.http.get("/health/ready").status_code == 503
            assert gateway.http.get("/health/live").status_code == 200
            unknown = {"Authorization": f"Bearer smsp_{'u' * 43}"}
            assert gateway.http.get("/messages", headers=unknown).status_code == 503
            assert acme.get("/messages").status_code == 200

            kafka.restart()
            eventually(lambda: gateway.http.get("/health/ready").status_code == 200, 40)
            assert acme.post("/messages", json={**MESSAGE, "requestId": "after"}).status_code == 201
        topic = TopicNames(settings.kafka.topic_prefix).intake(".priority")
        values = b" ".join(record.value for record in broker.read(settings, topic))
        assert values.count(b"requestId") == 2 and b'"before"' in values and b'"after"' in values
    finally:
        kafka.stop()


def test_a_gateway_without_kafka_lives_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher, "PATIENCE_SECONDS", 0.2)
    settings = configured("127.0.0.1:1", tmp_path)
    with serving(settings) as gateway:
        assert gateway.http.get("/health/live").status_code == 200
        eventually(lambda: gateway.http.get("/health/ready").json()["missing"] == ["kafka", "accounts", "optOuts"])
        assert gateway.as_("acme").post("/messages", json=MESSAGE).status_code == 503
