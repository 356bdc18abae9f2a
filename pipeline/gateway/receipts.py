"""`/carriers/{name}/receipts`: carriers tell what became of messages.

Hot path: one typed decode, one Kafka record for all receipts of a POST that share a topic and partition. A receipt
that gives our message id back goes where the message's batch is; one that carries only the carrier's id goes where
the carrier's ids are resolved. Status words are judged by the track stage.
"""

import time
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.gateway import metrics
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import read_body
from pipeline.gateway.services import services
from pipeline.streaming import failpoint
from pipeline.streaming.topics import TopicNames
from schemas import errors

MAX_BODY_BYTES = 4 * 1024 * 1024

router = APIRouter(tags=["Carriers"])


class CarrierReceipt(msgspec.Struct, rename="camel", gc=False):
    """As the contract with HTTP carriers has it; what else a carrier sends is ignored."""

    id: str
    status: str
    reference: str | None = None
    error: str | None = None
    done_at: str | None = None


class Receipts(msgspec.Struct):
    receipts: list[CarrierReceipt]


_decode = msgspec.json.Decoder(Receipts).decode


@router.post("/carriers/{name}/receipts", status_code=204, summary="Receipts of a carrier, signed")
async def take(request: Request, name: str) -> Response:
    """204 once every receipt is durable. A repeat is harmless, so after anything else the carrier sends them again."""
    at = services(request)
    if name not in at.webhooks:
        return problem(refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no HTTP carrier {name[:64]!r}"))
    body = await read_body(request, MAX_BODY_BYTES)
    if isinstance(body, Refusal):
        return problem(body)
    if refused := _verify(at.webhooks[name], request, name, body):
        return problem(refused)
    parsed = _parse(body)
    if isinstance(parsed, Refusal):
        return problem(parsed)
    records = group(name, parsed, time.time_ns() // 1_000_000, at.names, at.settings.kafka.partitions)
    if failed := await at.publisher.publish(records):
        return problem(unavailable(failed.message))
    failpoint.reach("gateway.receipts-produced")
    metrics.RECEIPTS.labels(name).inc(len(parsed))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def group(
    carrier: str, found: list[CarrierReceipt], received_at_ms: int, names: TopicNames, partitions: int
) -> list[Outgoing]:
    """One record a topic and partition, receipts in the order they came."""
    groups: dict[tuple[str, int], list[Receipt]] = {}
    for one in found:
        ours = ids.split(one.reference) if one.reference else None
        if ours:
            place = names.receipts, ids.partition_of(ours[0], partitions)
        else:
            place = names.references, ids.partition_of(f"{carrier}\0{one.id}".encode(), partitions)
        groups.setdefault(place, []).append(Receipt(one.id, one.reference, one.status, one.error, one.done_at))
    return [
        Outgoing(topic, receipts.encode(ReceiptBatch(carrier, received_at_ms, batch)), partition)
        for (topic, partition), batch in groups.items()
    ]


def _verify(webhook: Webhook | None, request: Request, name: str, body: bytes) -> Refusal | None:
    """Standard Webhooks 1.0.0: HMAC-SHA256 over id, timestamp and body, not older than five minutes."""
    if webhook is None:
        message = f"a secret must be configured for this carrier before its receipts are taken: carriers.{name}.secret"
        return refuse(HTTPStatus.FORBIDDEN, errors.UNAUTHENTICATED, message)
    try:
        webhook.verify(body, dict(request.headers), json_parse=False)
    except WebhookVerificationError as error:
        return refuse(HTTPStatus.UNAUTHORIZED, errors.UNAUTHENTICATED, f"the signature does not hold: {error}")
    except ValueError:  # no version before the signature, not base64, a body that is not UTF-8
        return refuse(HTTPStatus.UNAUTHORIZED, errors.UNAUTHENTICATED, "the signature cannot be read")
    return None


def _parse(body: bytes) -> list[CarrierReceipt] | Refusal:
    try:
        return _decode(body).receipts
    except msgspec.ValidationError as error:  # JSON, but of another shape
        what, _, where = str(error).partition(" - at `$.")
        message = f"{where.rstrip('`') or 'body'}: {what}"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, f"the body is not JSON in UTF-8: {error}")
