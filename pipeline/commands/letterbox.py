"""The dead letters on their topic: which there are, what was done with each, and putting them back.

Letters are as large as the records they were, and may be many: they are read once for their headers, and those to be
replayed once more for their bytes, a fetch at a time.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from pipeline.commands.reading import catch_up, reading, until_now
from pipeline.config import Settings
from pipeline.streaming import letters, outbox, topics
from pipeline.streaming.letters import DROPPED, REPLAYED, Letter, Mark
from pipeline.streaming.topics import TopicNames

#: Marks written together.
_MARKS = 1000


@dataclass
class Filed:
    """A letter and what was done with it, in order."""

    letter: Letter
    marks: list[Mark] = field(default_factory=list)

    @property
    def state(self) -> str:
        """open, replayed or dropped: what was done last."""
        return self.marks[-1].done if self.marks else "open"


@dataclass(frozen=True)
class Filter:
    """Which letters: of a stage, from a topic, with a text in their reason (in any case); None is all."""

    stage: str | None = None
    topic: str | None = None
    reason: str | None = None

    def fits(self, letter: Letter) -> bool:
        return (
            self.stage in (None, letter.stage)
            and self.topic in (None, letter.topic)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
        )


#: Told of each letter when it is done, or what was in the way.
Done = Callable[[Letter, str | None], None]


def topic_of(settings: Settings) -> str:
    """The topic of dead letters."""
    return TopicNames(settings.kafka.topic_prefix).dead_letters


async def read(
    settings: Settings, begins: dict[int, int] | None = None, look: Callable[[ConsumerRecord], None] = lambda _: None
) -> dict[str, Filed]:
    """Every letter by its id, oldest first; or those of some partitions, from an offset of each.

    `look` sees each record on the way.
    """
    found: dict[str, Filed] = {}

    def take(record: ConsumerRecord) -> None:
        look(record)
        read = letters.read(record)
        if isinstance(read, Letter):
            found[read.id] = Filed(read)
        elif read.letter in found:
            found[read.letter].marks.append(read)

    async with reading(settings, topic_of(settings), begins) as consumer:
        await catch_up(consumer, take)
    return dict(sorted(found.items(), key=lambda item: item[1].letter.at))


async def drop(settings: Settings, producer: AIOKafkaProducer, chosen: Sequence[Filed], by: str, done: Done) -> None:
    """Note that these will never be replayed."""
    for start in range(0, len(chosen), _MARKS):
        some = [filed.letter for filed in chosen[start : start + _MARKS]]
        await _mark(settings, producer, some, DROPPED, by)
        for letter in some:
            done(letter, None)


async def replay(settings: Settings, producer: AIOKafkaProducer, chosen: Sequence[Filed], by: str, done: Done) -> None:
    """Put the records back where they stood, bytes and key untouched, and note it.

    Noted once the records are durable: a crash in between leaves letters open that were replayed. Replaying them again
    does no harm, their messages have the same ids.
    """
    known = {topic.name: topic.partitions for topic in topics.catalogue(settings)}
    wanted = {filed.letter.id: filed for filed in chosen}
    async for records in _fetch(settings, [filed.letter for filed in chosen]):
        problems: dict[str, str | None] = {}
        rows: dict[tuple[str, int], dict[str, outbox.Row]] = {}
        for record in records:
            filed = wanted[f"{record.partition}:{record.offset}"]
            place = _home(filed.letter, known)
            if isinstance(place, str):
                problems[filed.letter.id] = place
            else:
                rows.setdefault(place, {})[filed.letter.id] = _row(filed, record)
        for place, some in rows.items():
            problems |= zip(some, await _produce(producer, place, list(some.values())), strict=True)
        await _mark(settings, producer, [wanted[id_].letter for id_, no in problems.items() if not no], REPLAYED, by)
        for id_, problem in problems.items():
            done(wanted.pop(id_).letter, problem)
    for filed in wanted.values():
        done(filed.letter, "its topic has forgotten it meanwhile")


async def _fetch(settings: Settings, chosen: Iterable[Letter]) -> AsyncIterator[list[ConsumerRecord]]:
    """The records of these letters, as fetches bring them."""
    left: dict[int, set[int]] = {}
    for letter in chosen:
        left.setdefault(letter.partition, set()).add(letter.offset)
    begins = {partition: min(offsets) for partition, offsets in left.items()}
    async with reading(settings, topic_of(settings), begins) as consumer:
        async for records in until_now(consumer):
            found = [record for record in records if record.offset in left[record.partition]]
            for record in found:
                left[record.partition].remove(record.offset)
            yield found
            if not any(left.values()):
                return


def _home(letter: Letter, known: dict[str, int]) -> tuple[str, int] | str:
    """Topic and partition where the record stood; or why it cannot go there. `known`: topics and their partitions."""
    if letter.source is None or letter.place is None:
        return "it does not tell where its record stood"
    if letter.source >= known.get(letter.topic, 0):
        return f"no stage reads {letter.topic}, partition {letter.source}, in this configuration"
    return letter.topic, letter.source


def _row(filed: Filed, record: ConsumerRecord) -> outbox.Row:
    """The record that a letter was.

    Its time is now, and the first one stands in a header: Kafka keeps records by their time, and one from before what
    its topic keeps could be gone before a stage reads it. (Now by whichever clock is ahead, see `letters.first_place`.)
    """
    tries = filed.letter.attempt + sum(mark.done == REPLAYED for mark in filed.marks) + 1
    now_ms = max(time.time_ns() // 1_000_000, letters.first_of(filed.letter).timestamp_ms)
    return record.key, record.value or b"", letters.replay_headers(filed.letter, tries), now_ms


async def _produce(
    producer: AIOKafkaProducer, place: tuple[str, int], rows: Sequence[outbox.Row]
) -> Sequence[str | None]:
    """Produce rows, and what was wrong with each: one by one where Kafka refuses them together."""
    try:
        await outbox.send(producer, place, rows)
    except KafkaError as error:
        if error.retriable:  # the broker's trouble, no record's: nothing else would succeed either
            raise
        if len(rows) == 1:
            return [f"Kafka refuses it: {error}"]
        return [problem for row in rows for problem in await _produce(producer, place, [row])]
    return [None] * len(rows)


async def _mark(settings: Settings, producer: AIOKafkaProducer, done: Iterable[Letter], what: str, by: str) -> None:
    rows: dict[int, list[outbox.Row]] = {}
    for letter in done:
        rows.setdefault(letter.partition, []).append((None, b"", letters.mark_headers(letter, what, by), None))
    for partition, some in rows.items():
        await outbox.send(producer, (topic_of(settings), partition), some)
