"""Every topic: its name, what it holds, its partitions, how long it keeps. Created here and nowhere else."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
    for_code,
)

from pipeline.config import Settings
from pipeline.streaming import client

log = structlog.get_logger()

#: The two lanes of every stage: bulk, and what must never wait behind it.
BULK, PRIORITY = "", ".priority"
LANES = (BULK, PRIORITY)

#: The stages that are consumer groups, in the order of the flow.
STAGES = ("validate", "encode", "moderate", "price", "dispatch", "track", "callbacks")

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 30.0
_DAY_MS = 24 * 3600 * 1000
_RETENTION = "retention.ms"
#: Where a setting of a topic comes from (Kafka's DescribeConfigs): from the topic itself.
_OF_THE_TOPIC = 1
_BOTH = "compact,delete"


class TopicMismatch(Exception):
    """A topic exists with other partitions than configured; tables would not stand where their records arrive."""


@dataclass(frozen=True)
class Topic:
    """One topic as it must exist. `public`: part of the contract with others."""

    name: str
    holds: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    public: bool = False


class TopicNames:
    """Names under the configured prefix. A lane is "" (bulk) or ".priority" (OTP, alerts)."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.status = f"{prefix}status"
        self.dead_letters = f"{prefix}dead-letters"
        self.receipts = f"{prefix}receipts"
        self.references = f"{prefix}references"
        self.settlements = f"{prefix}settlements"
        self.accounts = f"{prefix}accounts"
        self.balances = f"{prefix}balances"
        self.credits = f"{prefix}credits"
        self.ticks = f"{prefix}ticks"
        self.resolutions = f"{prefix}resolutions"
        self.cancellations = f"{prefix}cancellations"
        self.drafts = f"{prefix}drafts"
        self.ledger = f"{prefix}ledger"
        self.events = f"{prefix}events"
        self.prices = f"{prefix}prices"
        self.opt_outs = f"{prefix}opt-outs"
        self.lists = f"{prefix}lists"
        self.findings = f"{prefix}findings"
        self.otps = f"{prefix}otps"
        self.audit = f"{prefix}audit"
        self.callbacks = f"{prefix}callbacks"
        self.callback_results = f"{prefix}callback-results"
        self.callback_deliveries = f"{prefix}callback-deliveries"
        self.endpoints = f"{prefix}endpoints"
        self.batches = f"{prefix}batches"

    def intake(self, lane: str = "") -> str:
        return f"{self.prefix}intake{lane}"

    def validated(self, lane: str = "") -> str:
        return f"{self.prefix}validated{lane}"

    def encoded(self, lane: str = "") -> str:
        return f"{self.prefix}encoded{lane}"

    def moderated(self, lane: str = "") -> str:
        return f"{self.prefix}moderated{lane}"

    def priced(self, lane: str = "") -> str:
        return f"{self.prefix}priced{lane}"

    def waiting(self, lane: str = "") -> str:
        return f"{self.prefix}waiting{lane}"

    def dispatch(self, carrier: str, lane: str = "") -> str:
        return f"{self.prefix}dispatch.{carrier}{lane}"

    def outcomes(self, lane: str = "") -> str:
        return f"{self.prefix}outcomes{lane}"

    def changelog(self, stage: str) -> str:
        """The changelog of a stage's table, as Faust names it: application id, table, suffix."""
        return f"{self.prefix}{stage}-state-changelog"


def catalogue(settings: Settings) -> list[Topic]:
    """Every topic of this configuration."""
    return [*_flow(settings), *_words(settings), *_told(settings), *_known(settings), *_changelogs(settings)]


def _kept(days: float) -> dict[str, str]:
    """A topic whose records are kept for so many days."""
    return {"retention.ms": str(int(days * _DAY_MS)), "max.message.bytes": str(client.MAX_RECORD_BYTES)}


#: A topic of which the latest record of each key is kept.
_LATEST = {"cleanup.policy": "compact", "max.message.bytes": str(client.MAX_RECORD_BYTES)}


def _flow(settings: Settings) -> Iterator[Topic]:
    """What messages go through, lane by lane."""
    names, n = TopicNames(settings.kafka.topic_prefix), settings.kafka.partitions
    flow = _kept(settings.storage.retention_days)
    for lane in LANES:
        what = "priority lane: login codes, alerts" if lane else "everything"
        yield Topic(names.intake(lane), f"requests as JSON ({what})", n, flow, public=True)
        yield Topic(names.validated(lane), "batches whose requests and recipients were checked", n, flow)
        yield Topic(names.encoded(lane), "batches with their parts", n, flow)
        yield Topic(names.moderated(lane), "batches whose content is allowed, by account", n, flow)
        yield Topic(names.priced(lane), "batches that are paid for, waiting for a route", n, flow)
        yield Topic(names.waiting(lane), "batches that no carrier can take just now, parked for the next try", n, flow)
        yield Topic(names.outcomes(lane), "what became of messages in any stage, by batch", n, flow)
        for carrier in settings.carriers:
            yield Topic(names.dispatch(carrier, lane), f"batches for carrier {carrier}", n, flow)


