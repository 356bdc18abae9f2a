"""`account credit`, `account bundle`, `account limit`: what an account may spend."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from pipeline.billing import Bundle, Limits
from pipeline.commands.accounts import Name, account, existing, limits_told, plainly, put_account
from pipeline.commands.common import ConfigOption, JsonOption, fail, running, show_json
from pipeline.commands.counting import Reference, Timeout, amount_of, count_in
from pipeline.commands.reading import ask
from pipeline.records import Credit


def register(app: typer.Typer) -> None:
    """`app` has `account` already."""
    account.command(context_settings={"ignore_unknown_options": True})(credit)  # so that -5 is an amount, and refused
    account.command()(bundle)
    account.command()(limit)


def credit(
    name: Name,
    amount: Annotated[str, typer.Argument(help="Decimal amount, such as 100.00.")],
    reference: Reference = None,
    timeout: Timeout = 30.0,
    config_file: ConfigOption = None,
) -> None:
    """Top an account up. Ends when the top-up is counted."""
    micros = amount_of(amount)
    if not micros:
        fail(f"amount {amount}: more than nothing is wanted", 2)
    if reference is not None and not 0 < len(reference) <= 128:
        fail("--reference: 1 to 128 characters", 2)
    settings = running(config_file)

    async def work() -> None:
        await existing(settings, name)
        await count_in(settings, Credit(name, micros, reference or uuid.uuid4().hex), timeout)

    ask(work())


def bundle(
    name: Name,
    parts: Annotated[int, typer.Option(help="Message parts it holds.", min=1)],
    expires: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC) on which it pays no more.")],
    bundle: Annotated[str, typer.Option("--name", help="Its name; more under the same name adds up.")] = "bundle",
    country: Annotated[list[str], typer.Option(help="ISO code; may be repeated. None: every country.")] = [],  # noqa: B006
    price: Annotated[str, typer.Option(help="Taken from the account.")] = "0.00",
    reference: Reference = None,
    timeout: Timeout = 30.0,
    config_file: ConfigOption = None,
) -> None:
    """Add prepaid parts, which pay before the wallet does. Ends when they are counted."""
    micros = amount_of(price)
    settings = running(config_file)
    at = int(expires.replace(tzinfo=UTC).timestamp() * 1000)
    made = Bundle(bundle, tuple(sorted(map(str.upper, country))), parts, at)

    async def work() -> None:
        await existing(settings, name)
        named = reference or uuid.uuid4().hex
        await count_in(settings, Credit(name, micros, named, "bundle", f"{parts} parts", made), timeout)

    ask(work())


def limit(
    name: Name,
    credit: Annotated[str | None, typer.Option(help="How far the money may fall below zero, such as 50.00.")] = None,
    spend_a_day: Annotated[str | None, typer.Option(help="Most to be reserved on a day (UTC).")] = None,
    messages_a_day: Annotated[int | None, typer.Option(help="Most messages a day (UTC).", min=0)] = None,
    messages_a_second: Annotated[int | None, typer.Option(help="Most messages a second.", min=0)] = None,
    country: Annotated[list[str], typer.Option(help="ISO code of one that may be sent to; may be repeated.")] = [],  # noqa: B006
    price: Annotated[str | None, typer.Option(help="Most that one message may cost.")] = None,
    low_balance: Annotated[list[str], typer.Option(help="Tell when less than this is available; repeatable.")] = [],  # noqa: B006
    requests_a_second: Annotated[int | None, typer.Option(help="Most requests a second over HTTP.", min=1)] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Begin from no limits at all.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Set an account's limits; those not named stay. Without options: show them. In force within moments."""
    given: dict[str, Any] = {
        "credit": credit and amount_of(credit),
        "spend_a_day": spend_a_day and amount_of(spend_a_day),
        "messages_a_day": messages_a_day,
        "messages_a_second": messages_a_second,
        "countries": tuple(sorted(map(str.upper, country))) or None,
        "price": price and amount_of(price),
        "low_balance": tuple(sorted(map(amount_of, low_balance))) or None,
        "requests_a_second": requests_a_second,
    }
    wanted = {field: value for field, value in given.items() if value is not None}
    settings = running(config_file)

    async def work() -> Limits:
        record = await existing(settings, name, as_written=True)
        limits = msgspec.structs.replace(Limits() if clear else record.limits, **wanted)
        if limits != record.limits:
            changed = msgspec.structs.replace(record, limits=limits)
            await put_account(settings, changed, "account.limit", limits=limits_told(limits))
        return limits

    found = limits_told(ask(work()))
    if json:
        show_json({"account": name, **found})
    else:
        print(f"account {name}: " + (", ".join(f"{k} {plainly(v)}" for k, v in found.items()) or "no limits"))
