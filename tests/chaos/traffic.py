"""A seed's load onto the running system, repeated by its senders until it is acknowledged; and who sees it arrive."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline import ids, records
from pipeline.accounts import AccountRecord, put
from pipeline.config import Settings
from pipeline.records import Credit
from pipeline.stages.fate import rfc3339
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import new_token
from schemas import errors

from .load import CREDIT, Key, Plan, Sending
from .world import World

#: The account whose requests come over HTTP.
HTTP = "http"
#: Requests under way at the gateway.
_CLIENTS = 16


class Traffic:
    """The senders. `acknowledged`: requests that Kafka or the gateway took."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.acknowledged: set[Key] = set()
        self.refused: list[str] = []
        self._world = world
        self._plan = plan
        self._settings = world.rig.settings
        self._names = TopicNames(self._settings.kafka.topic_prefix)
        self._token, self._token_hash = new_token()
        self._clients = asyncio.Semaphore(_CLIENTS)

    async def open_accounts(self) -> None:
        """Make the accounts and give them their credit, told twice as such things are."""
        async with client.producer(self._settings.kafka) as producer:
            for account, credit in CREDIT.items():
                tokens = [self._token_hash] if account == HTTP else []
                await put(producer, self._names.accounts, AccountRecord(account, rfc3339(0), tokens))
                home = ids.partition_of(account.encode(), self._settings.kafka.partitions)
                value = records.encode([Credit(account, credit, "opening")])
                for _ in range(2):
                    await producer.send_and_wait(self._names.credits, value, partition=home)

    async def send(self, seconds: float) -> None:
        """Send the whole plan, spread over the time; return when all of it is acknowledged."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        url = self._world.rig.system.gateway_url
        async with (
            client.producer(self._settings.kafka) as producer,
            httpx.AsyncClient(base_url=url, timeout=15.0, trust_env=False) as web,
            asyncio.TaskGroup() as senders,
        ):
            for sending in self._plan.sendings:
                await asyncio.sleep(max(0.0, began + sending.at * seconds - loop.time()))
                if sending.gateway:
                    senders.create_task(self._post(web, sending))
                else:
                    senders.create_task(self._produce(producer, sending))

    async def _produce(self, producer: AIOKafkaProducer, sending: Sending) -> None:
        topic = self._names.intake(sending.lane)
        while True:
            try:
                await producer.send_and_wait(topic, sending.value, partition=sending.partition)
            except KafkaError as error:  # sent or not: it is sent again under the same requestId
                self._world.note("send failed", error=repr(error))
                await asyncio.sleep(0.5)
                continue
            if sending.key:
                self.acknowledged.add(sending.key)
            return

    async def _post(self, web: httpx.AsyncClient, sending: Sending) -> None:
        body = json.loads(sending.value)
        del body["account"]
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._clients:
            while True:
                try:
                    answer = await web.post("/messages", json=body, headers=headers)
                except httpx.HTTPError:  # killed, or starting again
                    await asyncio.sleep(0.2)
                    continue
                if answer.status_code == 201:
                    assert sending.key
                    self.acknowledged.add(sending.key)
                    return
                if answer.status_code != 503 and answer.json().get("code") != errors.REQUEST_UNDER_WAY:
                    self.refused.append(f"{sending.key}: {answer.status_code} {answer.text[:200]}")
                    self._world.note("refused", status=answer.status_code, body=answer.text[:200])
                    return
                await asyncio.sleep(0.2)


class Watch:
    """Follows the public topics while things happen: which messages have their end or are in doubt, and the money."""

    def __init__(self, settings: Settings) -> None:
        self.final: defaultdict[Key, set[int]] = defaultdict(set)
        self.doubt: defaultdict[Key, set[int]] = defaultdict(set)
        self.money: dict[str, dict[str, Any]] = {}
        self._settings = settings
        self._names = TopicNames(settings.kafka.topic_prefix)
        self._task = asyncio.create_task(self._follow())

    def ended(self, plan: Plan, *, or_in_doubt: bool = False) -> bool:
        """Whether every message of the plan has its end (or waits for an operator's word)."""
        return all(
            len(self.final[key]) + (len(self.doubt[key]) if or_in_doubt else 0) >= size
            for key, size in plan.sizes.items()
        )

    def opened(self) -> bool:
        """Whether every account has its credit."""
        return self.money.keys() >= CREDIT.keys()

    def settled(self) -> bool:
        """Whether nothing is reserved any more."""
        return all(float(money["reserved"]) == 0 for money in self.money.values())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        partitions = range(self._settings.kafka.partitions)
        places = [TopicPartition(self._names.status, number) for number in partitions]
        async with client.consumer(self._settings.kafka) as consumer:
            consumer.assign([*places, TopicPartition(self._names.balances, 0)])
            while True:
                try:
                    polled = await consumer.getmany(timeout_ms=500)
                except KafkaError:
                    await asyncio.sleep(0.5)
                    continue
                for found in polled.values():
                    for record in found:
                        self._take(record.topic, orjson.loads(record.value))

    def _take(self, topic: str, told: dict[str, Any]) -> None:
        if topic == self._names.status:
            key, index = (told["account"], told["requestId"]), told["index"]
            if told["final"]:
                self.final[key].add(index)
            if told["detailedState"] == "IN_DOUBT" and index not in self.final[key]:
                self.doubt[key].add(index)
            else:
                self.doubt[key].discard(index)
        elif self.money.get(told["account"], told)["sequence"] <= told["sequence"]:
            self.money[told["account"]] = told
