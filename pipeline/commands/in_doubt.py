"""`resend` and `fail`: an operator's word on messages of which nobody knows whether the carrier took them.

The word goes to a topic; the track stage, which alone knows how far each message is, acts on it. What came of it is
read off the status topic.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from aiokafka import ConsumerRecord

from pipeline import ids as message_ids
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, operator, producing, running, show_json
from pipeline.commands.reading import ask, fail_without, partition_counts, poll, reading
from pipeline.commands.stored import Find, finder
from pipeline.config import Settings
from pipeline.records import Resolution, encode_one
from pipeline.stages.doubt import FAIL, RESEND
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames
from schemas.errors import FAILED_BY_OPERATOR
from schemas.states import Detailed

if TYPE_CHECKING:
    from pipeline.store.stored import StoredMessage

Ids = Annotated[list[str] | None, typer.Argument(help="Message ids.", metavar="[ID]...")]
InDoubt = Annotated[bool, typer.Option("--in-doubt", help="All that are in doubt (see `status --in-doubt`).")]
Carrier = Annotated[str | None, typer.Option(help="With --in-doubt: only those this carrier may have taken.")]
OlderThan = Annotated[
    float | None, typer.Option(help="With --in-doubt: only those in doubt for so many seconds.", min=0)
]
Account = Annotated[str | None, typer.Option(help="Only messages of this account; looks them up faster.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before doing it to more than one.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for what comes of it.", min=0)]

#: Messages a record names at most, and ids a question to the read model.
_A_RECORD = 1000

DONE, PENDING, NOT_IN_DOUBT, UNKNOWN = "done", "pending", "notInDoubt", "unknown"


class _Now(msgspec.Struct, rename="camel", frozen=True):
    """How far a message is: what of its status record counts here."""

    id: str
    detailed_state: str
    carrier: str | None = None
    error: dict[str, Any] | None = None

    @property
    def in_doubt(self) -> bool:
        return self.detailed_state == Detailed.IN_DOUBT.name


_decode = msgspec.json.Decoder(_Now).decode


def register(app: typer.Typer) -> None:
    app.command(RESEND)(resend)
    app.command(FAIL)(give_up)


def resend(
    ids: Ids = None,
    in_doubt: InDoubt = False,
    carrier: Carrier = None,
    older_than: OlderThan = None,
    account: Account = None,
    yes: Yes = False,
    wait: Wait = 10.0,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Send messages in doubt once more: who has one already may get it twice. It is paid once.

    A message stays in doubt until the carrier's answer. Where its validity is over it expires instead. With --json: an
    object a message (id, recipient, action, result, detailedState, carrier, error). Ends with 1 where one was not in
    doubt.
    """
    settings = running(config_file)
    _Work(settings, RESEND, wait, json).run(ids or [], in_doubt, carrier, older_than, account, yes)