def _words(settings: Settings) -> Iterator[Topic]:
    """What stages are told beside the flow: by carriers, by operators and clients, by one another."""
    names, n = TopicNames(settings.kafka.topic_prefix), settings.kafka.partitions
    flow = _kept(settings.storage.retention_days)
    yield Topic(names.receipts, "carriers' receipts, by batch", n, flow)
    yield Topic(names.references, "carriers' own message ids, and receipts that carry only these", n, flow)
    yield Topic(names.settlements, "what of a batch's reserved money was earned or is released, by account", n, flow)
    yield Topic(names.credits, "accounts' top-ups, by account", n, flow)
    yield Topic(names.ticks, "the clock of expiry, one tick a partition", n, _kept(1 / 24))
    yield Topic(names.resolutions, "operators' word on messages in doubt, by batch", n, flow)
    cancelled = "the word that messages are not to be sent, by batch or to every partition"
    yield Topic(names.cancellations, cancelled, n, flow)
    yield Topic(names.callbacks, "moves of messages that somebody wants to be told of, by batch", n, flow)
    yield Topic(names.callback_results, "what clients answered to callbacks, by the partition they wait in", n, flow)


def _told(settings: Settings) -> Iterator[Topic]:
    """What the world is told, and the books."""
    names, n = TopicNames(settings.kafka.topic_prefix), settings.kafka.partitions
    told = _kept(settings.storage.status_days)
    dead = told | {"max.message.bytes": str(client.MAX_DEAD_LETTER_BYTES)}
    for_ever = _kept(0) | {"retention.ms": "-1", "retention.bytes": "-1"}
    yield Topic(names.status, "one JSON record a message and transition", n, told, public=True)
    why = "records no stage could read, untouched, with the reason in headers"
    yield Topic(names.dead_letters, why, n, dead, public=True)
    yield Topic(names.findings, "what the moderation's lists found, blocked or flagged", n, told, public=True)
    yield Topic(names.callback_deliveries, "each attempt at a callback, by account", n, told)
    yield Topic(names.ledger, "every movement of money, by account, kept for ever", n, for_ever, public=True)
    near = "accounts near or at a limit, low in credit, with traffic held"
    yield Topic(names.events, near, n, told, public=True)
    year = {"retention.ms": str(366 * _DAY_MS)}
    yield Topic(names.audit, "who administered what, kept for a year", 1, year, public=True)


