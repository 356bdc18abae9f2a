"""Validate: is the request well formed, the account allowed, each recipient a reachable mobile number?

In: one JSON request a record (`sms.intake`). Out: batches of up to SLICE recipients (`sms.validated`), keyed by
request so that all slices and every repeat of a request meet in one partition of the next stage. What is wrong
travels on the batch: encode reports it once it knows that the request is no repeat.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import ValidationError

from pipeline import ids, schedule
from pipeline.accounts import AccountDirectory, AccountRecord
from pipeline.config import Settings
from pipeline.numbers import check_sender, classify
from pipeline.records import Batch, Destination
from pipeline.schedule import Schedule
from pipeline.stages.common import count_in, count_out
from pipeline.streaming import letters
from pipeline.streaming.stage import Decide, Record, Source, Step, Unreadable
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors, faults, intake, surrogates
from schemas.errors import Error

#: Recipients a batch: enough that work per record vanishes, few enough that a record stays small (facts: 140 µs a hop).
SLICE = 500
#: A window's work: one request to ten thousand, or as many to one each as take about as long (some 20 ms).
_WINDOW_RECORDS, _WINDOW_BYTES = 256, 64 * 1024
#: Characters of field values a batch, so that personalised batches stay small too.
_FIELD_CHARACTERS = 200_000

#: Of what a refused request holds, this many characters of a field are told back, once a recipient.
_SHOWN = 128

_NOWHERE = Destination("", "", "")


def sources(settings: Settings, accounts: AccountDirectory) -> list[Source]:
    """The stage's agents: one a lane."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [
        Source(
            names.intake(lane),
            _agent(settings, names, accounts, lane),
            exclusive=False,
            max_records=_WINDOW_RECORDS,
            max_bytes=_WINDOW_BYTES,
        )
        for lane in LANES
    ]


def _agent(settings: Settings, names: TopicNames, accounts: AccountDirectory, lane: str) -> Decide:
    async def decide(record: Record, step: Step) -> None:
        data, request, wrong = read(record.value, settings.limits.request_bytes)
        if accounts.get(data["account"]) is None:
            await accounts.refresh()  # an account made a moment ago may not have arrived here yet
        known = accounts.get(data["account"])
        error, when = _judge(request, known, record, settings.storage.retention_days)
        for batch in batches(data, record, error, wrong, when):
            count_in("validate", lane, len(batch))
            count_out("validate", lane, len(batch))
            partition = ids.partition_of(batch.request, settings.kafka.partitions)
            step.outbox.pack(names.validated(lane), partition, batch, len(batch))
            await step.breathe()  # ten thousand numbers take a while

    return decide


def read(value: bytes, limit: int) -> tuple[dict[str, Any], intake.Request | Error, dict[int, Error]]:
    """The request as sent, and as the contract sees it (or what is wrong with it), without its wrong recipients: the
    error of each of these, by its place.

    Raises Unreadable where not even an account and recipients can be told, so that nobody could be answered.
    """
    if len(value) > limit:
        raise Unreadable(f"record of {len(value)} bytes, at most {limit} are taken: split the request")
    halves: dict[surrogates.Path, str] = {}
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        mended = surrogates.loads(value)
        if mended is None:
            raise Unreadable(f"not JSON in UTF-8: {error}") from None
        data, halves = mended
    if not isinstance(data, dict):
        raise Unreadable(f"a request is a JSON object, this is a {type(data).__name__}")
    if not isinstance(data.get("account"), str) or not _numbers_of(data):
        raise Unreadable("a request names its account (a string) and at least one recipient")
    wrong = {int(path[1]): _half(path, halves) for path in halves if path[0] == "recipients" and len(path) > 1}
    if others := [path for path in halves if path[:1] != ("recipients",) or len(path) < 2]:
        return data, _half(others[0], halves), {}
    try:
        request = intake.Request.model_validate(data)
        if not wrong:
            return data, request, {}
    except ValidationError as error:
        found = faults.by_recipient(error, data)
        if found is None:
            return data, faults.told(error, data), {}
        wrong |= found
    good = [recipient for place, recipient in enumerate(data["recipients"]) if place not in wrong]
    return data, intake.Request.model_validate({**data, "recipients": good or [""]}), wrong


def _half(path: surrogates.Path, halves: dict[surrogates.Path, str]) -> Error:
    named = ".".join(map(str, path)).encode("utf-8", "replace").decode()
    text = f"{named}: {halves[path]} is half a character and cannot be sent: remove it"
    return Error(errors.INVALID_TEXT, text)


def _judge(
    request: intake.Request | Error, account: AccountRecord | None, record: Record, retention_days: float
) -> tuple[Error | None, Schedule | None]:
    """What is wrong for all messages alike; or, where nothing is, when they are to be sent."""
    error = request if isinstance(request, Error) else check_request(request, account)
    if error or isinstance(request, Error):
        return error, None
    found = schedule.plan(request.options, letters.first_place(record).timestamp_ms, retention_days)
    return (found, None) if isinstance(found, Error) else (None, found)


def check_request(request: intake.Request, account: AccountRecord | None) -> Error | None:
    """What is wrong for all recipients alike; None where nothing is."""
    if account is None:
        return Error(
            errors.UNKNOWN_ACCOUNT,
            f"account: {request.account!r} does not exist; create it with `sms-pipeline account create`",
        )
    if account.blocklisted:
        return Error(errors.BLOCKLISTED, "The user is blocklisted. Please contact support for assistance.")
    wrong = check_sender(request.sender or intake.DEFAULT_SENDER)
    return wrong and wrong.of("sender")


