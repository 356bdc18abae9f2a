"""When messages are to be sent: what may be asked for, quiet hours by the recipient's clock, what stages make of it."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stepping import NOON_MS, SETTINGS, Table, batch, decides, record
from test_price import BULK, EURO, credited, desk
from test_validate import Directory

from pipeline import schedule
from pipeline.config import Storage
from pipeline.numbers import Recipient, classify
from pipeline.numbers.zones import time_zones
from pipeline.records import Accepted, Batch, Destination, decode_batches, decode_outcomes, encode
from pipeline.schedule import Schedule, plan
from pipeline.stages import validate
from schemas import errors
from schemas.errors import Error
from schemas.intake import Options

DAY_MS = 24 * 3600 * 1000
ITALY, LONDON, KATHMANDU, CALCUTTA = "+393331234567", "+447400123456", "+9779841234567", "+919812345678"
SAN_FRANCISCO, MOSCOW, SYDNEY, MADRID, IRIDIUM = (
    "+14155551234",
    "+79161234567",
    "+61412345678",
    "+34612345678",
    "+881612345678",
)


def options(**more: object) -> Options:
    return Options.model_validate(more)


def written(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()


def ms(when: str) -> int:
    return int(datetime.fromisoformat(when).timestamp() * 1000)


def someone(number: str) -> Recipient:
    found = classify(number)
    assert isinstance(found, Recipient)
    return found


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (-60_000, 0),
        (-1, 0),
        (0, 0),
        (1, 1),
        (7.5 * DAY_MS, 7.5 * DAY_MS),  # ten days, less two of validity and half a day
        (-60_001, "is past"),
        (7.5 * DAY_MS + 1000, "latest is 2026-09-29T02:13:20Z"),
    ],
)
def test_how_far_ahead(ahead: int, expected: float | str):
    found = plan(options(sendAt=written(NOON_MS + int(ahead))), NOON_MS, 10)
    if isinstance(expected, str):
        assert isinstance(found, Error)
        assert (found.code, found.message[:15]) == (errors.SEND_AT, "options.sendAt:") and expected in found.message
    else:
        assert isinstance(found, Schedule) and found.send_at == (NOON_MS + expected if expected else 0)


def test_a_shorter_validity_or_a_longer_memory_reaches_further():
    asked = written(NOON_MS + 9 * DAY_MS)
    error = plan(options(sendAt=asked), NOON_MS, 10)
    assert isinstance(error, Error)
    assert "options.validitySeconds" in error.message and "storage.retention_days (now 10 days)" in error.message
    assert isinstance(plan(options(sendAt=asked, validitySeconds=3600), NOON_MS, 10), Schedule)
    assert isinstance(plan(options(sendAt=asked), NOON_MS, 12), Schedule)


@pytest.mark.parametrize("at", ["11:00:00.25Z", "11:00:00.250999999z", "12:00:00.250123+01:00"])
def test_a_time_has_milliseconds_at_most(at: str):
    found = plan(options(sendAt=f"2026-09-23t{at}"), NOON_MS, 10)
    assert isinstance(found, Schedule)
    assert found.send_at == int(datetime(2026, 9, 23, 11, tzinfo=UTC).timestamp()) * 1000 + 250


@pytest.mark.parametrize(
    "wrong", ["2030-01-01T10:00:00", "2030-01-01", "soon", 1_893_492_000, "", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_has_an_offset(wrong: object):
    with pytest.raises(ValidationError) as error:
        options(sendAt=wrong)
    assert error.value.errors()[0]["loc"] == ("sendAt",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": "21:00"},
        {"from": "21:00", "to": "21:00"},
        {"from": "9pm", "to": "08:00"},
        {"from": "21:00", "to": "24:00"},
    ],
)
def test_quiet_hours_are_two_times_of_the_day(wrong: dict[str, str]):
    with pytest.raises(ValidationError):
        options(quietHours=wrong)


NIGHT, NOON = ("21:00", "08:00"), ("12:00", "15:30")


@pytest.mark.parametrize(
    ("number", "hours", "at", "until"),
    [
        (ITALY, NIGHT, "2026-11-22T19:59:00+00:00", None),  # 20:59 in Rome
        (ITALY, NIGHT, "2026-11-22T20:00:00+00:00", "2026-11-23T07:00:00+00:00"),
        (ITALY, NIGHT, "2026-11-23T06:59:59+00:00", "2026-11-23T07:00:00+00:00"),
        (ITALY, NIGHT, "2026-11-23T07:00:00+00:00", None),
        (ITALY, NOON, "2026-11-22T11:30:00+00:00", "2026-11-22T14:30:00+00:00"),  # not over midnight
        (ITALY, NIGHT, "2026-07-01T19:30:00+00:00", "2026-07-02T06:00:00+00:00"),  # summer time
        (ITALY, NIGHT, "2026-10-24T20:00:00+00:00", "2026-10-25T07:00:00+00:00"),  # clocks go back: an hour more
        (ITALY, NIGHT, "2027-03-27T21:00:00+00:00", "2027-03-28T06:00:00+00:00"),  # clocks go forward: an hour less
        (ITALY, ("21:00", "02:30"), "2027-03-27T21:00:00+00:00", "2027-03-28T01:00:00+00:00"),  # there is no 02:30
        (ITALY, ("21:00", "02:30"), "2026-10-24T20:00:00+00:00", "2026-10-25T00:30:00+00:00"),  # the first 02:30
        (KATHMANDU, NIGHT, "2026-11-22T15:14:00+00:00", None),  # UTC+5:45
        (KATHMANDU, NIGHT, "2026-11-22T15:15:00+00:00", "2026-11-23T02:15:00+00:00"),
        (CALCUTTA, NIGHT, "2026-11-22T15:30:00+00:00", "2026-11-23T02:30:00+00:00"),  # UTC+5:30
        (SAN_FRANCISCO, NIGHT, "2026-11-22T12:00:00+00:00", "2026-11-22T16:00:00+00:00"),  # the area's own zone
        (MADRID, NIGHT, "2026-11-23T07:30:00+00:00", "2026-11-23T08:00:00+00:00"),  # 08:30, but 07:30 on the Canaries
        (MOSCOW, NIGHT, "2026-11-22T10:00:00+00:00", "2026-11-23T06:00:00+00:00"),  # from Kamchatka to Kaliningrad
        (SYDNEY, NIGHT, "2026-11-22T22:00:00+00:00", "2026-11-23T00:00:00+00:00"),  # 09:00, but 06:00 in Perth
        (IRIDIUM, NIGHT, "2026-11-22T21:00:00+00:00", "2026-11-23T08:00:00+00:00"),  # no country: UTC
    ],
)  # fmt: skip
def test_quiet_hours_by_the_recipients_clock(number: str, hours: tuple[str, str], at: str, until: str | None):
    found = plan(options(quietHours=dict(zip(("from", "to"), hours, strict=True))), ms(at), 10)
    assert isinstance(found, Schedule)
    assert found.quiet_until(someone(number)) == (ms(until) if until else 0)


def test_quiet_hours_move_a_time_that_falls_into_them():
    asked = {"sendAt": "2026-11-24T23:00:00+01:00", "quietHours": {"from": "21:00", "to": "08:00"}}
    found = plan(options(**asked), ms("2026-11-22T10:00:00+00:00"), 10)
    assert isinstance(found, Schedule)
    assert found.quiet_until(someone(ITALY)) == ms("2026-11-25T07:00:00+00:00")
    assert found.quiet_until(someone(SAN_FRANCISCO)) == 0 and found.send_at == ms("2026-11-24T22:00:00+00:00")


def test_hours_that_leave_no_moment_are_refused_to_whom_they_concern():
    found = plan(options(quietHours={"from": "20:00", "to": "10:00"}), NOON_MS, 10)
    assert isinstance(found, Schedule)
    assert isinstance(found.quiet_until(someone(ITALY)), int)
    error = found.quiet_until(someone(MOSCOW))
    assert isinstance(error, Error) and error.code == errors.QUIET_HOURS and "Kaliningrad" in error.message


def test_quiet_hours_need_a_day_more_of_memory():
    asked = {"quietHours": {"from": "21:00", "to": "08:00"}}
    error = plan(options(**asked), NOON_MS, 2.5)
    assert isinstance(error, Error) and error.code == errors.QUIET_HOURS
    assert isinstance(plan(options(**asked), NOON_MS, 3.5), Schedule)
    assert isinstance(plan(options(**asked, validitySeconds=3600), NOON_MS, 2.5), Schedule)


@given(
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.integers(0, 400 * 1440),
    st.sampled_from([ITALY, LONDON, KATHMANDU, MADRID]),
)
def test_nobody_is_disturbed_and_nobody_waits_longer_than_he_must(begin: int, length: int, minute: int, number: str):
    at = NOON_MS - NOON_MS % 60_000 + minute * 60_000
    end = (begin + length) % 1440
    found = Schedule(at, quiet=(begin, end)).quiet_until(someone(number))
    if isinstance(found, Error):
        assert length > 22 * 60
        return
    clocks = [schedule.ZoneInfo(zone) for zone in time_zones(someone(number))]

    def quiet(moment: int) -> bool:
        local = [datetime.fromtimestamp(moment / 1000, clock) for clock in clocks]
        return any((one.hour * 60 + one.minute - begin) % 1440 < length for one in local)

    assert not quiet(found or at)
    assert found == 0 or (quiet(at) and quiet(found - 60_000) and at < found < at + 26 * 3600 * 1000)


def validated(table: Table, asked: dict[str, object], retention_days: float = 10) -> Batch:
    settings = SETTINGS.model_copy(update={"storage": Storage(directory=Path(), retention_days=retention_days)})
    decide = decides(validate.sources(settings, Directory()))["t.intake"]
    value = orjson.dumps({"account": "acme", "message": "Hello"} | asked)
    (found,) = table.window(decide, [record("t.intake", value)]).items("t.validated", decode_batches)
    assert isinstance(found, Batch)
    return found


def test_validate_cuts_no_batch_but_knows_each_ones_time(table: Table):
    at = NOON_MS + 3600 * 1000  # 17:13 in Rome, 08:13 in San Francisco
    asked = {"sendAt": written(at), "quietHours": {"from": "08:00", "to": "09:00"}}
    made = validated(table, {"recipients": [ITALY, SAN_FRANCISCO, ITALY[:-1] + "8", "nonsense"], "options": asked})
    assert [made.send_time(position) - at for position in range(3)] == [0, 2_800_000, 0]
    assert (made.index, set(made.errors)) == ([0, 1, 2, 3], {3})
    assert made.scheduled and made.select([0]).scheduled


def test_validate_refuses_what_is_kept_too_short(table: Table):
    asked = {"recipients": [ITALY], "options": {"sendAt": written(NOON_MS + 3600 * 1000)}}
    refused = validated(table, asked, retention_days=2.5)
    assert refused.error and refused.error.code == errors.SEND_AT and refused.send_at == 0


def test_price_reserves_and_leaves_it_to_track(table: Table):
    credited(table, 5 * EURO)
    later = batch(1, 3, send_at=NOON_MS + 1)
    quiet = batch(2, 3, destinations=[Destination("IT", "39", "", NOON_MS + 1)])
    sent = table.window(desk()[BULK], [record(BULK, encode([later, quiet, batch(3, 3)]))])
    assert [
        outcome.batch.scheduled
        for outcome in sent.items("t.outcomes", decode_outcomes)
        if isinstance(outcome, Accepted)
    ] == [True, True, False]
    assert [one.id for one in sent.items("t.priced", decode_batches)] == [batch(3, 3).id]
