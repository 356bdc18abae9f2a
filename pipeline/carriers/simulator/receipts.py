"""Delivery receipts: kept in time buckets until due, sent in signed batches until the gateway takes them.

A pending receipt is a line of some 45 bytes in its bucket's bytearray, so millions of them fit while a gateway is away.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import msgspec
from standardwebhooks import Webhook

from pipeline.carriers.simulator.stats import Stats

#: Receipts that fall due within one tick travel together.
TICK_SECONDS = 0.05
#: Receipts in one POST.
BATCH = 500
#: POSTs under way at once: one waits for the gateway's Kafka while the next is made.
SENDERS = 4
TIMEOUT_SECONDS = 10.0
#: An early receipt holds back the answer to its message, so it is tried once and briefly.
EARLY_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 5.0)

#: SMPP 3.4 appendix B `err`, with the GSM MAP causes: 1 unknown subscriber, 27 absent subscriber.
_ERRORS = {"DELIVRD": "000", "ENROUTE": "000", "UNDELIV": "001", "EXPIRED": "027"}


class Receipt(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """One receipt of the contract."""

    id: str
    status: str
    error: str
    done_at: str
    reference: str | None = None


class _Body(msgspec.Struct):
    receipts: list[Receipt]


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present, as `rfc3339`."""
    return rfc3339(datetime.now(UTC))


class Receipts:
    """Where receipts go. Without `url` they are dropped when made. `secret`: `whsec_…`; unsigned without one."""

    def __init__(self, url: str | None, secret: str | None, stats: Stats) -> None:
        self._url = httpx.URL(url) if url else None
        self._webhook = Webhook(secret) if secret else None
        self._stats = stats
        self._encode = msgspec.json.Encoder().encode
        self._buckets: dict[int, bytearray] = {}
        self._due: deque[bytearray] = deque()
        self._has_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, limits=httpx.Limits(keepalive_expiry=2.0), trust_env=False
        )

    def start(self) -> None:
        """Begin to send, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._tick = self._current_tick()
        if self._url:
            self._tasks = [
                asyncio.create_task(self._clock()),
                *(asyncio.create_task(self._send()) for _ in range(SENDERS)),
            ]

    async def stop(self) -> None:
        """Stop sending; what was not due or not taken yet is lost, as with any carrier that goes away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def schedule(self, delay: float, line: str) -> None:
        """Send the receipt of `line` (see `line`) after `delay` seconds, and from then on until it is taken."""
        if self._url:
            self._stats.receipts_pending += 1
            tick = self._current_tick() + 1 + int(delay / TICK_SECONDS)
            self._buckets.setdefault(tick, bytearray()).extend(line.encode())

    async def send_early(self, lines: list[str]) -> None:
        """Send now, before returning; what the gateway does not take is sent again the ordinary way."""
        if not self._url or not lines:
            return
        if not await self._post(self._receipts(lines), str(uuid4()), EARLY_SECONDS):
            for line in lines:
                self.schedule(0, line)

    def _current_tick(self) -> int:
        return int(self._loop.time() / TICK_SECONDS)

    async def _clock(self) -> None:
        """Move what fell due, in order, to the senders."""
        while True:
            await asyncio.sleep((self._tick + 1) * TICK_SECONDS - self._loop.time())
            current = self._current_tick()
            for tick in range(self._tick + 1, current + 1):
                if bucket := self._buckets.pop(tick, None):
                    self._due.append(bucket)
                    self._has_due.set()
            self._tick = current

    async def _send(self) -> None:
        while True:
            await self._has_due.wait()
            if not self._due:
                self._has_due.clear()
                continue
            lines = self._due.popleft().decode().splitlines(keepends=True)
            for start in range(0, len(lines), BATCH):
                some = lines[start : start + BATCH]
                await self._send_until_taken(self._receipts(some))
                self._stats.receipts_pending -= len(some)

    async def _send_until_taken(self, receipts: list[Receipt]) -> None:
        name = str(uuid4())  # one name a batch, so that the receiver can tell a repeat
        for pause in _backoff():
            if await self._post(receipts, name, TIMEOUT_SECONDS):
                return
            await asyncio.sleep(pause)

    def _receipts(self, lines: list[str]) -> list[Receipt]:
        done_at = now()
        receipts = []
        for item in lines:
            status, identity, reference = item[:-1].split(" ")
            receipts.append(Receipt(identity, status, _ERRORS[status], done_at, reference or None))
        return receipts

    async def _post(self, receipts: list[Receipt], name: str, timeout: float) -> bool:
        assert self._url is not None
        body = self._encode(_Body(receipts))
        headers = {"content-type": "application/json", **self._signature(name, body)}
        try:
            response = await self._client.post(self._url, content=body, headers=headers, timeout=timeout)
            taken = response.is_success
        except httpx.HTTPError:
            taken = False
        if taken:
            self._stats.receipts_sent += len(receipts)
            self._stats.last_receipt_at = now()
        else:
            self._stats.receipts_failed += len(receipts)
        return taken

    def _signature(self, name: str, body: bytes) -> dict[str, str]:
        """The headers of Standard Webhooks 1.0.0; signed anew at each attempt, as the timestamp must be fresh."""
        if self._webhook is None:
            return {}
        moment = datetime.now(UTC)
        return {
            "webhook-id": name,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": self._webhook.sign(name, moment, body.decode()),
        }


def line(status: str, identity: str, reference: str = "") -> str:
    """A receipt as it waits in its bucket. None of the three holds a space or a line break."""
    return f"{status} {identity} {reference}\n"


def _backoff() -> Iterator[float]:
    pause, most = BACKOFF_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, most)