def batches(
    data: dict[str, Any],
    record: Record,
    error: Error | None,
    malformed: Mapping[int, Error],
    when: Schedule | None = None,
) -> Iterator[Batch]:
    """The request's batches, in order: deterministic ids, checked recipients, errors at their positions. `when`: they
    are to be sent; None at once.

    A replayed dead letter is what it was when it first stood on the intake: same ids, same time, same validity.
    """
    offset, timestamp_ms = letters.first_place(record)
    request_id = data.get("requestId") if isinstance(data.get("requestId"), str) else None
    if request_id is not None:
        request = ids.request_hash(data["account"], request_id)
    else:
        request = ids.record_hash(record.topic, record.partition, offset, timestamp_ms, record.value)
    fingerprint = blake2b(_canonical(data, record.value), digest_size=8).digest()
    asked = data.get("options")
    options = asked if error is None and isinstance(asked, dict) else {}
    callback = data.get("callback")
    tariff = str(options.get("tariff", intake.WORLDWIDE))
    seen: set[str] = set()
    for number, (start, numbers, fields) in enumerate(_slices(_numbers_of(data))):
        known = {place - start: malformed[place] for place in range(start, start + len(numbers)) if place in malformed}
        where, destinations, wrong = (
            _check_numbers(numbers, seen, known, tariff, when) if error is None else ([0] * len(numbers), [], {})
        )
        yield Batch(
            id=ids.batch_id(request, number, timestamp_ms),
            request=request,
            slice=number,
            fingerprint=fingerprint,
            account=data["account"][:_SHOWN],
            request_id=request_id[:_SHOWN] if request_id else None,
            sender=str(data.get("sender") or intake.DEFAULT_SENDER)[:_SHOWN],
            message=str(data.get("message") or "") if error is None else "",
            dry_run=isinstance(asked, dict) and asked.get("dryRun") is True,
            fail_on_multiple=bool(options.get("failOnMultipleMessages", False)),
            transliterate=bool(options.get("transliterate", False)),
            validity_seconds=int(options.get("validitySeconds", intake.VALIDITY_SECONDS)),
            received_at=timestamp_ms,
            custom=orjson.dumps(data.get("custom") or {}) if error is None else b"{}",
            callback=orjson.dumps(callback) if callback and error is None else None,
            index=list(range(start, start + len(numbers))),
            numbers=[number[:_SHOWN] for number in numbers],
            where=where,
            destinations=destinations or [_NOWHERE],
            fields=fields,
            error=error,
            errors=wrong,
            tariff=tariff,
            otp=bool(options.get("otp", False)),
            send_at=when.send_at if when else 0,
        )


def _canonical(data: dict[str, Any], value: bytes) -> bytes:
    """The request's content, however it was written (as written, where it is nested too deeply to be written again)."""
    try:
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return value


def _numbers_of(data: dict[str, Any]) -> list[Any]:
    found = data.get("recipients", [data["recipient"]] if "recipient" in data else [])
    return found if isinstance(found, list) else [found]


def _slices(recipients: list[Any]) -> Iterator[tuple[int, list[str], list[dict[str, str]] | None]]:
    """Cut into (place of the first, numbers, fields) of at most SLICE recipients and _FIELD_CHARACTERS of fields."""
    start, used = 0, 0
    numbers: list[str] = []
    fields: list[dict[str, str]] = []
    for place, recipient in enumerate(recipients):
        values: dict[str, str] = {}
        if isinstance(recipient, str):
            number = recipient
        elif isinstance(recipient, dict):
            number = str(recipient.get("number"))
            given = recipient.get("fields")
            values = {str(k): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
        else:
            number = str(recipient)
        size = sum(map(len, values)) + sum(map(len, values.values()))
        used += size
        if len(numbers) == SLICE or (numbers and used > _FIELD_CHARACTERS):
            yield start, numbers, fields if any(fields) else None
            start, used, numbers, fields = place, size, [], []
        numbers.append(number)
        fields.append(values)
    if numbers:
        yield start, numbers, fields if any(fields) else None


def _check_numbers(
    numbers: list[str], seen: set[str], malformed: Mapping[int, Error], tariff: str, when: Schedule | None
) -> tuple[list[int], list[Destination], dict[int, Error]]:
    """Each number's destination by position, and what is wrong where. `seen`: the request's numbers so far."""
    where: list[int] = []
    places: dict[tuple[str, str, str, int], int] = {("", "", "", 0): 0}
    wrong: dict[int, Error] = {}
    for position, number in enumerate(numbers):
        found = malformed.get(position) or classify(number)
        if isinstance(found, Error):
            wrong[position] = found if position in malformed else found.of("recipient")
            where.append(0)
            continue
        if tariff not in (intake.WORLDWIDE, found.country):
            wrong[position] = Error(
                errors.WRONG_COUNTRY, f"recipient: a number of {found.country}, which tariff {tariff} does not serve"
            )
        if number in seen:
            wrong[position] = Error(
                errors.DUPLICATE_RECIPIENT, "recipients: this number stands earlier in the request; it is sent to once"
            )
        seen.add(number)
        quiet_until = when.quiet_until(found) if when else 0
        if isinstance(quiet_until, Error):
            wrong.setdefault(position, quiet_until)
            quiet_until = 0
        place = (found.country, found.prefix, found.operator, quiet_until)
        where.append(places.setdefault(place, len(places)))
    return where, [Destination(*place) for place in places], wrong
