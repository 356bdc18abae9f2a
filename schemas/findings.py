"""The finding record: what the moderation's lists found in a batch, on `sms.findings` (plain JSON, key = account)."""

import msgspec


class Finding(msgspec.Struct, rename="camel", frozen=True):
    """One entry of a list, found in `messages` messages of a batch: in their text or their sender (`field`).

    `term`: as the list writes it, or the domain. `kind`: term, domain, shortener, look-alike or link. `severity`:
    "block" (the messages ended, BLOCKED) or "flag" (they went on). `folding`: what revealed it. `at`: RFC 3339.
    """

    account: str
    request_id: str | None
    batch: str
    field: str
    term: str
    kind: str
    severity: str
    folding: str
    messages: int
    dry_run: bool
    at: str
