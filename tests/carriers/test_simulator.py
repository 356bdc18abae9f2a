"""The simulator through the real HTTP carrier over the loopback, and its receipts at a real receiver."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from pipeline.carriers.base import Accepted, Answered, Refused, Rejected, SlowDown, Unknown
from pipeline.carriers.http import HttpCarrier
from pipeline.carriers.simulator import Behaviour, Journal, Receipts, Stats, create_app
from pipeline.config import HttpCarrier as Config

SECRET = "whsec_" + "c2VjcmV0" * 4
PROMPT = {"receipt_delay": (0.0, 0.1)}


class Receiver:
    """A gateway's end of the receipts: verifies every POST, and refuses the first `failures`."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.posts: list[tuple[str, list[dict[str, Any]]]] = []
        self.refused: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http" and scope["path"] == "/carriers/sim/receipts"
        body = b""
        more = True
        while more:
            event = await receive()
            body += event["body"]
            more = event["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        content = Webhook(SECRET).verify(body, headers)
        if refuse := len(self.refused) < self.failures:
            self.refused.append(headers["webhook-id"])
        else:
            self.posts.append((headers["webhook-id"], content["receipts"]))
        status = 503 if refuse else 204
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [receipt for _, post in self.posts for receipt in post]


class Rig:
    """One simulator, a carrier that talks to it and a client for its other pages."""

    def __init__(self, carrier: HttpCarrier, web: httpx.AsyncClient) -> None:
        self.carrier, self.web = carrier, web

    async def stats(self) -> dict[str, Any]:
        return (await self.web.get("/stats")).json()

    async def journal(self, since: int = 0) -> list[dict[str, Any]]:
        answer = await self.web.get("/journal", params={"since": since})
        return [msgspec.json.decode(line) for line in answer.content.splitlines()]

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not condition(stats := await self.stats()):  # noqa: ASYNC110  (it is another server's figure)
                await asyncio.sleep(0.02)
        return stats


@pytest.fixture
def rig(serve, tmp_path):
    """`async with rig(behaviour…, receiver=…) as r`."""

    @asynccontextmanager
    async def start(receiver: Receiver | None = None, token: str | None = None, **behaviour: Any) -> AsyncIterator[Rig]:
        stats = Stats()
        with Journal(tmp_path / f"{len(os.listdir(tmp_path))}.ndjson") as journal:
            async with serve(receiver or Receiver()) as gateway:
                url = f"{gateway}/carriers/sim/receipts" if receiver else None
                receipts = Receipts(url, SECRET, stats)
                async with serve(create_app(Behaviour(**behaviour), journal, receipts, stats, token)) as simulator:
                    carrier = HttpCarrier("sim", Config(url=f"{simulator}/messages", timeout=5.0))
                    async with httpx.AsyncClient(base_url=simulator, trust_env=False) as web:
                        yield Rig(carrier, web)
                    await carrier.close()

    return start


def ids(outcome: Any) -> list[str]:
    assert isinstance(outcome, Answered)
    return [result.id for result in outcome.results if isinstance(result, Accepted)]


def test_what_is_accepted_is_in_the_journal_and_the_figures(rig, batch):
    async def run() -> None:
        async with rig() as r:
            taken = ids(await r.carrier.submit(batch(3), "one"))
            taken += ids(await r.carrier.submit(batch(2, first=3), "two"))
            lines = await r.journal()
            assert [line["id"] for line in lines] == taken and len(set(taken)) == 5
            assert {**lines[4], "acceptedAt": ""} == {
                "reference": f"{4:024x}",
                "id": taken[4],
                "from": "ACME",
                "to": "+393330000004",
                "parts": 2,
                "text": "Ciao 4 €",
                "idempotencyKey": "two",
                "acceptedAt": "",
                "times": 1,
            }
            assert await r.journal(since=3) == lines[3:] and await r.journal(since=99) == []
            stats = await r.stats()
            assert (stats["requests"], stats["accepted"], stats["acceptedParts"]) == (2, 5, 9)
            assert (stats["distinctReferences"], stats["repeatedReferences"]) == (5, 0)
            assert stats["firstAcceptedAt"] == lines[0]["acceptedAt"] and stats["lastReceiptAt"] is None
            metrics = (await r.web.get("/metrics")).text
            assert "sms_simulator_accepted_total 5.0" in metrics and "sms_simulator_receipts_pending 0.0" in metrics
            assert (await r.web.get("/health/ready")).status_code == 204

    asyncio.run(run())


def test_a_repeated_key_gets_the_first_results_and_nothing_is_accepted_again(rig, batch):
    async def run() -> None:
        async with rig(reject=0.3) as r:
            first = await r.carrier.submit(batch(20), "key")
            assert await r.carrier.submit(batch(20), "key") == first
            assert isinstance(await r.carrier.submit(batch(19), "key"), Refused)
            stats = await r.stats()
            assert len(await r.journal()) == stats["accepted"] == len(ids(first))
            assert stats["repeatedRequests"] == 1 and stats["repeatedReferences"] == 0

    asyncio.run(run())


def test_a_carrier_without_idempotency_takes_a_repeat_again(rig, batch):
    async def run() -> None:
        async with rig(idempotent=False) as r:
            first, second = ids(await r.carrier.submit(batch(2), "key")), ids(await r.carrier.submit(batch(2), "key"))
            assert not {*first} & {*second}
            assert [line["times"] for line in await r.journal()] == [1, 1, 2, 2]
            stats = await r.stats()
            assert (stats["distinctReferences"], stats["repeatedReferences"]) == (2, 2)

    asyncio.run(run())


def test_without_a_key_every_request_is_new(rig):
    message = {"from": "A", "to": "+1", "text": "", "encoding": "GSM-7", "parts": 1, "validitySeconds": 0}

    async def run() -> None:
        async with rig() as r:
            for _ in range(2):
                answer = await r.web.post("/messages", json={"messages": [{"reference": "x", **message}]})
                assert answer.json()["results"][0]["status"] == "accepted"
            assert (await r.stats())["accepted"] == 2

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["error", "cut"])
def test_trouble_after_accepting_leaves_the_outcome_unknown_and_accepts_once(rig, batch, trouble):
    async def run() -> None:
        async with rig(**{trouble: 0.7}) as r:
            for n in range(10):
                outcomes = []
                while not outcomes or isinstance(outcomes[-1], Unknown):
                    outcomes.append(await r.carrier.submit(batch(2, first=2 * n), f"key {n}"))
                assert len(ids(outcomes[-1])) == 2
            stats = await r.stats()
            assert stats["accepted"] == stats["distinctReferences"] == len(await r.journal()) == 20
            assert stats["requests"] > 20  # 7 of 10 requests failed

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["throttle", "unavailable"])
def test_throttling_accepts_nothing(rig, batch, trouble):
    async def run() -> None:
        async with rig(**{trouble: 1, "retry_after": 3}) as r:
            assert await r.carrier.submit(batch(2), "key") == SlowDown(3.0)
            stats = await r.stats()
            assert (stats["throttled"], stats["accepted"]) == (1, 0) and await r.journal() == []

    asyncio.run(run())