def give_up(
    ids: Ids = None,
    in_doubt: InDoubt = False,
    carrier: Carrier = None,
    older_than: OlderThan = None,
    account: Account = None,
    yes: Yes = False,
    wait: Wait = 10.0,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Give messages in doubt up: they end as FAILED and their money is given back, whether or not they arrive.

    With --json: an object a message (id, recipient, action, result, detailedState, carrier, error). Ends with 1 where
    one was not in doubt.
    """
    settings = running(config_file)
    _Work(settings, FAIL, wait, json).run(ids or [], in_doubt, carrier, older_than, account, yes)


class _Work:
    """Saying the word on some messages, and telling what came of it."""

    def __init__(self, settings: Settings, action: str, wait: float, json: bool) -> None:
        self._settings, self._action, self._wait, self._json = settings, action, wait, json
        self._find: Find = finder(settings)

    def run(
        self,
        named: list[str],
        in_doubt: bool,
        carrier: str | None,
        older_than: float | None,
        account: str | None,
        yes: bool,
    ) -> None:
        if bool(named) == in_doubt:
            fail("give message ids, or --in-doubt", 2)
        if named and not (carrier is None and older_than is None):
            fail("--carrier and --older-than go with --in-doubt", 2)
        if in_doubt:
            before = None if older_than is None else rfc3339(int((time.time() - older_than) * 1000))
            doubtful = [Detailed.IN_DOUBT.name]
            carriers = [carrier] if carrier else []
            stored = self._find(account, detailed_states=doubtful, carriers=carriers, updated_before=before)
            wanted = [message.id for message in stored]
            if not (wanted or self._json):
                print("no such message is in doubt")
        else:
            wanted = list(dict.fromkeys(name.lower() for name in named))
            if wrong := [name for name in wanted if message_ids.split(name) is None]:
                fail(f"{', '.join(wrong)}: no message id; it has 24 hex digits", 2)
            stored = self._look(wanted, account)
        chosen = [message for message in stored if message.detailed_state == Detailed.IN_DOUBT.name]
        self._confirm(chosen, yes)
        news = ask(self._say([message.id for message in chosen])) if chosen else {}
        missed = [message.id for message in chosen if message.id not in news]
        later = {message.id: message for message in [*stored, *self._look(missed, account)]}
        results = [self._tell(id_, later.get(id_), news.get(id_), said={m.id for m in chosen}) for id_ in wanted]
        if not {NOT_IN_DOUBT, UNKNOWN}.isdisjoint(results):
            raise typer.Exit(1)

    def _look(self, wanted: Sequence[str], account: str | None) -> "list[StoredMessage]":
        starts = range(0, len(wanted), _A_RECORD)
        return [message for at in starts for message in self._find(account, ids=wanted[at : at + _A_RECORD])]

    def _confirm(self, chosen: "Sequence[StoredMessage]", yes: bool) -> None:
        if len(chosen) < 2 or yes:
            return
        carriers = Counter(message.carrier or "no carrier" for message in chosen)
        told = ", ".join(f"{count} at {carrier}" for carrier, count in carriers.most_common())
        what = "Resend" if self._action == RESEND else "Give up"
        typer.confirm(f"{what} {len(chosen)} messages in doubt ({told})?", abort=True, err=True)

    async def _say(self, chosen: Sequence[str]) -> dict[str, _Now]:
        """Put the word on its topic; the news of each message that came in time, by id."""
        names = TopicNames(self._settings.kafka.topic_prefix)
        count = (await partition_counts(self._settings, [names.resolutions])).get(names.resolutions)
        if count is None:
            fail_without(names.resolutions)
        by_partition: dict[int, list[bytes]] = defaultdict(list)
        for id_ in chosen:
            message = bytes.fromhex(id_)
            by_partition[message_ids.partition_of(message[: message_ids.BATCH_BYTES], count)].append(message)
        waiting, news = set(chosen), dict[str, _Now]()

        def take(record: ConsumerRecord) -> None:
            if record.key is not None and (id_ := record.key.decode()) in waiting:
                now = _decode(record.value)
                if Detailed[now.detailed_state] > Detailed.IN_DOUBT:
                    waiting.discard(id_)
                    news[id_] = now

        async with reading(self._settings, names.status) as consumer, producing(self._settings) as producer:
            for place, end in (await consumer.end_offsets(consumer.assignment())).items():
                consumer.seek(place, end)
            action = "messages.resend" if self._action == RESEND else "messages.fail"
            await audited(producer, self._settings, action, count=len(chosen), messages=list(chosen))
            who, at = operator(), time.time_ns() // 1_000_000
            sent = []
            for partition, messages in by_partition.items():
                for start in range(0, len(messages), _A_RECORD):
                    resolution = Resolution(self._action, messages[start : start + _A_RECORD], who, at)
                    value = encode_one(resolution)
                    sent.append(await producer.send(names.resolutions, value, partition=partition))
            await asyncio.gather(*sent)
            deadline = time.monotonic() + self._wait
            while waiting and time.monotonic() < deadline:
                await poll(consumer, take)
        return news

    def _tell(self, id_: str, stored: "StoredMessage | None", news: _Now | None, said: set[str]) -> str:
        """Say what came of it for one message; the result."""
        now = news or (_now(stored) if stored else None)
        result = self._result(now, id_ in said)
        recipient = stored.recipient if stored else None
        state = now.detailed_state if now else None
        if self._json:
            show_json(
                {
                    "id": id_, "recipient": recipient, "action": self._action, "result": result,
                    "detailedState": state, "carrier": now and now.carrier, "error": now and now.error,
                }
            )  # fmt: skip
            return result
        told = {
            DONE: f"{state}" + (f" by {now.carrier}" if now and now.carrier and self._action == RESEND else ""),
            PENDING: f"said, and nothing came of it within {self._wait:g} s; `sms-pipeline status {id_}` tells later",
            NOT_IN_DOUBT: f"not in doubt: {state}",
            UNKNOWN: "the read model knows no such message",
        }
        print(f"{id_}  {recipient or '':<16}  {told[result]}")
        return result

    def _result(self, now: _Now | None, said: bool) -> str:
        if now is None:
            return UNKNOWN
        if not said:
            return NOT_IN_DOUBT
        if now.in_doubt:
            return PENDING
        by_us = self._action == RESEND or (now.error is not None and now.error.get("code") == FAILED_BY_OPERATOR)
        return DONE if by_us else NOT_IN_DOUBT


def _now(stored: "StoredMessage") -> _Now:
    error = msgspec.json.decode(stored.error) if stored.error else None
    return _Now(stored.id, stored.detailed_state, stored.carrier, error)
