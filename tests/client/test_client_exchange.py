"""Repeats, tokens and bodies against a real server that misbehaves, with both clients."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from clients import calling
from flaky import Flaky, Reply

from pipeline.client import ApiError, AsyncClient, BadAnswer, Client, StillOpen, Unreachable
from pipeline.client.operations import Operations

TOKEN = "smsp_" + "t" * 43
AWAY = Reply(503, {"code": 3052, "message": "away"}, {"Retry-After": "0"})
NUMBER = "+393331234567"


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, flaky: Flaky) -> Iterator[Any]:
    with calling(request.param, flaky.url, TOKEN) as found:
        yield found


def sent(flaky: Flaky) -> list[dict[str, Any]]:
    return [json.loads(asked.body) for asked in flaky.asked]


UNDER_WAY = Reply(409, {"code": 3053, "message": "under way"}, {"Retry-After": "0"})


@pytest.mark.parametrize(
    "first", [AWAY, UNDER_WAY, Reply(429, b""), Reply(502, b"<html>"), Reply(0)], ids=lambda reply: str(reply.status)
)
def test_post_is_repeated_with_the_same_request_id(flaky: Flaky, client: Any, first: Reply) -> None:
    flaky.replies[:] = [first, first, Reply(201)]
    assert client.send(NUMBER, "Hello").state == "NEW"
    bodies = sent(flaky)
    assert len(bodies) == 3
    assert len({body["requestId"] for body in bodies}) == 1
    assert bodies[0] == bodies[2]


def test_request_id_of_ones_own(flaky: Flaky, client: Any) -> None:
    client.send([NUMBER, {"number": NUMBER, "fields": {"name": "Ada"}}], "Hi {{name}}", request_id="order-1")
    (body,) = sent(flaky)
    assert body["requestId"] == "order-1"
    assert body["recipients"][1]["fields"] == {"name": "Ada"}


def test_retry_after_is_waited_for(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [Reply(503, b"", {"Retry-After": "1"}), Reply(201)]
    started = time.monotonic()
    client.send(NUMBER, "Hello")
    assert time.monotonic() - started >= 1


def test_too_long_a_wait_is_the_callers(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [Reply(429, {"code": 3060, "message": "slow down"}, {"Retry-After": "60"})]
    with pytest.raises(ApiError) as raised:
        client.send(NUMBER, "Hello", request_id="mine")
    error = raised.value
    assert (error.status, error.code, error.retry_after, error.request_id) == (429, 3060, 60, "mine")
    assert not error.permanent
    assert len(flaky.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_other_refusals_are_not_repeated(flaky: Flaky, client: Any, status: int) -> None:
    flaky.replies[:] = [Reply(status, {"code": 1, "message": "no"}), Reply(201)]
    with pytest.raises(ApiError, match="1: no"):
        client.send(NUMBER, "Hello")
    assert len(flaky.asked) == 1


def test_repeats_end(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [AWAY]
    with pytest.raises(ApiError) as raised:
        client.balance()
    assert raised.value.status == 503
    assert len(flaky.asked) == 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nobody_there(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with calling(kind, url, TOKEN) as client, pytest.raises(Unreachable) as raised:
        client.send(NUMBER, "Hello", request_id="mine")
    assert raised.value.request_id == "mine"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_answer_that_does_not_come_in_time(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with calling(kind, url, TOKEN, timeout=0.05) as client, pytest.raises(Unreachable, match="ReadTimeout"):
            client.get("5f8a")


@pytest.mark.parametrize("reply", [Reply(200, b"<html>hello</html>"), Reply(200, {"data": [1]}), Reply(200, b"")])
def test_an_answer_of_something_else(flaky: Flaky, client: Any, reply: Reply) -> None:
    flaky.replies[:] = [reply]
    with pytest.raises(BadAnswer, match="GET /balance"):
        client.balance()


def test_redirects_do_not_get_the_token(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [Reply(302, b"", {"Location": f"{flaky.url}/elsewhere"})]
    with pytest.raises(ApiError) as raised:
        client.balance()
    assert raised.value.status == 302
    assert len(flaky.asked) == 1


def test_token_is_sent_and_never_told(flaky: Flaky, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    flaky.replies[:] = [Reply(401, {"code": 3050, "message": "no"})]
    with pytest.raises(ApiError) as raised:
        client.balance()
    assert flaky.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    told = [caplog.text, str(raised.value), repr(raised.value), repr(client), repr(vars(client))]
    assert not [text for text in told if "t" * 43 in text]


@pytest.mark.parametrize("token", ["", "smsp_\r\nX: y", "smsp_é", "a b"])
def test_a_token_that_is_none_is_refused_without_telling_it(token: str) -> None:
    with pytest.raises(ValueError, match="the token has characters") as raised:
        Client("http://127.0.0.1:1", token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize("url", ["", "sms.example.com", "ftp://sms.example.com", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a gateway"):
        Client(url, TOKEN)


def test_password_of_the_address_is_not_shown() -> None:
    with Client("https://user:secret@sms.example.com/sms/", TOKEN) as client:
        assert repr(client) == "Client('https://sms.example.com/sms')"


def test_wait_asks_until_final(flaky: Flaky, client: Any) -> None:
    def at(state: str) -> Reply:
        return Reply(200, {"data": {"id": "5f8a", "state": state}})

    flaky.replies[:] = [Reply(404, {"code": 3051, "message": "no"}), AWAY, at("NEW"), at("PENDING"), at("DELIVERED")]
    found = client.wait("5f8a", timeout=20)
    assert (found.final, found.delivered) == (True, True)
    assert len(flaky.asked) == 5


@pytest.mark.parametrize(
    ("reply", "raises"),
    [
        (Reply(200, {"data": {"id": "5f8a", "state": "PENDING"}}), StillOpen),
        (Reply(404, {"code": 3051, "message": "no"}), ApiError),
        (Reply(401, {"code": 3050, "message": "no"}), ApiError),
    ],
    ids=["open", "missing", "refused"],
)
def test_wait_ends(flaky: Flaky, client: Any, reply: Reply, raises: type[Exception]) -> None:
    flaky.replies[:] = [reply]
    with pytest.raises(raises) as raised:
        client.wait("5f8a", timeout=0.2)
    if isinstance(raised.value, StillOpen):
        assert raised.value.last.state == "PENDING"


def test_every_message_comes_once_while_others_are_sent(flaky: Flaky, client: Any) -> None:
    """Pages by skip move when messages are sent meanwhile; ids tell what was seen."""

    def page(*ids: int) -> Reply:
        return Reply(200, {"data": [{"id": f"{number:024x}", "state": "NEW"} for number in ids]})

    flaky.replies[:] = [page(9, 8, 7), page(8, 7, 6), page(8, 7, 6), page(5, 4), page(0)]
    found = [int(one.id, 16) for one in client.messages(page_size=3)]
    assert found == [9, 8, 7, 6, 5, 4]
    skips = [asked.path.partition("skip=")[2].partition("&")[0] for asked in flaky.asked]
    assert skips == ["", "3", "6", "9"]


def test_messages_are_filtered_and_pages_followed_by_cursor(flaky: Flaky, client: Any) -> None:
    def page(cursor: str | None, *ids: int) -> Reply:
        found = [{"id": f"{number:024x}", "state": "NEW"} for number in ids]
        return Reply(200, {"data": found, "nextCursor": cursor})

    flaky.replies[:] = [page("c1", 9, 8), page("c2"), page(None, 7)]
    found = client.messages(state=["NEW", "PENDING"], custom={"order": "7"}, since=date(2026, 11, 22), page_size=2)
    assert [int(one.id, 16) for one in found] == [9, 8, 7]
    queries = [parse_qs(asked.path.partition("?")[2]) for asked in flaky.asked]
    filters = {"state": ["NEW", "PENDING"], "custom.order": ["7"], "from": ["2026-11-22"], "limit": ["2"]}
    assert queries == [filters, filters | {"cursor": ["c1"]}, filters | {"cursor": ["c2"]}]


@pytest.mark.parametrize("operation", ["verify_otp", "create_endpoint", "rotate_secret", "replay"])
def test_what_would_be_done_twice_is_not_repeated_where_an_answer_is_lost(
    flaky: Flaky, client: Any, operation: str
) -> None:
    arguments = {
        "verify_otp": (NUMBER, "402913"), "create_endpoint": ("https://example.com", ["message.*"]),
        "rotate_secret": ("ep_1",), "replay": (),
    }  # fmt: skip
    flaky.replies[:] = [Reply(0)]
    with pytest.raises(Unreachable):
        getattr(client, operation)(*arguments[operation])
    assert len(flaky.asked) == 1


def test_pages_are_followed(flaky: Flaky, client: Any) -> None:
    price = {"country": "IT", "operator": "", "prefix": "", "price": "0.0500", "currency": "EUR"}
    flaky.replies[:] = [
        Reply(200, {"data": [price, price], "nextCursor": "IT//a&b"}),
        Reply(200, {"data": [price], "nextCursor": None}),
    ]
    assert [str(one.price) for one in client.prices("IT")] == ["0.0500"] * 3
    assert flaky.asked[1].path == "/prices?country=IT&limit=1000&cursor=IT%2F%2Fa%26b"


def test_own_http_client_is_left_open(flaky: Flaky) -> None:
    flaky.replies[:] = [Reply(200, {"data": {"balance": "1", "reserved": "0", "available": "1", "currency": "EUR"}})]
    with httpx.Client() as http:
        for _ in range(2):
            with Client(flaky.url, TOKEN, http=http) as client:
                assert client.balance().currency == "EUR"


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert offered(Client) == offered(AsyncClient) > offered(Operations)
