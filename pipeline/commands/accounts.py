"""`account`: who may send, and with what money.

Accounts are records on a compacted topic; money is the price stage's, told on another. A top-up goes through a topic
of its own, so that it is counted once, in order with what the account spends.
"""

import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from pydantic.alias_generators import to_camel

from pipeline import accounts, ids
from pipeline.accounts import AccountRecord, Blocklisting, Register, blocklist_key
from pipeline.billing import Bundle, Limits, format_amount, parse_amount
from pipeline.commands.common import ConfigOption, JsonOption, fail, producing, running, show_json
from pipeline.commands.reading import ask, catch_up, poll, read_all, reading
from pipeline.commands.refusals import Refusals
from pipeline.config import Settings
from pipeline.records import Credit, encode
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

account = typer.Typer(
    name="account", help="Accounts: create, credit, show, block; bearer tokens.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="1 to 64 letters, digits, dots, _ and -.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait until the top-up is counted.", min=0)]
Reference = Annotated[str | None, typer.Option(help="Name of the top-up: the same one counts once.")]


class Balance(msgspec.Struct, frozen=True):
    """What the balances topic tells of an account (decimal strings). `credits`: references of its last top-ups."""

    account: str
    balance: str
    reserved: str
    available: str
    currency: str
    sequence: int = 0
    credits: list[str] = []
    bundles: list[dict[str, Any]] = []


_decode_balance = msgspec.json.Decoder(Balance).decode


def register(app: typer.Typer) -> None:
    app.add_typer(account)


@account.command()
def create(
    name: Name,
    credit: Annotated[str | None, typer.Option(help="First top-up, such as 100.00.")] = None,
    timeout: Timeout = 30.0,
    config_file: ConfigOption = None,
) -> None:
    """Create an account. Ends when its credit is counted."""
    if wrong := accounts.valid_name(name):
        fail(wrong.message, 2)
    micros = 0 if credit is None else _amount(credit)
    settings = running(config_file)

    async def work() -> None:
        if (await _register(settings)).get(name):
            fail(f"account {name} exists already; see `sms-pipeline account show {name}`")
        await _put(settings, AccountRecord(name, rfc3339(time.time_ns() // 1_000_000), []))
        print(f"account {name} created", flush=True)
        if micros:
            await count_in(settings, Credit(name, micros, uuid.uuid4().hex), timeout)

    ask(work())


@account.command()
def show(name: Name, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show an account and its money as of now."""
    settings = running(config_file)

    async def work() -> dict[str, Any]:
        record = await existing(settings, name)
        return _view(record, (await _balances(settings)).get(name), settings.billing.currency)

    found = ask(work())
    if json:
        show_json(found)
        return
    blocked = f"  BLOCKED: {found['blocklistedReason']}" if found["blocklisted"] else ""
    print(f"account    {found['account']}{blocked}")
    for field in ("balance", "reserved", "available"):
        print(f"{field:<9}  {found[field]} {found['currency']}")
    for one in found.get("bundles", []):
        where = ", ".join(one["countries"]) or "everywhere"
        print(f"bundle     {one['name']}: {one['left']} parts left, {where}, until {one['expiresAt']}")
    for field, value in found.get("limits", {}).items():
        print(f"limit      {field}: {value}")


@account.command(context_settings={"ignore_unknown_options": True})  # so that -5 is an amount, and refused as one
def credit(
    name: Name,
    amount: Annotated[str, typer.Argument(help="Decimal amount, such as 100.00.")],
    reference: Reference = None,
    timeout: Timeout = 30.0,
    config_file: ConfigOption = None,
) -> None:
    """Top an account up. Ends when the top-up is counted."""
    micros = _amount(amount)
    if not micros:
        fail(f"amount {amount}: more than nothing is wanted", 2)
    if reference is not None and not 0 < len(reference) <= 128:
        fail("--reference: 1 to 128 characters", 2)
    settings = running(config_file)

    async def work() -> None:
        await existing(settings, name)
        await count_in(settings, Credit(name, micros, reference or uuid.uuid4().hex), timeout)

    ask(work())


@account.command()
def token(name: Name, config_file: ConfigOption = None) -> None:
    """Print a new bearer token. It is shown this once; only its hash is kept. Earlier tokens stay valid."""
    settings = running(config_file)

    async def work() -> str:
        record = await existing(settings, name, as_written=True)
        made, hashed = accounts.new_token()
        await _put(settings, msgspec.structs.replace(record, tokens=[*record.tokens, hashed]))
        return made

    print(ask(work()))


@account.command()
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
    micros = _amount(price)
    settings = running(config_file)
    at = int(expires.replace(tzinfo=UTC).timestamp() * 1000)
    made = Bundle(bundle, tuple(sorted(map(str.upper, country))), parts, at)

    async def work() -> None:
        await existing(settings, name)
        named = reference or uuid.uuid4().hex
        await count_in(settings, Credit(name, micros, named, "bundle", f"{parts} parts", made), timeout)

    ask(work())


@account.command()
def limit(
    name: Name,
    credit: Annotated[str | None, typer.Option(help="How far the money may fall below zero, such as 50.00.")] = None,
    spend_a_day: Annotated[str | None, typer.Option(help="Most to be reserved on a day (UTC).")] = None,
    messages_a_day: Annotated[int | None, typer.Option(help="Most messages a day (UTC).", min=0)] = None,
    messages_a_second: Annotated[int | None, typer.Option(help="Most messages a second.", min=0)] = None,
    country: Annotated[list[str], typer.Option(help="ISO code of one that may be sent to; may be repeated.")] = [],  # noqa: B006
    price: Annotated[str | None, typer.Option(help="Most that one message may cost.")] = None,
    low_balance: Annotated[list[str], typer.Option(help="Tell when less than this is available; repeatable.")] = [],  # noqa: B006
    clear: Annotated[bool, typer.Option("--clear", help="Begin from no limits at all.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Set an account's limits; those not named stay. Without options: show them. In force within moments."""
    given: dict[str, Any] = {
        "credit": credit and _amount(credit),
        "spend_a_day": spend_a_day and _amount(spend_a_day),
        "messages_a_day": messages_a_day,
        "messages_a_second": messages_a_second,
        "countries": tuple(sorted(map(str.upper, country))) or None,
        "price": price and _amount(price),
        "low_balance": tuple(sorted(map(_amount, low_balance))) or None,
    }
    wanted = {field: value for field, value in given.items() if value is not None}
    settings = running(config_file)

    async def work() -> Limits:
        record = await existing(settings, name, as_written=True)
        limits = msgspec.structs.replace(Limits() if clear else record.limits, **wanted)
        if limits != record.limits:
            await _put(settings, msgspec.structs.replace(record, limits=limits))
        return limits

    found = _told(ask(work()))
    if json:
        show_json({"account": name, **found})
    else:
        print(f"account {name}: " + (", ".join(f"{k} {v}" for k, v in found.items()) or "no limits"))


def _told(limits: Limits) -> dict[str, Any]:
    """What is set, amounts as decimals."""
    amounts = ("credit", "spend_a_day", "price")
    found: dict[str, Any] = {}
    for field in limits.__struct_fields__:
        value = getattr(limits, field)
        if value is None or value == () or (field == "credit" and not value):
            continue
        told = format_amount(value) if field in amounts else value
        found[to_camel(field)] = [format_amount(mark) for mark in value] if field == "low_balance" else told
    return found


@account.command("list")
def list_accounts(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """List every account with its money. With --json: an object a line, as `show` gives it."""
    settings = running(config_file)

    async def work() -> list[dict[str, Any]]:
        register, money = await _register(settings), await _balances(settings)
        records = [record for name in register.names() if (record := register.get(name))]
        return [_view(record, money.get(record.name), settings.billing.currency) for record in records]

    found = ask(work())
    if json:
        for view in found:
            show_json(view)
        return
    from rich.table import Table
    from rich.text import Text

    from pipeline.commands import tables

    table = Table("account", box=None)
    for header in ("balance", "reserved", "available"):
        table.add_column(header, justify="right")
    table.add_column("")
    for view in found:
        blocked = f"blocked: {view['blocklistedReason']}" if view["blocklisted"] else ""
        money = [f"{view[field]} {view['currency']}" for field in ("balance", "reserved", "available")]
        table.add_row(view["account"], *money, Text(blocked))
    tables.show(table)


@account.command()
def block(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; shown with the account.")],
    config_file: ConfigOption = None,
) -> None:
    """Refuse every request of an account from now on. What was accepted goes on."""
    _set_blocked(config_file, name, reason)
    print(f"account {name} is blocked: {reason}")


@account.command()
def unblock(name: Name, config_file: ConfigOption = None) -> None:
    """Let an account send again."""
    _set_blocked(config_file, name, None)
    print(f"account {name} may send")


def _set_blocked(config_file: Any, name: str, reason: str | None) -> None:
    settings = running(config_file)

    async def work() -> None:
        record = await existing(settings, name, as_written=True)
        now = time.time_ns() // 1_000_000
        told = None if reason is None else Blocklisting(name, reason, now).value
        async with producing(settings) as producer:
            topic = TopicNames(settings.kafka.topic_prefix).accounts
            await producer.send_and_wait(topic, key=blocklist_key(name), value=told)
            if record.blocklisted and reason is None:  # as earlier versions wrote it
                changed = msgspec.structs.replace(record, blocklisted=False, blocklisted_reason=None)
                await accounts.put(producer, topic, changed)

    ask(work())


def _amount(text: str) -> int:
    micros = parse_amount(text)
    if isinstance(micros, Error):
        fail(micros.message, 2)
    if micros < 0:
        fail(f"amount {text} is negative; a top-up adds money", 2)
    return micros


def _view(record: AccountRecord, money: Balance | None, currency: str) -> dict[str, Any]:
    """What the contract shows of an account, and its limits and bundles where it has any; zeros where it never had
    money."""
    nothing = format_amount(0)
    money = money or Balance(record.name, nothing, nothing, nothing, currency)
    view: dict[str, Any] = {
        "account": record.name,
        "balance": money.balance,
        "reserved": money.reserved,
        "available": money.available,
        "currency": money.currency,
        "blocklisted": record.blocklisted,
        "blocklistedReason": record.blocklisted_reason,
    }
    more = {"bundles": money.bundles, "limits": _told(record.limits)}
    return view | {name: value for name, value in more.items() if value}


async def _register(settings: Settings) -> Register:
    """Every account as of now."""
    register = Register()
    topic = TopicNames(settings.kafka.topic_prefix).accounts
    await read_all(settings, topic, lambda record: register.take(record.key, record.value))
    return register


async def existing(settings: Settings, name: str, *, as_written: bool = False) -> AccountRecord:
    """The account as it stands, or as its own record has it, to be changed."""
    register = await _register(settings)
    record = register.written(name) if as_written else register.get(name)
    if record is None:
        fail(f"no account {name}; create it with `sms-pipeline account create {name}`")
    return record


async def _put(settings: Settings, record: AccountRecord) -> None:
    async with producing(settings) as producer:
        await accounts.put(producer, TopicNames(settings.kafka.topic_prefix).accounts, record)


class _Money:
    """Collects balances by account: the latest of each."""

    def __init__(self) -> None:
        self.by_account: dict[str, Balance] = {}

    def take(self, record: ConsumerRecord) -> None:
        if record.value:
            money = _decode_balance(record.value)
            known = self.by_account.get(money.account)
            if known is None or known.sequence <= money.sequence:
                self.by_account[money.account] = money

    def counted(self, name: str, reference: str) -> Balance | None:
        """The balance with this top-up in it, if it is among the last ones."""
        money = self.by_account.get(name)
        return money if money and reference in money.credits else None


async def _balances(settings: Settings) -> dict[str, Balance]:
    money = _Money()
    await read_all(settings, TopicNames(settings.kafka.topic_prefix).balances, money.take)
    return money.by_account


async def count_in(settings: Settings, credit: Credit, timeout: float) -> None:
    """Make a top-up (or a bundle, an adjustment) durable, then wait until the price stage has counted it."""
    names = TopicNames(settings.kafka.topic_prefix)
    money = _Money()
    name, reference, amount = credit.account, credit.reference, format_amount(credit.amount)
    refusals = await Refusals.of(settings, credit)
    async with reading(settings, names.balances) as consumer:
        await catch_up(consumer, money.take)
        if before := money.counted(name, reference):
            print(f"{credit.kind} {reference} was counted before; balance {before.balance} {before.currency}")
            return
        async with producing(settings) as producer:
            place = ids.partition_of(name.encode(), settings.kafka.partitions)
            await producer.send_and_wait(names.credits, encode([credit]), partition=place)
        counted = await _counted(consumer, money, name, reference, timeout)
    if counted is None:
        fail(
            f"the {credit.kind} of {amount} (reference {reference}) is durable but not counted after {timeout:g} s: "
            f"the price stage is not running, or behind; do not repeat it, `account show {name}` will show it once it "
            "is counted"
        )
    if why := await refusals.why():
        fail(f"refused: {why}; nothing was changed")
    word = "credited" if credit.kind == "top-up" else f"{credit.kind} of"
    print(f"{word} {amount} {counted.currency}; balance {counted.balance} {counted.currency}")


async def _counted(
    consumer: AIOKafkaConsumer, money: _Money, name: str, reference: str, timeout: float
) -> Balance | None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        await poll(consumer, money.take)
        if found := money.counted(name, reference):
            return found
    return None
