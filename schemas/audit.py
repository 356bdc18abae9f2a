"""The audit record: who administered what, on `sms.audit` (plain JSON, kept for a year, key = account)."""

from typing import Any

import msgspec


class AuditRecord(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One administrative act. `at`: RFC 3339. `actor`: user@machine of whoever ran a command, or `token:ID` of whoever
    asked over HTTP. `action`: subject and verb, such as `token.create`. `account`: whom it concerns, None for all.
    `details`: what it was, without secrets. An act is told before it is carried out, so that none is missed: one that
    a crash undid in that moment may be told too.
    """

    at: str
    actor: str
    action: str
    account: str | None = None
    details: dict[str, Any] = {}
