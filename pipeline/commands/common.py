"""What commands share: the --config option, talking to a running system, and ending with a clear word."""

import asyncio
import contextlib
import getpass
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline import audit, config
from pipeline.config import EMBEDDED, ConfigError, Settings
from pipeline.ops.system import RUNNING_FILE
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

T = TypeVar("T")

_MOST_TOLD = 100

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (default: sms-pipeline.toml, if it is there).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with a word on standard error."""
    print(f"sms-pipeline: {message}", file=sys.stderr)
    raise typer.Exit(code)


def show_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def running(file: Path | None) -> Settings:
    """The settings with the Kafka and gateway of the `up` that runs with the same configuration.

    With a Kafka of one's own it is simply the configured one.
    """
    settings = config.load(file)
    if settings.kafka.bootstrap_servers != EMBEDDED:
        return settings
    path = settings.storage.directory / RUNNING_FILE
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"nothing runs in {settings.storage.directory}; start it with `sms-pipeline up`") from None
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": found["kafka"]})
    gateway = settings.gateway.model_copy(update={"port": found["gatewayPort"]})
    return settings.model_copy(update={"kafka": kafka, "gateway": gateway})


def operator() -> str:
    """user@machine, for whoever asks later who did it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a Kafka that is not there is said in a line."""
    try:
        return asyncio.run(work)
    except KafkaError as error:
        fail(f"Kafka does not answer ({error}); is the system up?")


async def audited(
    producer: AIOKafkaProducer, settings: Settings, action: str, account: str | None = None, **details: Any
) -> None:
    """Tell the audit log what this operator is about to do (`pipeline.audit.act`). Of long lists the beginning."""
    details = {name: value[:_MOST_TOLD] if isinstance(value, list) else value for name, value in details.items()}
    told = audit.act(operator(), action, account, **details)
    await audit.record(producer, TopicNames(settings.kafka.topic_prefix).audit, told)


@contextlib.asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer, closed at the end."""
    producer = client.producer(settings.kafka)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()
