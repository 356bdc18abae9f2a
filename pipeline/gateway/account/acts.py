"""Administrative acts over HTTP, as the audit log is told of them: in one batch with what they change."""

from typing import Any

from fastapi import Request

from pipeline import audit
from pipeline.gateway.door.guard import caller
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.services import services


def act(request: Request, action: str, account: str, **details: Any) -> Outgoing:
    """The record of an act by the token of an authenticated request. `details`: see `audit.act`."""
    token = caller(request.scope).token
    assert token
    told = audit.act(audit.by_token(token.id), action, account, **details)
    return Outgoing(services(request).names.audit, audit.value(told), key=audit.key(told))