def _known(settings: Settings) -> Iterator[Topic]:
    """What is followed by everybody who needs it: the latest of each key."""
    names = TopicNames(settings.kafka.topic_prefix)
    # Of no use after an hour or so; old segments go as wholes.
    hour, day = str(_DAY_MS // 24), str(_DAY_MS)
    brief = _LATEST | {"cleanup.policy": _BOTH, "retention.ms": day, "segment.ms": hour}
    yield Topic(names.accounts, "accounts: name, token hashes, blocklisting, held ranges", 1, _LATEST)
    yield Topic(names.drafts, "requests that are not sent yet, by account", 1, _LATEST)
    yield Topic(names.opt_outs, "who asked an account not to write any more", 1, _LATEST)
    yield Topic(names.lists, "entries of the moderation's lists, beside those in files", 1, _LATEST)
    yield Topic(names.balances, "each account's money as of its last change", 1, _LATEST)
    yield Topic(names.otps, "login codes that can be verified, without the codes", 1, brief)
    yield Topic(names.endpoints, "accounts' callback endpoints with their secrets", 1, _LATEST)
    yield Topic(names.prices, "versions of the price list", 1, _LATEST)
    both = _kept(settings.storage.status_days) | {"cleanup.policy": _BOTH}
    yield Topic(names.batches, "uploads: what each brought, and its bad lines", 1, both)


def _changelogs(settings: Settings) -> Iterator[Topic]:
    names, n = TopicNames(settings.kafka.topic_prefix), settings.kafka.partitions
    pieces = {"segment.bytes": str(64 * 1024 * 1024)}
    state = _kept(settings.storage.retention_days) | {"cleanup.policy": _BOTH} | pieces
    for stage in ("encode", "dispatch", "track", "callbacks"):
        yield Topic(names.changelog(stage), f"changelog of the {stage} stage's table", n, state)
    # Money is never forgotten: the ledger's changelog is compacted only.
    books = "changelog of the price stage's table: the accounts' money"
    yield Topic(names.changelog("price"), books, n, _LATEST | pieces)


async def ensure(settings: Settings) -> None:
    """Create what is missing, check what is there, and wait until every topic and consumer group can be used.

    Raises TopicMismatch naming every topic that does not fit.
    """
    wanted = catalogue(settings)
    admin = client.admin(settings.kafka)
    await admin.start()
    try:
        # Listed first: asking for a topic by name would make a broker with auto.create.topics.enable create it.
        listed = set(await admin.list_topics())
        there = await _partitions(admin, [topic.name for topic in wanted if topic.name in listed])
        _check(wanted, there)
        await _keep_longer(admin, [topic for topic in wanted if topic.name in there])
        missing = [topic for topic in wanted if topic.name not in there]
        if missing:
            await _create(admin, missing, settings.kafka.replication)
            log.info("topics.created", count=len(missing), topics=[topic.name for topic in missing])
            await _until_led(admin, wanted)
        await _until_coordinated(admin, [f"{settings.kafka.topic_prefix}{stage}" for stage in STAGES])
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    described = await admin.describe_topics(names) if names else []
    return {d["topic"]: len(d["partitions"]) for d in described if d["error_code"] == 0}


async def _until_led(admin: AIOKafkaAdminClient, topics: list[Topic]) -> None:
    """New topics have no leader for a moment; clients that meet them then log errors and back off."""
    for _ in _moments():
        described = await admin.describe_topics([topic.name for topic in topics])
        partitions = [partition for topic in described for partition in topic["partitions"]]
        if all(topic["error_code"] == 0 for topic in described) and all(p["leader"] >= 0 for p in partitions):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise KafkaTimeoutError("the new topics have no leaders")


async def _until_coordinated(admin: AIOKafkaAdminClient, groups: list[str]) -> None:
    """The first group of a new cluster waits for its offsets topic. A consumer that joins meanwhile may hang."""
    for group in groups:
        for _ in _moments():
            try:
                await admin.list_consumer_group_offsets(group)
                break
            except KafkaError as error:
                if not error.retriable and not isinstance(error, GroupCoordinatorNotAvailableError):
                    raise
                await asyncio.sleep(_POLL_SECONDS)
        else:
            raise KafkaTimeoutError(f"no broker coordinates group {group}")


def _moments() -> range:
    return range(int(_PATIENCE_SECONDS / _POLL_SECONDS))


def _check(wanted: Iterable[Topic], there: dict[str, int]) -> None:
    wrong = [
        f"topic {topic.name} has {there[topic.name]} partitions, the configuration wants {topic.partitions}"
        for topic in wanted
        if there.get(topic.name, topic.partitions) != topic.partitions
    ]
    if wrong:
        raise TopicMismatch(
            "; ".join(wrong) + ". Set kafka.partitions to what is there, or choose another topic_prefix."
        )


async def _keep_longer(admin: AIOKafkaAdminClient, topics: list[Topic]) -> None:
    """Have topics that were made for less keep their records as long as is configured now: what is scheduled further
    ahead than its state is kept would be lost. Longer than configured they may keep them."""
    if not topics:
        return
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics])
    own = {
        name: {key: value for key, value, _, source, *_ in entries if source == _OF_THE_TOPIC}
        for answer in answers
        for _, _, _, name, entries in answer.resources
    }
    longer = {
        topic.name: own[topic.name] | {_RETENTION: topic.config[_RETENTION]}
        for topic in topics
        if 0 <= int(own[topic.name].get(_RETENTION, -1)) < int(topic.config.get(_RETENTION, -1))
    }
    if not longer:
        return
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, config) for name, config in longer.items()]
    for answer in await admin.alter_configs(asked):
        for code, message, _, name in answer.resources:
            if code:
                log.error("topic.kept_too_short", topic=name, error=message or for_code(code).__name__,
                          wanted_ms=longer[name][_RETENTION])  # fmt: skip
            else:
                log.info("topic.kept_longer", topic=name, retention_ms=longer[name][_RETENTION])


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> None:
    requests = [NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config) for topic in topics]
    answer = await admin.create_topics(requests)
    for name, code, *rest in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):  # another process may create them at the same time
            raise for_code(code)(f"topic {name}: {rest[0] if rest else ''}")