def test_rejected_messages_carry_the_carriers_code(rig, batch):
    async def run() -> None:
        async with rig(reject=1) as r:
            outcome = await r.carrier.submit(batch(1), "key")
            assert isinstance(outcome, Answered) and isinstance(outcome.results[0], Rejected)
            error = outcome.results[0].error
            assert error.permanent and " 11 " in error.message
            assert (await r.stats())["rejected"] == 1

    asyncio.run(run())


def test_requests_not_of_the_contract_are_refused(rig, batch):
    async def run() -> None:
        async with rig(token="t0ken") as r:
            assert isinstance(await r.carrier.submit(batch(1), "key"), Refused)  # brings no token
            r.web.headers["authorization"] = "Bearer t0ken"
            for body in (b"", b"{", b'{"messages": []}', b'{"messages": [{"reference": "a b"}]}', b'["\xff"]'):
                assert (await r.web.post("/messages", content=body)).status_code == 400
            assert (await r.web.post("/messages", content=b" " * 9_000_000)).status_code == 413
            assert (await r.web.get("/messages")).status_code == 404
            for since in ("-1", "x", "", "٣", "9" * 5000):
                assert (await r.web.get("/journal", params={"since": since})).status_code in (200, 400)
            assert (await r.stats())["requests"] == 0

    asyncio.run(run())


def test_receipts_come_signed_in_batches_and_once_each(rig, batch):
    async def run() -> None:
        receiver = Receiver()
        async with rig(receiver, undeliverable=0.2, expired=0.2, receipt_delay=(0.0, 0.0)) as r:
            names: list[str] = []
            for n in range(3):
                names += ids(await r.carrier.submit(batch(700, first=700 * n), str(n)))
            stats = await r.until(lambda stats: stats["receiptsPending"] == 0)
            assert stats["receiptsSent"] == 2100 and stats["receiptsFailed"] == 0 and stats["lastReceiptAt"]
            assert sorted(receipt["id"] for receipt in receiver.receipts) == sorted(names)
            assert {receipt["reference"] for receipt in receiver.receipts} == {f"{n:024x}" for n in range(2100)}
            assert max(len(post) for _, post in receiver.posts) == 500
            assert len({name for name, _ in receiver.posts}) == len(receiver.posts)
            kinds = Counter((receipt["status"], receipt["error"]) for receipt in receiver.receipts)
            assert 300 < kinds["UNDELIV", "001"] < 550 and 300 < kinds["EXPIRED", "027"] < 550
            assert kinds["DELIVRD", "000"] == 2100 - kinds["UNDELIV", "001"] - kinds["EXPIRED", "027"]

    asyncio.run(run())


