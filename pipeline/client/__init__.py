"""A client of the HTTP gateway: `Client` for programs without an event loop, `AsyncClient` for asyncio.

It needs nothing of the platform: no Kafka, no Faust, no web framework is imported.
"""

from pipeline.client.answers import (
    BadLine,
    Balance,
    Batch,
    Cancellation,
    Count,
    Delivery,
    Endpoint,
    Estimate,
    Fault,
    Message,
    Movement,
    OptedOut,
    OptOut,
    Price,
    Refused,
    Replay,
    Spend,
    Verification,
)  # fmt: skip
from pipeline.client.clients import AsyncClient, Client
from pipeline.client.errors import ApiError, BadAnswer, BadSignature, ClientError, StillOpen, Unreachable
from pipeline.client.exchange import Retries
from pipeline.client.requests import Callback, Options, Recipient
from pipeline.client.signatures import verify_callback

__all__ = [
    "ApiError", "AsyncClient", "BadAnswer", "BadLine", "BadSignature", "Balance", "Batch", "Callback", "Cancellation",
    "Client", "ClientError", "Count", "Delivery", "Endpoint", "Estimate", "Fault", "Message", "Movement", "OptOut",
    "OptedOut", "Options", "Price", "Recipient", "Refused", "Replay", "Retries", "Spend", "StillOpen", "Unreachable",
    "Verification", "verify_callback",
]  # fmt: skip
