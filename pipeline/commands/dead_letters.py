"""`dead-letters`: records that no stage could read: which, why, and what is to become of them."""

import base64
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from aiokafka import ConsumerRecord
from rich.console import Console
from rich.progress import Progress

from pipeline.commands import letterbox
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, operator, running, show_json
from pipeline.commands.letterbox import Filed, Filter
from pipeline.commands.reading import ask
from pipeline.config import Settings
from pipeline.stages.fate import rfc3339
from pipeline.streaming import client, letters
from pipeline.streaming.letters import DROPPED, REPLAYED, Letter

dead_letters = typer.Typer(
    name="dead-letters",
    help="Records that no stage could read, untouched: why, and replay them or drop them.",
    no_args_is_help=True,
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]…", help="As `list` names them.")]
All = Annotated[bool, typer.Option("--all", help="Every open letter (of this stage, topic, reason).")]
Stage = Annotated[str | None, typer.Option(help="Only letters of this stage.")]
Topic = Annotated[str | None, typer.Option(help="Only records of this topic.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Only letters with this text in their reason.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before doing it to more than one.")]

#: Digits of a partition or an offset that fit what Kafka counts with.
_DIGITS = 18


def register(app: typer.Typer) -> None:
    app.add_typer(dead_letters)


@dead_letters.command("list")
def list_all(
    stage: Stage = None,
    topic: Topic = None,
    reason: Reason = None,
    history: Annotated[bool, typer.Option("--history", help="Also those that were replayed or dropped.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """List open dead letters, oldest first. With --json: an object a line."""
    settings, wanted = running(config_file), Filter(stage, topic, reason)
    every = ask(letterbox.read(settings)).values()
    found = [one for one in every if wanted.fits(one.letter) and (history or one.state == "open")]
    if json:
        for one in found:
            show_json(_view(one))
    elif found:
        _show(found, history)
    else:
        print("no dead letters")


@dead_letters.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` names it.")],
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show a dead letter whole: reason, origin, stack, and the record's bytes (base64 where they are not UTF-8)."""
    partition, offset = _place(id_)
    whole: list[ConsumerRecord] = []

    def look(record: ConsumerRecord) -> None:
        if record.offset == offset:
            whole.append(record)

    one = ask(letterbox.read(running(config_file), {partition: offset}, look)).get(id_)
    if one is None:
        fail(f"no dead letter {id_}; see `sms-pipeline dead-letters list --history`")
    (record,) = whole
    value, encoding = _readable(record.value or b"")
    key = None if record.key is None else _readable(record.key)[0]
    view, stack = _view(one) | {"key": key}, letters.stack_of(record)
    if json:
        show_json(view | {"stack": stack, "value": value, "valueEncoding": encoding})
        return
    for name, content in view.items():
        if name != "marks":
            print(f"{name:<12} {content}")
    for mark in one.marks:
        print(f"{mark.done:<12} {rfc3339(mark.at)} by {mark.by}")
    print(f"\n{stack.strip()}\n\n{value}")


@dead_letters.command()
def replay(
    ids: Ids = None,
    every: All = False,
    stage: Stage = None,
    topic: Topic = None,
    reason: Reason = None,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were replayed before.")] = False,
    yes: Yes = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Put records back where they stood, once what was wrong is mended.

    The same bytes, key and first place give the same message ids, however often a letter is replayed: nothing is sent
    twice. What fails again is a new dead letter that tells its first place and how often it was tried.
    """
    wanted = Filter(stage, topic, reason)
    places = _named(ids, every, wanted)
    settings = running(config_file)
    states = ["open", REPLAYED] if again else ["open"]
    _Work(settings, REPLAYED, json).run(_chosen(settings, places, wanted, states), yes)


@dead_letters.command()
def drop(
    ids: Ids = None,
    every: All = False,
    stage: Stage = None,
    topic: Topic = None,
    reason: Reason = None,
    yes: Yes = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Decide that dead letters will never be replayed. They stay readable as long as their topic keeps them."""
    wanted = Filter(stage, topic, reason)
    places = _named(ids, every, wanted)
    settings = running(config_file)
    _Work(settings, DROPPED, json).run(_chosen(settings, places, wanted, ["open"]), yes)


class _Work:
    """Replaying or dropping letters, and telling of each."""

    def __init__(self, settings: Settings, what: str, json: bool) -> None:
        self._settings, self._what, self._json = settings, what, json
        self._done = self._failed = 0
        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=json or not console.is_terminal)

    def run(self, chosen: Sequence[Filed], yes: bool) -> None:
        """Do it, once it is confirmed. Ends the command with 1 where one of them failed."""
        if len(chosen) > 1 and not yes:
            kinds = Counter(f"{one.letter.stage} of {one.letter.topic}" for one in chosen)
            told = ", ".join(f"{count} from {kind}" for kind, count in kinds.most_common())
            verb = "Replay" if self._what == REPLAYED else "Drop"
            typer.confirm(f"{verb} {len(chosen)} dead letters ({told})?", abort=True, err=True)
        with self._progress:
            self._bar = self._progress.add_task(self._what, total=len(chosen))
            ask(self._carry_out(chosen))
        if not self._json and self._done:
            print(f"{self._done} {self._what}")
        if self._failed:
            raise typer.Exit(1)

    async def _carry_out(self, chosen: Sequence[Filed]) -> None:
        act = letterbox.replay if self._what == REPLAYED else letterbox.drop
        # One record that Kafka refuses costs an idempotent producer its count; and here a repeat does no harm.
        async with client.producer(self._settings.kafka, enable_idempotence=False) as producer:
            action = "dead-letters.replay" if self._what == REPLAYED else "dead-letters.drop"
            letters = [one.letter.id for one in chosen]
            await audited(producer, self._settings, action, count=len(letters), letters=letters)
            await act(self._settings, producer, chosen, operator(), self._tell)

    def _tell(self, letter: Letter, wrong: str | None) -> None:
        self._progress.advance(self._bar)
        if wrong is None:
            self._done += 1
        else:
            self._failed += 1
        if self._json:
            show_json({"id": letter.id, "done": self._what if wrong is None else None, "error": wrong})
        elif wrong is not None:
            print(f"sms-pipeline: {letter.id}: {wrong}", file=sys.stderr)


def _named(ids: list[str] | None, every: bool, wanted: Filter) -> dict[str, tuple[int, int]]:
    """The places that were named, by id: none, where all that fit are meant."""
    if bool(ids) == every:
        fail("name dead letters as PARTITION:OFFSET, or say --all", 2)
    if ids and wanted != Filter():
        fail("--stage, --topic and --reason go with --all", 2)
    return {id_: _place(id_) for id_ in ids or []}


def _chosen(
    settings: Settings, places: dict[str, tuple[int, int]], wanted: Filter, states: Sequence[str]
) -> list[Filed]:
    """The letters that were named, each in one of `states`, or all in one of them that fit.

    Ends the command, before anything is done, where there are none, or where a named one cannot be taken.
    """
    if not places:
        found = ask(letterbox.read(settings)).values()
        chosen = [one for one in found if one.state in states and wanted.fits(one.letter)]
        if not chosen:
            fail("no such dead letter; see `sms-pipeline dead-letters list --history`")
        return chosen
    begins: dict[int, int] = {}
    for partition, offset in places.values():
        begins[partition] = min(offset, begins.get(partition, offset))
    known = ask(letterbox.read(settings, begins))
    for id_ in places:
        if id_ not in known:
            fail(f"no dead letter {id_}; see `sms-pipeline dead-letters list --history`")
        if known[id_].state not in states:
            last = known[id_].marks[-1]
            hint = "; `replay --again` replays it once more" if last.done == REPLAYED else ""
            fail(f"dead letter {id_} was {last.done} at {rfc3339(last.at)} by {last.by}{hint}")
    return [known[id_] for id_ in places]


def _place(id_: str) -> tuple[int, int]:
    """Partition and offset of an id as it is written."""
    partition, _, offset = id_.partition(":")
    for digits in (partition, offset):
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS):
            fail(f"{id_}: write it as PARTITION:OFFSET, as `sms-pipeline dead-letters list` names it", 2)
    return int(partition), int(offset)


def _view(one: Filed) -> dict[str, Any]:
    """A letter as JSON: where it lies (`id`), where its record stood and first stood, and what was done with it."""
    letter = one.letter
    first = letter.origin or letter.place
    return {
        "id": letter.id,
        "at": rfc3339(letter.at),
        "state": one.state,
        "reason": letter.reason,
        "stage": letter.stage,
        "topic": letter.topic,
        "partition": letter.source,
        "offset": letter.place and letter.place.offset,
        "timestamp": letter.place and rfc3339(letter.place.timestamp_ms),
        "firstOffset": first and first.offset,
        "attempt": letter.attempt,
        "bytes": letter.size,
        "marks": [{"done": mark.done, "at": rfc3339(mark.at), "by": mark.by} for mark in one.marks],
    }


def _show(found: Sequence[Filed], history: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipeline.commands import tables

    table = Table("id", "at", "stage", "from", "reason", box=None)
    table.add_column("bytes", justify="right")
    table.add_column("tried", justify="right")
    if history:
        table.add_column("done")
    for one in found:
        letter = one.letter
        source = f"{letter.topic} {letter.source}:{letter.place.offset if letter.place else ''}"
        done = [f"{mark.done} {rfc3339(mark.at)} by {mark.by}" for mark in one.marks[-1:]] if history else []
        size, tried = str(letter.size), str(letter.attempt)
        table.add_row(letter.id, rfc3339(letter.at), letter.stage, source, Text(letter.reason), size, tried, *done)
    tables.show(table)


def _readable(octets: bytes) -> tuple[str, str]:
    """The bytes as text, and how: utf-8, or base64 where they are none."""
    try:
        return octets.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(octets).decode(), "base64"
