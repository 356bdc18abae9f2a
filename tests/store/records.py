"""Status records for the read model's tests."""

import msgspec

from schemas.states import STATE, Detailed, is_final
from schemas.status import StatusError, StatusRecord

#: A message's usual way: sequence to state.
WAY = {1: Detailed.ACCEPTED, 2: Detailed.SUBMITTED, 3: Detailed.DELIVERED}


def status(number: int, sequence: int, state: Detailed | None = None, account: str = "acme", **more) -> StatusRecord:
    """The record of message `number` of an account at `sequence`; `at` tells the sequence."""
    state = WAY[sequence] if state is None else state
    fields = {
        "id": f"{0x6921F100 + number // 4:08x}{0xABCDEF0000 + number // 4:010x}{number % 4:06x}",
        "request_id": f"request-{number // 4}",
        "index": number % 4,
        "account": account,
        "sender": "ACME",
        "recipient": f"+39333{number:07d}",
        "international_prefix": "39",
        "country_code": "IT",
        "state": STATE[state],
        "detailed_state": state.name,
        "final": is_final(state),
        "sequence": sequence,
        "error": None,
        "encoding": "GSM-7",
        "characters_count": 9,
        "message_count": 1,
        "parts_delivered": int(state == Detailed.DELIVERED),
        "price": "0.0500",
        "total_price": "0.0500",
        "currency": "EUR",
        "carrier": "sim",
        "carrier_reference": f"c{number}",
        "dry_run": False,
        "custom": {"order": number},
        "at": f"2026-11-22T10:00:0{sequence}.000Z",
    }
    return StatusRecord(**(fields | more))


def blocked(number: int, sequence: int) -> StatusRecord:
    return status(number, sequence, Detailed.BLOCKED, error=StatusError(2044, "prohibited", True))


encode = msgspec.json.encode
