"""Health and metrics, for supervisors and scrapers."""

import asyncio

import orjson
import prometheus_client
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Request, Response

from pipeline.gateway.services import services

_PROBE_SECONDS = 2.0

router = APIRouter(tags=["Operations"])


@router.get("/health/live", summary="The process serves requests")
async def live() -> Response:
    return _answer(200, "ok", [])


@router.get("/health/ready", summary="Requests can be taken and asked after")
async def ready(request: Request) -> Response:
    """200 when Kafka answers, the accounts are read and the read model is open; else 503 with what is missing."""
    at = services(request)
    missing = at.missing
    if not missing:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await at.accounts.refresh()
        except (TimeoutError, KafkaError):
            missing = ["kafka"]
    return _answer(503, "waiting", missing) if missing else _answer(200, "ok", [])


@router.get("/metrics", summary="Prometheus metrics of this process")
async def metrics() -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


def _answer(status: int, word: str, missing: list[str]) -> Response:
    return Response(orjson.dumps({"status": word, "missing": missing}), status, media_type="application/json")
