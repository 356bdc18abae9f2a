"""A gateway, or Kafka, that dies in an upload: nothing of it is seen, and the same again is taken once."""

import asyncio
import json
import os
import signal
from collections import Counter

import broker
import httpx
import pytest
from serving import TOKENS, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord, hash_token
from pipeline.config import Gateway
from pipeline.gateway import publisher
from pipeline.ops.child import spawn, tail, terminate
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.ops.ports import free_port
from pipeline.ops.system import command
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

NUMBERS = "\n".join(f"+39333{number:07d}" for number in range(5000))
ACME = AccountRecord("acme", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["acme"])])


def requests(settings, **how):
    """The ids of the requests on the intake, as often as they stand there."""
    names = TopicNames(settings.kafka.topic_prefix)

    async def read():
        consumer = client.consumer(settings.kafka, names.intake(), **how)
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += [json.loads(record.value)["requestId"] for record in records]
            return Counter(found)
        finally:
            await consumer.stop()

    return asyncio.run(read())


def upload(url, request_id):
    request = json.dumps({"message": "Hi", "requestId": request_id})
    files = {"request": (None, request), "recipients": ("numbers.txt", NUMBERS)}
    return httpx.post(f"{url}/batches", files=files, headers={"Authorization": f"Bearer {TOKENS['acme']}"}, timeout=60)


class Process:
    """A gateway as it is started in earnest."""

    def __init__(self, settings, directory):
        self.log = directory / "gateway.log"
        self.url = f"http://127.0.0.1:{settings.gateway.port}"
        self._directory = directory
        environment = {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SMS_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "SMS_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "SMS_STORAGE__DIRECTORY": str(settings.storage.directory),
            "SMS_GATEWAY__PORT": str(settings.gateway.port),
            "SMS_FAILPOINTS": str(directory),
        }
        self.process = spawn([*command(), "gateway"], log=self.log, env=environment)
        eventually(self.ready, 60)

    def ready(self):
        assert self.process.poll() is None, tail(self.log, 60)
        try:
            return httpx.get(f"{self.url}/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def dies_at(self, point, request_id):
        (self._directory / point).touch()
        with pytest.raises(httpx.HTTPError):
            upload(self.url, request_id)
        self.process.wait(30)


@pytest.mark.timeout(180)
def test_a_gateway_killed_in_an_upload(kafka, tmp_path):
    settings = configured(kafka, tmp_path)
    settings = settings.model_copy(update={"gateway": Gateway(port=free_port())})
    broker.create_topics(settings)
    put_accounts(settings, ACME)
    running = Process(settings, tmp_path)
    running.dies_at("gateway.transaction-produced", "cut")
    assert sum(requests(settings, isolation_level="read_uncommitted").values()) == 5
    assert not requests(settings)
    assert not any((settings.storage.directory / "uploads").iterdir())

    running = Process(settings, tmp_path)
    behind = [(None, b'{"requestId": "behind-%d"}' % place, place) for place in range(3)]
    broker.produce(settings, TopicNames(settings.kafka.topic_prefix).intake(), behind)
    eventually(lambda: len(requests(settings)) == 3, 5)  # the broker would wait for 15 s
    answer = upload(running.url, "cut")
    assert answer.status_code == 202, answer.text
    running.dies_at("gateway.transaction-committed", "answered never")

    running = Process(settings, tmp_path)
    try:
        answers = [upload(running.url, "answered never") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        eventually(lambda: sum(requests(settings).values()) >= 13)
        assert set(requests(settings).values()) == {1}
    finally:
        terminate(running.process, 30)


@pytest.mark.timeout(180)
def test_kafka_killed_in_an_upload(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(publisher, "_PRODUCE_SECONDS", 2.0)
    broken = EmbeddedKafka(tmp_path / "kafka", heap_mb=256)
    settings = configured(broken.start(), tmp_path)

    def kill(point):
        if point == "gateway.transaction-produced":
            os.kill(broken.pid, signal.SIGKILL)

    try:
        broker.create_topics(settings)
        put_accounts(settings, ACME)
        with serving(settings) as gateway:
            eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
            with monkeypatch.context() as patched:
                patched.setattr(publisher.failpoint, "reach", kill)
                answer = upload(gateway.url, "away")
                assert answer.status_code == 503 and answer.headers["retry-after"]
                assert answer.json()["requestId"] == "away"
                assert upload(gateway.url, "away").status_code == 503  # and it still answers
            broken.restart()
            eventually(lambda: upload(gateway.url, "away").status_code == 202, 60)
            eventually(lambda: len(requests(settings)) == 5)
            assert set(requests(settings).values()) == {1}
    finally:
        broken.stop()
