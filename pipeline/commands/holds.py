"""`account holds`, `account hold`, `account release`: ranges of numbers to which an account may not send.

The pumping guard of the price stage holds them by itself; what an operator says of a range goes before that.
"""

import re
import time
from typing import Annotated, Any

import msgspec
import typer

from pipeline.accounts import Hold, Register
from pipeline.billing.price_rows import format_time
from pipeline.commands.accounts import Name, account
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, producing, running, show_json
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.numbers import classify
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

_MOST_REASON = 500
#: A number in E.164 format has at most 15 digits.
_RANGE = re.compile(r"\+?([1-9][0-9]{2,10})(?:[xX]{4})?").fullmatch

Range = Annotated[str, typer.Argument(metavar="RANGE", help="A number without its last 4 digits, such as +20100123.")]


def register(app: typer.Typer) -> None:
    """`app` has `account` already."""
    account.command()(holds)
    account.command()(hold)
    account.command()(release)


def holds(
    name: Annotated[str | None, typer.Argument(help="An account; without it all.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """List ranges that are held or were released, of one account or all. With --json: an object a line."""
    settings = running(config_file)

    async def work() -> list[Hold]:
        known = await _known(settings, name)
        return [one for some in ([name] if name else known.names()) for _, one in sorted(known.holds(some).items())]

    found = ask(work())
    if json:
        for one in found:
            show_json(told(one))
        return
    line = "{:<16}  {:<16}  {:<8}  {:<24}  {}"
    print(line.format("account", "range", "state", "since", "reason"))
    for one in found:
        view = told(one)
        print(line.format(*(view[field] for field in ("account", "range", "state", "at", "reason"))))


def hold(
    name: Name,
    range_: Range,
    reason: Annotated[str, typer.Option(help="Why; shown with the hold.")] = "by an operator",
    config_file: ConfigOption = None,
) -> None:
    """Refuse an account's messages to a range of 10,000 numbers. In force within moments; what was accepted goes on."""
    wanted, why = _range(range_), reason.strip()
    if isinstance(classify(f"{wanted}0000"), Error):
        fail(f"range {wanted}: no mobile number with four digits more; leave out the last 4 digits, and no others", 2)
    if not 0 < len(why) <= _MOST_REASON:
        fail(f"--reason: 1 to {_MOST_REASON} characters", 2)
    settings = running(config_file)

    async def work() -> None:
        await _known(settings, name)
        await _put(settings, "account.hold", Hold(name, wanted, why, _now()))

    ask(work())
    print(f"account {name}: {wanted} is held")


def release(name: Name, range_: Range, config_file: ConfigOption = None) -> None:
    """Let an account send to a held range again, and have the guard leave that range alone from now on."""
    wanted = _range(range_)
    settings = running(config_file)

    async def work() -> None:
        found = (await _known(settings, name)).holds(name).get(wanted)
        if found is None:
            fail(f"account {name} has no hold on {wanted}; see `sms-pipeline account holds {name}`")
        if not found.released:
            await _put(settings, "account.release", msgspec.structs.replace(found, at=_now(), released=True))

    ask(work())
    print(f"account {name}: {wanted} is released")


def told(hold: Hold) -> dict[str, Any]:
    """A hold as it is shown."""
    return {
        "account": hold.account,
        "range": hold.range,
        "state": "released" if hold.released else "held",
        "at": format_time(hold.at),
        "reason": hold.reason,
        "batch": hold.batch,
    }


def _range(text: str) -> str:
    found = _RANGE(text.replace(" ", ""))
    if found is None:
        fail(f"range {text!r}: a number in international format without its last 4 digits, such as +20100123", 2)
    return f"+{found[1]}"


async def _known(settings: Settings, name: str | None) -> Register:
    """Every account and hold as of now; the command ends where there is no account of this name."""
    register = Register()
    topic = TopicNames(settings.kafka.topic_prefix).accounts
    await read_all(settings, topic, lambda record: register.take(record.key, record.value))
    if name is not None and register.get(name) is None:
        fail(f"no account {name}; create it with `sms-pipeline account create {name}`")
    return register


async def _put(settings: Settings, action: str, hold: Hold) -> None:
    async with producing(settings) as producer:
        await audited(producer, settings, action, hold.account, range=hold.range, reason=hold.reason)
        topic = TopicNames(settings.kafka.topic_prefix).accounts
        await producer.send_and_wait(topic, key=hold.key, value=hold.value)


def _now() -> int:
    return time.time_ns() // 1_000_000
