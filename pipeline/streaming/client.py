"""How this project's own Kafka clients are made: one place for addresses, SASL, TLS and the durable producer."""

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.config import Kafka

#: Largest record any of our topics takes: a slice of personalised recipients stays far below, dead letters fit too.
MAX_RECORD_BYTES = 8 * 1024 * 1024
#: A dead letter is the record untouched, and headers that say why.
MAX_DEAD_LETTER_BYTES = MAX_RECORD_BYTES + 256 * 1024


def options(kafka: Kafka) -> dict[str, Any]:
    """Arguments that every aiokafka client takes alike."""
    found: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "client_id": "sms-pipeline",
    }
    if kafka.security_protocol.endswith("SSL"):
        found["ssl_context"] = tls_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        password = kafka.sasl_password
        found |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return found


def tls_context(kafka: Kafka) -> ssl.SSLContext:
    """TLS as configured: the system's authorities or `ssl_cafile`, a client certificate where one is named."""
    context = ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
    if kafka.ssl_certfile:
        context.load_cert_chain(str(kafka.ssl_certfile), str(kafka.ssl_keyfile) if kafka.ssl_keyfile else None)
    return context


def producer(kafka: Kafka, **more: Any) -> AIOKafkaProducer:
    """A producer whose acknowledgement means durable: acks=all, idempotent, so retries neither lose nor repeat."""
    settings = {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 2,
        "compression_type": "zstd",  # five times lz4's speed here: aiokafka asks lz4 for its slowest level
        "max_batch_size": 512 * 1024,
        "max_request_size": MAX_DEAD_LETTER_BYTES,
        "request_timeout_ms": 30_000,
    }
    return AIOKafkaProducer(**options(kafka), **(settings | more))


def consumer(kafka: Kafka, *topics: str, **more: Any) -> AIOKafkaConsumer:
    """A consumer of what is committed that never commits by itself, and reads from the beginning where nothing is
    committed of its own."""
    settings = {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": 2 * MAX_RECORD_BYTES,
    }
    return AIOKafkaConsumer(*topics, **options(kafka), **(settings | more))


def admin(kafka: Kafka) -> AIOKafkaAdminClient:
    """The administrative client, for topics and groups."""
    return AIOKafkaAdminClient(**options(kafka))
