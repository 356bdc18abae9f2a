"""Both Python clients against a real gateway."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import broker
import orjson
import pytest
from clients import calling
from serving import TOKENS, Gateway

from pipeline.client import ApiError, OptedOut

NUMBER = "+393331234567"


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[Any]:
    with calling(request.param, gateway.url, TOKENS["acme"]) as found:
        yield found


@pytest.mark.parametrize("region", [None, "WW"])
def test_send(gateway: Gateway, client: Any, region: str | None) -> None:
    taken = client.send(NUMBER, "Hello €", sender="ACME", custom={"order": 7}, callback="https://example.com/told",
                        region=region, validity_seconds=60)  # fmt: skip
    assert (taken.state, taken.recipient, taken.encoding, taken.message_count) == ("NEW", NUMBER, "GSM-7", 1)
    assert (taken.username, taken.sender, taken.price) == ("acme", "ACME", Decimal(0))
    found = [orjson.loads(one.value) for one in broker.read(gateway.settings, gateway.names.intake(".priority"))]
    (request,) = [one for one in found if one["requestId"] == taken.request_id]
    assert (request["custom"], request["options"]["validitySeconds"]) == ({"order": 7}, 60)


def test_send_to_many(client: Any) -> None:
    taken = client.send([{"number": NUMBER, "fields": {"name": "Ada"}}, "+393331234568"], "Hi {{name}}")
    assert (taken.recipients, taken.recipient) == (2, None)


def test_refusals_are_errors(client: Any) -> None:
    with pytest.raises(ApiError) as raised:
        client.send("+390669812345", "Hello")
    assert (raised.value.status, raised.value.code, raised.value.permanent) == (422, 2011, True)
    with pytest.raises(ApiError) as raised:
        client.get("633aabe3e4a9a0e69811ad7f")
    assert (raised.value.status, raised.value.code) == (404, 3051)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_wrong_token(gateway: Gateway, kind: str) -> None:
    with calling(kind, gateway.url, "smsp_" + "x" * 43) as client, pytest.raises(ApiError) as raised:
        client.balance()
    assert (raised.value.status, raised.value.code) == (401, 3050)


def test_what_nobody_has_sent_or_paid(client: Any) -> None:
    assert client.list() == list(client.messages()) == []
    balance = client.balance()
    assert (str(balance.available), balance.currency) == ("0.00", "EUR")
    assert list(client.statement(since=None, kinds=["top-up"])) == []
    assert client.spend("country") == []


def test_prices(client: Any) -> None:
    found = list(client.prices("IT", page_size=1))
    assert found
    assert {price.country for price in found} == {"IT"}
    assert all(price.price > 0 for price in found)


def test_opt_outs(client: Any) -> None:
    numbers = [f"+39333000000{digit}" for digit in range(3)]
    assert client.opt_out(numbers) == OptedOut(added=3, known=0)
    assert client.opt_out(numbers[0]) == OptedOut(added=0, known=1)
    assert [one.recipient for one in client.opt_outs(page_size=2)] == numbers
    assert client.opted_out(numbers[1])
    for number in [*numbers, numbers[0]]:
        client.opt_in(number)
    assert not client.opted_out(numbers[1])
    assert list(client.opt_outs()) == []
