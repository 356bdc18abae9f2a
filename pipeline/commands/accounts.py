"""`account`: who may send, and with what money.

Accounts are records on a compacted topic; money is the price stage's, told on another. A top-up goes through a topic
of its own, so that it is counted once, in order with what the account spends.
"""

import time
import uuid
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from pipeline import accounts, ids
from pipeline.accounts import AccountRecord, Blocklisting, Register, blocklist_key
from pipeline.billing import format_amount, parse_amount
from pipeline.commands.common import ConfigOption, JsonOption, fail, producing, running, show_json
from pipeline.commands.reading import ask, catch_up, poll, read_all, reading
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
            await _top_up(settings, name, micros, uuid.uuid4().hex, timeout)

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
        await _top_up(settings, name, micros, reference or uuid.uuid4().hex, timeout)

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
    """What the contract shows of an account; zeros where it never had money."""
    nothing = format_amount(0)
    money = money or Balance(record.name, nothing, nothing, nothing, currency)
    return {
        "account": record.name,
        "balance": money.balance,
        "reserved": money.reserved,
        "available": money.available,
        "currency": money.currency,
        "blocklisted": record.blocklisted,
        "blocklistedReason": record.blocklisted_reason,
    }


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


async def _top_up(settings: Settings, name: str, micros: int, reference: str, timeout: float) -> None:
    """Make the top-up durable, then wait until the price stage has counted it."""
    names = TopicNames(settings.kafka.topic_prefix)
    money = _Money()
    async with reading(settings, names.balances) as consumer:
        await catch_up(consumer, money.take)
        if before := money.counted(name, reference):
            print(f"top-up {reference} was counted before; balance {before.balance} {before.currency}")
            return
        async with producing(settings) as producer:
            place = ids.partition_of(name.encode(), settings.kafka.partitions)
            value = encode([Credit(name, micros, reference)])
            await producer.send_and_wait(names.credits, value, partition=place)
        counted = await _counted(consumer, money, name, reference, timeout)
    if counted is None:
        fail(
            f"the top-up of {format_amount(micros)} (reference {reference}) is durable but not counted after "
            f"{timeout:g} s: the price stage is not running, or behind; do not repeat it, `account show {name}` will "
            "show it once it is counted"
        )
    print(f"credited {format_amount(micros)} {counted.currency}; balance {counted.balance} {counted.currency}")


async def _counted(
    consumer: AIOKafkaConsumer, money: _Money, name: str, reference: str, timeout: float
) -> Balance | None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        await poll(consumer, money.take)
        if found := money.counted(name, reference):
            return found
    return None
