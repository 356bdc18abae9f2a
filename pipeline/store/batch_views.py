"""Batches as they are told: over HTTP, on the command line, and their messages as CSV."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pipeline.billing import format_amount
from pipeline.store.batches import Cost, Progress
from pipeline.store.stored import StoredMessage
from schemas.batch import BatchRecord
from schemas.status import StatusError

#: What the export tells of a message, in this order.
FIELDS = [
    "recipient", "state", "detailedState", "errorCode", "error", "messageCount", "partsDelivered", "totalPrice",
    "currency", "carrier", "carrierReference", "sentAt", "deliveredAt", "updatedAt", "id", "requestId", "index",
]  # fmt: skip
#: A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection). A number in E.164 is none.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_E164 = re.compile(r"\+[0-9]{1,15}").fullmatch

_decode_error = msgspec.json.Decoder(StatusError).decode


def told(record: BatchRecord) -> dict[str, Any]:
    """An upload as it was taken."""
    return {
        "id": record.id,
        "requestId": record.id,
        "name": record.name,
        "createdAt": record.created_at,
        "sender": record.sender,
        "message": record.message,
        "dryRun": record.dry_run,
        "recipients": record.recipients,
        "repeats": record.repeats,
        "badLineCount": record.bad_line_count,
    }


def bad_lines(record: BatchRecord) -> dict[str, Any]:
    """Its bad lines, the first of them."""
    return {"badLines": [{"line": one.line, "reason": one.reason} for one in record.bad_lines]}


def how_far(progress: Progress, cost: Cost, currency: str) -> dict[str, Any]:
    """Where its messages are, and what they cost so far. `share`: of the messages whose fate is final."""
    share = progress.final / progress.recipients if progress.recipients else 0.0
    return {
        "progress": {"known": progress.known, "final": progress.final, "share": round(share, 4)},
        "states": progress.states,
        "detailedStates": dict(sorted(progress.detailed.items())),
        "cost": {
            "spent": format_amount(cost.spent),
            "reserved": format_amount(cost.reserved),
            "currency": cost.currency or currency,
        },
    }


def csv_chunks(lists: Iterable[Iterable[StoredMessage]]) -> Iterator[str]:
    """The header, then a chunk for each list (RFC 4180). What a spreadsheet would take for a formula is quoted with an
    apostrophe; numbers are left as they are."""
    chunk = io.StringIO(newline="")
    writer = csv.writer(chunk)
    writer.writerow(FIELDS)
    yield chunk.getvalue()
    for some in lists:
        chunk.seek(0)
        chunk.truncate()
        writer.writerows([_cell(value) for value in _values(one)] for one in some)
        yield chunk.getvalue()


def _values(one: StoredMessage) -> list[Any]:
    error = _decode_error(one.error) if one.error else None
    return [
        one.recipient, one.state, one.detailed_state, error and error.code, error and error.message, one.message_count,
        one.parts_delivered, one.total_price, one.currency, one.carrier, one.carrier_reference, one.sent_at,
        one.delivered_at, one.updated_at, one.id, one.request_id, one.index,
    ]  # fmt: skip


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA) and not _E164(value):
        return "'" + value
    return value
