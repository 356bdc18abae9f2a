"""What a gateway is told by the topics that the pipeline and the operators write."""

import asyncio
import json
from typing import Any

import broker
import orjson
from serving import Gateway, eventually

from pipeline.lists import Entry
from pipeline.streaming import client

NUMBER, OTHER = "+393331234567", "+393337654321"
SPANISH = "+34612345678"
PROHIBITED = "forbidden fruit"


def fund(gateway: Gateway, account: str, available: str, *bundles: dict[str, Any]) -> None:
    """What price told last of an account's money."""
    told = {
        "account": account, "balance": available, "reserved": "0.00", "available": available, "currency": "EUR",
        "sequence": 1, "credits": [], "bundles": bundles, "at": 0,
    }  # fmt: skip
    broker.produce(gateway.settings, gateway.names.balances, [(account.encode(), orjson.dumps(told), 0)])


def bundle(name: str, left: int, *countries: str) -> dict[str, Any]:
    return {"name": name, "countries": countries, "left": left, "reserved": 0, "expiresAt": "2999-01-01T00:00:00.000Z"}


def forbid(gateway: Gateway, *entries: Entry) -> None:
    """Entries of the lists, in force when this returns."""
    broker.produce(gateway.settings, gateway.names.lists, [(entry.key, entry.value, 0) for entry in entries])
    with gateway.as_("globex") as globex:
        text = entries[-1].text

        def refused() -> bool:
            return 2044 in [one["code"] for one in estimate(globex, message=text)["refused"]]

        eventually(refused)


def estimate(client: Any, **body: Any) -> dict[str, Any]:
    """Once the gateway has read the lists, prices and balances."""
    asked = {"recipient": NUMBER, "message": "Hello", **body}
    eventually(lambda: client.post("/estimate", json=asked).status_code != 503)
    answer = client.post("/estimate", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def known(gateway: Gateway, account: str, available: str) -> None:
    """Wait until the gateway has read an account's money."""
    with gateway.as_(account) as asking:
        eventually(lambda: estimate(asking)["available"] == available)


def intake(gateway: Gateway, request_id: str) -> list[tuple[Any, dict[str, Any]]]:
    """Records on both intake topics of a request."""
    found = []
    for lane in ("", ".priority"):
        for record in broker.read(gateway.settings, gateway.names.intake(lane)):
            value = json.loads(record.value)
            if value["requestId"] == request_id:
                found.append((record, value))
    return found


def produced(gateway: Gateway) -> int:
    """Records on the intake topics, and on that of the login codes."""

    async def ends() -> int:
        topics = [gateway.names.intake(lane) for lane in ("", ".priority")] + [gateway.names.otps]
        consumer = client.consumer(gateway.settings.kafka, *topics)
        await consumer.start()
        try:
            return sum((await consumer.end_offsets(consumer.assignment())).values())
        finally:
            await consumer.stop()

    return asyncio.run(ends())


def problem(answer: Any, status: int, code: int) -> str:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert isinstance(body["message"], str) and body["message"]
    return str(body["message"])