def test_receipts_are_sent_again_under_their_name_until_they_are_taken(rig, batch):
    async def run() -> None:
        receiver = Receiver(failures=3)
        async with rig(receiver, receipt_delay=(0.0, 0.0)) as r:
            await r.carrier.submit(batch(10), "key")
            stats = await r.until(lambda stats: stats["receiptsPending"] == 0)
            assert (stats["receiptsSent"], stats["receiptsFailed"]) == (10, 30)
            assert {*receiver.refused} == {receiver.posts[0][0]} and len(receiver.receipts) == 10

    asyncio.run(run())


@pytest.mark.parametrize(
    ("habit", "expected"),
    [
        ("silent", []),
        ("duplicate", ["DELIVRD", "DELIVRD"]),
        ("disorder", ["DELIVRD", "ENROUTE"]),
        ("without_reference", ["DELIVRD"]),
    ],
)
def test_habits_of_receipts(rig, batch, habit, expected):
    async def run() -> None:
        receiver = Receiver()
        async with rig(receiver, **PROMPT, **{habit: 1}) as r:
            names = ids(await r.carrier.submit(batch(20), "key"))
            await r.until(lambda stats: stats["receiptsPending"] == 0)
            for name in names:
                assert [receipt["status"] for receipt in receiver.receipts if receipt["id"] == name] == expected
            referenced = [receipt for receipt in receiver.receipts if "reference" in receipt]
            assert len(referenced) == (0 if habit == "without_reference" else len(receiver.receipts))

    asyncio.run(run())


@pytest.mark.parametrize("failures", [0, 1])
def test_early_receipts_precede_the_answer_and_are_not_lost(rig, batch, failures):
    async def run() -> None:
        receiver = Receiver(failures)
        async with rig(receiver, early=1, receipt_delay=(60.0, 60.0)) as r:
            names = ids(await r.carrier.submit(batch(5), "key"))
            before = [receipt["id"] for receipt in receiver.receipts]
            assert before == ([] if failures else names)
            await r.until(lambda stats: stats["receiptsSent"] == 5)
            assert [receipt["id"] for receipt in receiver.receipts] == names

    asyncio.run(run())


def test_a_seed_repeats_whatever_the_order(rig, batch):
    shares = {"reject": 0.2, "undeliverable": 0.3, "expired": 0.1, "silent": 0.2, "without_reference": 0.0}

    async def fates(seed: int, size: int) -> dict[str, str]:
        receiver = Receiver()
        async with rig(receiver, seed=seed, **PROMPT, **shares) as r:
            messages = batch(100)
            batches = [messages[start : start + size] for start in range(0, 100, size)]
            for number, some in enumerate(reversed(batches) if size < 50 else batches):
                await r.carrier.submit(some, f"{seed} {size} {number}")
            await r.until(lambda stats: stats["receiptsPending"] == 0)
        return {receipt["reference"]: receipt["status"] for receipt in receiver.receipts}

    first, again, other = (asyncio.run(fates(*run)) for run in ((7, 100), (7, 10), (8, 100)))
    assert first == again
    assert first != other and 40 < len(first) < 90


def start_process(journal: Path) -> tuple[subprocess.Popen[str], str]:
    code = (
        "import sys; from pathlib import Path; from pipeline.carriers.simulator import Behaviour, run; "
        "run('127.0.0.1', 0, Behaviour(), Path(sys.argv[1]), 'http://127.0.0.1:9/', announce=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(journal)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name, _, address = process.stdout.readline().strip().partition("=")
    assert name == "ready simulator"
    return process, address


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_a_process_that_ends_or_is_killed_leaves_all_it_accepted(tmp_path, batch, sent, status):
    journal = tmp_path / "journal.ndjson"
    process, address = start_process(journal)

    async def submit() -> list[str]:
        carrier = HttpCarrier("sim", Config(url=f"{address}/messages"))
        taken = [name for n in range(5) for name in ids(await carrier.submit(batch(50, first=50 * n), str(n)))]
        process.send_signal(sent)  # while a connection is kept open
        await carrier.close()
        return taken

    try:
        taken = asyncio.run(submit())
        assert process.wait(10) == status
    finally:
        process.kill()
    lines = [msgspec.json.decode(line) for line in journal.read_bytes().splitlines()]
    assert [line["id"] for line in lines] == taken and len(taken) == 250
