"""The audit log: administrative acts, told on a topic of their own beside what they change."""

import time
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from pipeline.stages.fate import rfc3339
from schemas.audit import AuditRecord

_decode = msgspec.json.Decoder(AuditRecord).decode


def act(actor: str, action: str, account: str | None = None, **details: Any) -> AuditRecord:
    """An act of now. `details`: JSON values by names in camelCase, without secrets; None is left out."""
    now = rfc3339(time.time_ns() // 1_000_000)
    told = {name: value for name, value in details.items() if value is not None}
    return AuditRecord(at=now, actor=actor, action=action, account=account, details=told)


def by_token(id_: str) -> str:
    """The actor of a request over HTTP."""
    return f"token:{id_}"


def key(told: AuditRecord) -> bytes | None:
    """The record's key on the topic."""
    return told.account.encode() if told.account else None


def value(told: AuditRecord) -> bytes:
    """The record on the topic."""
    return msgspec.json.encode(told)


def read(value: bytes) -> AuditRecord | None:
    """The record as it stands on the topic; None where it cannot be read."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def record(producer: AIOKafkaProducer, topic: str, told: AuditRecord) -> None:
    """Make an act durable, before it is carried out. Raises KafkaError."""
    await producer.send_and_wait(topic, key=key(told), value=value(told))
