"""A client of the HTTP gateway: `Client` for programs without an event loop, `AsyncClient` for asyncio.

It needs nothing of the platform: no Kafka, no Faust, no web framework is imported.
"""

from pipeline.client.answers import (
    Balance,
    Fault,
    Message,
    Movement,
    OptedOut,
    OptOut,
    Price,
    Spend,
)  # fmt: skip
from pipeline.client.clients import AsyncClient, Client
from pipeline.client.errors import ApiError, BadAnswer, BadSignature, ClientError, StillOpen, Unreachable
from pipeline.client.exchange import Retries
from pipeline.client.messages import Callback, Recipient
from pipeline.client.signatures import verify_callback

__all__ = [
    "ApiError", "AsyncClient", "BadAnswer", "BadSignature", "Balance", "Callback", "Client", "ClientError", "Fault",
    "Message", "Movement", "OptOut", "OptedOut", "Price", "Recipient", "Retries", "Spend", "StillOpen", "Unreachable",
    "verify_callback",
]  # fmt: skip
