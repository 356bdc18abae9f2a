"""Reading the evidence when all is quiet: topics from the beginning, the carriers' journals, the read model."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import orjson
from aiokafka import ConsumerRecord

from pipeline.billing import format_amount
from pipeline.carriers.simulator import Behaviour, Journal
from pipeline.carriers.simulator.behaviour import Oracle
from pipeline.carriers.simulator.journal import Entry
from pipeline.config import Settings
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.streaming import client
from pipeline.streaming.topics import LANES, STAGES, TopicNames
from schemas.ledger import LedgerEntry

from .load import CREDIT, UNKNOWN_ACCOUNT, Plan
from .oracle import Asked, Balance, Evidence, Told
from .world import World

_decode = msgspec.json.Decoder(Told).decode
_decode_entry = msgspec.json.Decoder(LedgerEntry).decode
_PAGE = 5_000


async def read(settings: Settings, *topics: str) -> list[ConsumerRecord]:
    """Every record of these topics as of now, by topic, partition and offset."""
    found: list[ConsumerRecord] = []
    async with client.consumer(settings.kafka, *topics) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        left = {place for place, end in ends.items() if end > (await consumer.beginning_offsets([place]))[place]}
        while left:
            for place, records in (await consumer.getmany(*left, timeout_ms=1000)).items():
                found += [record for record in records if record.offset < ends[place]]
            left = {place for place in left if await consumer.position(place) < ends[place]}
    return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))


async def all_read(settings: Settings) -> bool:
    """Whether every stage has finished what is on its topics (the clock's ticks aside)."""
    names = TopicNames(settings.kafka.topic_prefix)
    admin = client.admin(settings.kafka)
    await admin.start()
    try:
        async with client.consumer(settings.kafka) as consumer:
            for stage in STAGES:
                committed = await admin.list_consumer_group_offsets(f"{names.prefix}{stage}")
                places = [place for place in committed if place.topic != names.ticks]
                ends = await consumer.end_offsets(places)
                if any(committed[place].offset < ends[place] for place in places):
                    return False
    finally:
        await admin.close()
    return True


async def gather(
    world: World, plan: Plan, acknowledged: set[tuple[str, str]], habits: dict[str, Behaviour]
) -> Evidence:
    """All of it. `habits`: the carriers' as they were started."""
    settings = world.rig.settings
    names = TopicNames(settings.kafka.topic_prefix)
    evidence = Evidence(acknowledged=acknowledged)
    for record in await read(settings, *(names.intake(lane) for lane in LANES)):
        evidence.asked.append(_asked(record, plan.poison))
    for record in await read(settings, names.status):
        told = _decode(record.value)
        evidence.told.setdefault(told.id, []).append(told)
    for name, path in world.rig.journals.items():
        with Journal(path) as journal:
            evidence.taken[name] = list(journal.entries())
        evidence.withheld |= _withheld(evidence.taken[name], Oracle(habits[name]), _late(world, name))
    oracles = {name: Oracle(behaviour) for name, behaviour in habits.items()}
    evidence.withheld |= _refused(evidence.told, oracles)
    for name, entries in evidence.taken.items():
        for entry in entries:
            told_of = evidence.told.get(entry.reference, [])
            evidence.ends[entry.reference] = _end(oracles[name], entry.reference, told_of)
    evidence.credit = {account: Decimal(format_amount(micros)) for account, micros in CREDIT.items()}
    for record in await read(settings, names.balances):
        money = orjson.loads(record.value)
        evidence.balances[money["account"]] = Balance(Decimal(money["balance"]), Decimal(money["reserved"]))
    evidence.ledger = [_decode_entry(record.value) for record in await read(settings, names.ledger)]
    for record in await read(settings, names.dead_letters):
        headers = {name: value.decode() for name, value in record.headers}
        evidence.dead_letters.add((headers["topic"], int(headers["partition"]), int(headers["offset"])))
    evidence.stored = await asyncio.to_thread(stored, settings)
    evidence.doubt_bound = _doubt_bound(world, habits)
    return evidence


def stored(settings: Settings) -> dict[str, tuple[str, int]]:
    """State and sequence of each message in the read model."""
    model = ReadModel(open_database(settings))
    try:
        return {
            row.id: (row.detailed_state, row.sequence)
            for account in (*CREDIT, UNKNOWN_ACCOUNT)
            for page in _pages(model, account)
            for row in page
        }
    finally:
        model.close()


def _pages(model: ReadModel, account: str) -> Iterator[list[Any]]:
    skip = 0
    while page := model.page(account, skip, _PAGE):
        yield page
        skip += len(page)


def _asked(record: ConsumerRecord, poison: set[bytes]) -> Asked:
    place = record.topic, record.partition, record.offset
    if record.value in poison:
        return Asked(place, record.timestamp, None)
    request = orjson.loads(record.value)
    return Asked(place, record.timestamp, (request["account"], request["requestId"]), len(request["recipients"]))


def _late(world: World, carrier: str) -> list[tuple[float, float]]:
    return [(began, ended) for name, began, ended in world.phases if name == carrier]


def _withheld(entries: Iterable[Entry], oracle: Oracle, late: list[tuple[float, float]]) -> set[str]:
    """Messages whose acceptance the carrier did not tell: by its habits, or in a phase of bad ones."""
    found = set()
    for entry in entries:
        at = datetime.fromisoformat(entry.accepted_at).timestamp()
        fate, _ = oracle.request(entry.idempotency_key, entry.times)
        if fate in ("error", "cut") or any(began <= at <= ended for began, ended in late):
            found.add(entry.reference)
    return found


def _refused(told: dict[str, list[Told]], oracles: dict[str, Oracle]) -> set[str]:
    """Messages in doubt that their carrier refused: no journal holds them, so none can show that the answer to their
    call was withheld, as it was for the messages beside them."""
    return {
        message
        for message, story in told.items()
        for one in story
        if one.detailed_state == "IN_DOUBT" and one.carrier and oracles[one.carrier].message(message).rejected
    }


def _end(oracle: Oracle, reference: str, told: list[Told]) -> str:
    """The receipt's word. Where the answer was lost, so was the carrier's id, and a receipt with that alone says
    nothing to us."""
    fate = oracle.message(reference)
    nameless = fate.without_reference and any(one.detailed_state == "IN_DOUBT" for one in told)
    return "" if fate.silent or nameless else fate.status


def _doubt_bound(world: World, habits: dict[str, Behaviour]) -> int:
    """Messages that deaths, of dispatch or of the carrier, may leave in doubt at carriers that do not recognise
    repeats: the calls that may be under way at a time."""
    bound = 0
    dispatchers = sum(count for name, count in world.deaths.items() if name.startswith("dispatch"))
    for name, behaviour in habits.items():
        if not behaviour.idempotent:
            config = world.rig.settings.http_carriers[name]
            bound += (dispatchers + world.deaths[f"simulator-{name}"]) * config.connections * config.batch
    return bound
