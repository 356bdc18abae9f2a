"""Wrong arguments are errors where they are given, and nothing is sent of them; times are written as one wants."""

import inspect
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from clients import calling
from flaky import Flaky, Reply

from pipeline.client.operations import Operations

NUMBER = "+393331234567"
LISTED = Reply(200, {"data": [], "nextCursor": None})
OPERATIONS = [name for name in vars(Operations) if not name.startswith("_")]


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, flaky: Flaky) -> Iterator[Any]:
    with calling(request.param, flaky.url, "smsp_" + "t" * 43) as found:
        yield found


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_takes_what_it_does_not_know(flaky: Flaky, client: Any, name: str) -> None:
    written = inspect.signature(getattr(Operations, name)._written).parameters.values()
    wanted = [NUMBER for one in written if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    with pytest.raises(TypeError, match="bogus"):
        getattr(client, name)(*wanted, bogus=1)
    assert flaky.asked == []


@pytest.mark.parametrize("name", ["send", "estimate"])
def test_a_misspelt_option_is_told_the_right_one(flaky: Flaky, client: Any, name: str) -> None:
    with pytest.raises(TypeError, match="unknown option 'dryrun'; did you mean 'dry_run'"):
        getattr(client, name)(NUMBER, "Hello", dryrun=True)
    assert flaky.asked == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.send(393331234567, "Hello"),
        lambda client: client.send([NUMBER, 393331234567], "Hello"),
        lambda client: client.estimate(393331234567, "Hello"),
        lambda client: client.otp(393331234567),
        lambda client: client.verify_otp(NUMBER, 12345),
        lambda client: client.opt_out([393331234567]),
        lambda client: client.opted_out(393331234567),
    ],
)
def test_numbers_and_codes_are_texts(flaky: Flaky, client: Any, ask: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="not as int"):
        ask(client)
    assert flaky.asked == []


def test_regions_are_named(flaky: Flaky, client: Any) -> None:
    with pytest.raises(ValueError, match="'FR': one of WW, IT, ES"):
        client.send(NUMBER, "Hello", region="FR")
    assert flaky.asked == []


TIMES = pytest.mark.parametrize(
    ("given", "written"),
    [
        (datetime(2026, 11, 23, 9, 30, 0, 123987, UTC), "2026-11-23T09:30:00.123Z"),
        (datetime(2026, 11, 23, 9, 30, tzinfo=timezone(timedelta(hours=1))), "2026-11-23T08:30:00.000Z"),
        ("2026-11-23T09:30:00.123456+01:00", "2026-11-23T09:30:00.123456+01:00"),
    ],
)
PERIODS = pytest.mark.parametrize("name", ["messages", "statistics", "statement", "spend", "deliveries"])


@TIMES
@PERIODS
def test_a_period(flaky: Flaky, client: Any, name: str, given: Any, written: str) -> None:
    flaky.replies[:] = [LISTED]
    list(getattr(client, name)(since=given, until=given))
    query = parse_qs(urlsplit(flaky.asked[0].path).query)
    assert (query["from"], query["to"]) == ([written], [written])


@pytest.mark.parametrize("day", [date(2026, 11, 23), "2026-11-23"])
@PERIODS
def test_a_day(flaky: Flaky, client: Any, name: str, day: Any) -> None:
    flaky.replies[:] = [LISTED]
    list(getattr(client, name)(since=day))
    assert parse_qs(urlsplit(flaky.asked[0].path).query)["from"] == ["2026-11-23"]


@TIMES
def test_times_in_bodies(flaky: Flaky, client: Any, given: Any, written: str) -> None:
    client.send(NUMBER, "Hello", send_at=given, quiet_hours=["21:00", "08:00"])
    flaky.replies[:] = [Reply(202, {"data": {"events": 0}})]
    client.replay(since=given)
    sent, replayed = (json.loads(asked.body) for asked in flaky.asked)
    assert sent["options"] == {"sendAt": written, "quietHours": {"from": "21:00", "to": "08:00"}}
    assert replayed["from"] == written


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(datetime(2026, 11, 23), ValueError), (1795426200, TypeError)],  # noqa: DTZ001  (that is what is wrong)
)
def test_times_without_a_zone_and_what_is_none(flaky: Flaky, client: Any, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"since: .*(zone|not int)"):
        list(client.messages(since=wrong))
    with pytest.raises(error, match=r"send_at: .*(zone|not int)"):
        client.send(NUMBER, "Hello", send_at=wrong)
    assert flaky.asked == []


def test_a_single_kind_or_event(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [
        LISTED,
        Reply(201, {"data": {"id": "ep_1", "url": "https://client.example/told", "events": []}}),
    ]
    list(client.statement(kinds="top-up"))
    assert parse_qs(urlsplit(flaky.asked[0].path).query)["kind"] == ["top-up"]
    client.create_endpoint("https://client.example/told", "message.final")
    assert json.loads(flaky.asked[1].body)["events"] == ["message.final"]
