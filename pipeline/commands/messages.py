"""`send`: a request from the command line, and what becomes of it."""

import asyncio
import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from pipeline import ids
from pipeline.commands import status
from pipeline.commands.common import ConfigOption, JsonOption, fail, producing, running, show_json
from pipeline.commands.fates import Sent, Watch, show_table
from pipeline.commands.reading import ask, catch_up, fail_without, partition_counts, poll, reading
from pipeline.commands.recipients import cut, distinct, read
from pipeline.config import Settings
from pipeline.recipients import Recipient
from pipeline.streaming.topics import BULK, PRIORITY, TopicNames

#: Fates of an earlier request of the same id are believed after this: by then a refusal of the repeat would be told.
_REFUSAL_SECONDS = 3.0


def register(app: typer.Typer) -> None:
    app.command()(send)
    status.register(app)


def send(
    account: Annotated[str, typer.Option(help="Who sends and pays.")],
    text: Annotated[str, typer.Option(help="The text; {{field}} and {{field|default}} are filled in.")],
    to: Annotated[list[str], typer.Option(help="A number in E.164 format; may be repeated.")] = [],  # noqa: B006
    to_file: Annotated[
        Path | None,
        typer.Option(help="A number a line, CSV with a header number,field,…, or NDJSON (- for standard input)."),
    ] = None,
    sender: Annotated[str | None, typer.Option(help="Alias of 3 to 11 letters, digits and spaces.")] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Makes a repeat harmless: the same id is sent once, under its first message ids.")
    ] = None,
    priority: Annotated[
        bool | None, typer.Option("--priority/--bulk", help="The lane (default: priority for a single recipient).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Every check and the price, but nothing is sent.")] = False,
    fail_on_multiple: Annotated[
        bool, typer.Option("--fail-on-multiple", help="Refuse where more than one part is needed.")
    ] = False,
    transliterate: Annotated[bool, typer.Option("--transliterate", help="Put GSM-7 look-alikes in place.")] = False,
    validity: Annotated[int | None, typer.Option(help="Seconds for which delivery may be tried.")] = None,
    send_at: Annotated[
        str | None, typer.Option(help="Not before this time, such as 2030-01-31T09:00:00+01:00.")
    ] = None,
    quiet_hours: Annotated[
        str | None, typer.Option(help="Not in these hours by the recipient's clock, such as 21:00-08:00.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until every message has its final state.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most; then the exit code is 1.", min=0)] = 60.0,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Send a text to one number or to many. Prints the request's id and each message's.

    With --json: an object a recipient and line (id, requestId, index, recipient); with --wait its last status record.
    """
    options = {
        "dryRun": dry_run or None,
        "failOnMultipleMessages": fail_on_multiple or None,
        "transliterate": transliterate or None,
        "validitySeconds": validity,
        "sendAt": send_at,
        "quietHours": dict(zip(("from", "to"), quiet_hours.split("-"), strict=False)) if quiet_hours else None,
    }
    request = {
        "requestId": request_id or uuid.uuid4().hex,
        "account": account,
        "sender": sender,
        "message": text,
        "options": {name: value for name, value in options.items() if value is not None},
    }
    request = {name: value for name, value in request.items() if value not in (None, {})}
    recipients = _recipients(to, to_file)
    settings = running(config_file)
    lane = PRIORITY if (len(recipients) == 1 if priority is None else priority) else BULK
    try:
        requests = list(cut(recipients, request, settings.limits.request_bytes))
    except orjson.JSONEncodeError:
        fail("the arguments are not UTF-8", 2)
    _check(requests)
    if not wait:
        _show_sent(ask(_send(settings, lane, requests)), json)
        return
    fates = ask(_send_and_wait(settings, lane, requests, timeout, repeated=request_id is not None))
    if json:
        for fate in fates:
            show_json(fate)
    else:
        show_table(fates)
    if missing := sum(not fate["final"] for fate in fates):
        fail(f"{missing} without a final state after {timeout:g} s; ask later: {_how_to_ask(requests)}")


def _recipients(to: list[str], file: Path | None) -> list[Recipient]:
    from_file: list[Recipient] = []
    try:
        if file == Path("-"):
            from_file = list(read(sys.stdin.buffer))
        elif file:
            with file.open("rb") as opened:
                from_file = list(read(opened))
    except OSError as error:
        fail(f"--to-file {file}: {error.strerror}", 2)
    recipients, repeats = distinct([*to, *from_file])
    if not recipients:
        fail("nobody to send to: give --to or --to-file", 2)
    if repeats:
        print(f"sms-pipeline: {repeats} repeated numbers left out: each is sent to once", file=sys.stderr)
    return recipients


def _check(requests: list[dict[str, Any]]) -> None:
    """What the contract refuses for all recipients alike is better said here than by ten thousand records."""
    from pydantic import ValidationError

    from schemas.intake import Request

    for request in requests:
        try:
            Request.model_validate(request)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc'][:2]))}: {e['msg']}" for e in error.errors(include_url=False)]
            fail("; ".join(dict.fromkeys(faults[:5])), 2)


async def _send(settings: Settings, lane: str, requests: list[dict[str, Any]]) -> list[Sent]:
    """Put the requests on the intake topic; the messages they make, once every request is durable."""
    topic = TopicNames(settings.kafka.topic_prefix).intake(lane)
    if not await partition_counts(settings, [topic]):
        fail_without(topic)
    async with producing(settings) as producer:
        now = time.time_ns() // 1_000_000
        await asyncio.gather(*[await producer.send(topic, orjson.dumps(r), timestamp_ms=now) for r in requests])
    return [message for request in requests for message in _messages(request, topic, now)]


def _messages(request: dict[str, Any], topic: str, timestamp_ms: int) -> list[Sent]:
    """The messages of a request under the very ids that the validate stage gives them."""
    from pipeline.stages import validate
    from pipeline.streaming.stage import Record

    return [
        Sent(ids.message_id(batch.id, index), request["requestId"], index, number)
        for batch in validate.batches(request, Record(topic, 0, 0, timestamp_ms, None, b""), None, {})
        for index, number in zip(batch.index, batch.numbers, strict=True)
    ]


async def _send_and_wait(
    settings: Settings, lane: str, requests: list[dict[str, Any]], timeout: float, *, repeated: bool
) -> list[dict[str, Any]]:
    """Send, then read the status topic until all is final or the time is over; the last status record of each.

    `repeated`: the request id may have been used before; its fates are then on the topic already.
    """
    watch = Watch(requests[0]["account"], [request["requestId"] for request in requests])
    async with reading(settings, TopicNames(settings.kafka.topic_prefix).status) as consumer:
        if repeated:
            await catch_up(consumer, watch.take)
            watch.begin()
        else:
            await consumer.seek_to_end()
        sent = await _send(settings, lane, requests)
        started = time.monotonic()
        while (passed := time.monotonic() - started) < timeout:
            if watch.final(earlier=passed > _REFUSAL_SECONDS) >= len(sent):
                break
            await poll(consumer, watch.take)
        return watch.fates(sent)


def _show_sent(sent: list[Sent], json: bool) -> None:
    for message in sent:
        if json:
            show_json(msgspec.to_builtins(message))
            continue
        if message.index == 0:
            print(f"request {message.request_id}")
        print(f"{message.id}  {message.recipient}")


def _how_to_ask(requests: list[dict[str, Any]]) -> str:
    named = " ".join(f"--request {request['requestId']}" for request in requests)
    return f"sms-pipeline status --account {requests[0]['account']} {named}"
