"""Both Python clients on the routes beside sending: whatever this gateway offers is called for real."""

import io
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from clients import calling
from serving import Gateway, put_accounts

from pipeline.client import ApiError
from pipeline.tokens import Scope, make_token

NUMBER = "+393331234567"
CSV = "number,name\n+393331234567,Ada\n,Nobody\n"


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """One that may do everything."""
    secret, made = make_token("acme", at=0, scopes=list(Scope))
    put_accounts(gateway.settings, made)
    return secret


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, gateway: Gateway, token: str) -> Iterator[Any]:
    with calling(request.param, gateway.url, token) as found:
        yield found


def code(raised: pytest.ExceptionInfo[ApiError]) -> int | None:
    return raised.value.code


def test_the_same_request_id(client: Any) -> None:
    mine = uuid.uuid4().hex
    assert client.send(NUMBER, "Hello", request_id=mine).id == client.send(NUMBER, "Hello", request_id=mine).id
    with pytest.raises(ApiError) as raised:
        client.send(NUMBER, "Other", request_id=mine)
    assert code(raised) == 3009


def test_login_codes(client: Any) -> None:
    number = f"+39333{uuid.uuid4().int % 10**7:07d}"
    message = client.otp(number, length=6, cache_seconds=60)
    assert message.is_otp
    assert message.otp_options["length"] == len(message.otp) == 6
    assert client.verify_otp(number, "no").attempts_left >= 1
    assert client.verify_otp(number, message.otp).verified
    assert not client.verify_otp(number, message.otp).verified
    mine = f'"{uuid.uuid4().hex}" \\'
    assert client.otp(number, request_id=mine).id == client.otp(number, request_id=mine).id
    with pytest.raises(ApiError) as raised:
        client.otp(number, length=3)
    assert code(raised) == 1020


def test_estimate(client: Any) -> None:
    found = client.estimate([NUMBER, "+34612345678", "12"], "Hello", sender="ACME")
    assert (found.recipients, found.parts, [one.index for one in found.refused]) == (3, 2, [2])
    assert found.total_price == sum(group.total_price for group in found.groups) > 0


def test_uploads(client: Any, tmp_path: Path) -> None:
    assert client.upload_batch((f"+39333{n:07d}" for n in range(2500)), "Hi", name="Spring").recipients == 2500
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    taken = client.upload_batch(path, "Hi {{name}}", sender="ACME")
    assert (taken.recipients, [bad.line for bad in taken.bad_lines]) == (1, [3])
    again = client.upload_batch(
        io.BytesIO(CSV.encode()), "Hi {{name}}", sender="ACME", format="csv", request_id=taken.id
    )
    assert again.id == taken.id
    with pytest.raises(ApiError) as raised:
        client.upload_batch(path, "Hi {{name}}", on_error="refuse")
    assert (code(raised), raised.value.details["badLineCount"]) == (3085, 1)
    found = client.batch(taken.id)
    assert (found.recipients, found.final, found.cost.spent) == (1, False, 0)
    assert [bad.line for bad in client.bad_lines(taken.id)] == [3]
    assert list(client.batch_messages(taken.id, state="DELIVERED")) == []
    assert all(batch.id for batch in islice(client.batches(page_size=1), 3))


def test_cancel(client: Any) -> None:
    message = client.send(
        NUMBER, "Hello", send_at=datetime.now(UTC) + timedelta(hours=1), quiet_hours=("21:00", "08:00")
    )
    assert client.cancel(message.id).id == message.id
    assert client.cancel_request(message.request_id).request_id == message.request_id
    with pytest.raises(ApiError) as raised:
        client.cancel("633aabe3e4a9a0e69811ad7f")
    assert code(raised) == 3051


def test_callback_endpoints(client: Any) -> None:
    made = client.create_endpoint("https://example.com/told", ["message.final"], batch=10, batch_milliseconds=100)
    assert made.secret.startswith("whsec_")
    assert made.id in [one.id for one in client.endpoints()]
    assert client.rotate_secret(made.id, keep_hours=1).secret != made.secret
    assert len(client.endpoint(made.id).secrets) == 2
    changed = client.change_endpoint(made.id, "https://example.com/other", ["message.*"], enabled=False)
    assert (changed.url, changed.enabled, changed.batch) == ("https://example.com/other", False, 1)
    with pytest.raises(ApiError) as raised:
        client.test_endpoint(made.id)
    assert raised.value.status == 409
    assert raised.value.permanent
    client.change_endpoint(made.id, "https://example.com/other", ["message.*"])
    assert client.test_endpoint(made.id)["id"]
    assert list(client.deliveries(endpoint=made.id, page_size=2)) == []
    assert client.replay(endpoint=made.id).events == 0
    client.remove_endpoint(made.id)
    with pytest.raises(ApiError) as raised:
        client.endpoint(made.id)
    assert code(raised) == 3051


def test_statistics_and_filters(client: Any) -> None:
    assert client.statistics("day", "state") == client.statistics() == []
    where = {"country": "IT", "sender": "ACME", "recipient": NUMBER, "request_id": ["a", "b"], "custom": {"order": "7"}}
    assert list(client.messages(state=["NEW", "DELIVERED"], since=date(2026, 1, 1), page_size=2, **where)) == []
    assert list(client.messages(batch="spring")) == []
