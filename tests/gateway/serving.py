"""A gateway serving real HTTP from a thread."""

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import broker
import httpx

from pipeline import accounts
from pipeline.accounts import AccountRecord
from pipeline.config import Gateway as GatewaySettings
from pipeline.config import HttpCarrier, Limits, Settings, SmppCarrier
from pipeline.gateway.server import Server, server
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import Token, hash_token

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TOKENS = {name: "smsp_" + letter * 43 for name, letter in (("acme", "a"), ("globex", "g"), ("blocked", "b"))}
LIMIT = 64 * 1024


class Gateway:
    """Where it serves and what it was given. `http` has no token, `as_(account)` has."""

    def __init__(self, settings: Settings, port: int, server: Server) -> None:
        self.settings = settings
        self.server = server
        self.names = TopicNames(settings.kafka.topic_prefix)
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def as_(self, account: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, headers={"Authorization": f"Bearer {TOKENS[account]}"})


def configured(bootstrap: str, directory: Path) -> Settings:
    carriers = {
        "sim": HttpCarrier(url="http://127.0.0.1:1/messages", secret=SECRET),
        "bare": HttpCarrier(url="http://127.0.0.1:1/messages"),
        "telco": SmppCarrier(type="smpp", host="127.0.0.1", system_id="x", password="y"),
    }
    limits = Limits(request_bytes=LIMIT)
    return broker.settings_for(bootstrap, directory, carriers=carriers, limits=limits, gateway=GatewaySettings(port=0))


def put_accounts(settings: Settings, *records: AccountRecord | Token) -> None:
    """Accounts, and tokens of theirs."""

    async def put() -> None:
        topic, producer = TopicNames(settings.kafka.topic_prefix).accounts, client.producer(settings.kafka)
        await producer.start()
        try:
            for record in records:
                if isinstance(record, Token):
                    await producer.send_and_wait(topic, key=record.key, value=record.value)
                else:
                    await accounts.put(producer, topic, record)
        finally:
            await producer.stop()

    asyncio.run(put())


@contextmanager
def serving(settings: Settings) -> Iterator[Gateway]:
    """Serve until the block ends; not necessarily ready."""
    running = server(settings)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        eventually(lambda: running.started)
        yield Gateway(settings, running.servers[0].sockets[0].getsockname()[1], running)
    finally:
        running.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def start(bootstrap: str, directory: Path, **changes: Any) -> Iterator[Gateway]:
    settings = configured(bootstrap, directory).model_copy(update=changes)
    broker.create_topics(settings)
    put_accounts(
        settings,
        *(AccountRecord(name, "2026-11-22T10:00:00.000Z", [hash_token(TOKENS[name])]) for name in ("acme", "globex")),
        AccountRecord("blocked", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["blocked"])], blocklisted=True),
    )
    with serving(settings) as gateway:
        eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
        yield gateway


def eventually(condition, seconds: float = 20) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
