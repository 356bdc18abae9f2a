"""`cancel`: messages, or all of a request, are not to be sent after all.

The word goes to a topic; the stage that has a message acts on it. What came of it is told by the messages' status.
"""

import asyncio
import time
from typing import Annotated

import typer
from aiokafka import ConsumerRecord

from pipeline import cancellations, ids
from pipeline.cancellations import Row
from pipeline.commands.accounts import existing
from pipeline.commands.common import ConfigOption, JsonOption, fail, operator, producing, running, show_json
from pipeline.commands.reading import ask, fail_without, partition_counts, read_all
from pipeline.config import Settings
from pipeline.streaming.topics import TopicNames
from schemas import batch

Messages = Annotated[list[str] | None, typer.Argument(help="Message ids.", metavar="[MESSAGE-ID]...")]
Request = Annotated[
    list[str] | None, typer.Option("--request", help="Every message of this request or upload; may be repeated.")
]
Account = Annotated[str | None, typer.Option(help="Whose they are. Of messages it may be left out: whosever they are.")]


def register(app: typer.Typer) -> None:
    app.command()(cancel)


def cancel(
    messages: Messages = None,
    request: Request = None,
    account: Account = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Cancel messages that no carrier was called for yet; they end as CANCELED and their money is released.

    What is with a carrier goes on. `status` tells what came of it. With --json: an object (messages, requests, at).
    """
    if bool(messages) == bool(request):
        fail("give message ids, or --request", 2)
    if request and not account:
        fail("--request goes with --account", 2)
    named = list(dict.fromkeys(name.lower() for name in messages or []))
    if wrong := [name for name in named if ids.split(name) is None]:
        fail(f"{', '.join(wrong)}: no message id; it has 24 hex digits", 2)
    settings = running(config_file)
    at = ask(_say(settings, account, named, request or []))
    if json:
        show_json({"messages": named, "requests": request or [], "at": at})
        return
    what = " ".join(named) if named else f"--account {account} " + " ".join(f"--request {one}" for one in request or [])
    print(f"said; `sms-pipeline status {what}` tells what came of it")


async def _say(settings: Settings, account: str | None, messages: list[str], requests: list[str]) -> int:
    """Put the word on its topic; when (Unix ms)."""
    topic = TopicNames(settings.kafka.topic_prefix).cancellations
    count = (await partition_counts(settings, [topic])).get(topic)
    if count is None:
        fail_without(topic)
    if account:
        await existing(settings, account)
    rows: list[Row] = cancellations.of_messages(account or "", messages, operator(), count)
    for request_id in await _with_uploads(settings, account or "", requests):
        rows += cancellations.of_request(account or "", request_id, operator(), count)
    async with producing(settings) as producer:
        await asyncio.gather(*[await producer.send(topic, r.value, r.key, partition=r.partition) for r in rows])
    return time.time_ns() // 1_000_000


async def _with_uploads(settings: Settings, account: str, requests: list[str]) -> list[str]:
    """These requests, and those that uploads of these ids were taken as."""
    found = list(requests)

    def take(record: ConsumerRecord) -> None:
        if record.key in keys and record.value:
            found.extend(batch.decode(record.value).request_ids)

    if requests:
        keys = {f"{account}/{one}".encode() for one in requests}
        await read_all(settings, TopicNames(settings.kafka.topic_prefix).batches, take)
    return found
