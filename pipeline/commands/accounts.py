"""`account`: who may send, and with what money.

Accounts are records on a compacted topic; money is the price stage's, told on another. A top-up goes through a topic
of its own, so that it is counted once, in order with what the account spends.
"""

import time
import uuid
from typing import Annotated, Any

import msgspec
import typer
from pydantic.alias_generators import to_camel

from pipeline import accounts
from pipeline.accounts import AccountRecord, Blocklisting, Register, blocklist_key
from pipeline.billing import Limits, format_amount
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, producing, running, show_json
from pipeline.commands.counting import Balance, Timeout, amount_of, balances, count_in
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.records import Credit
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames

account = typer.Typer(
    name="account", help="Accounts: create, credit, show, block; bearer tokens.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="1 to 64 letters, digits, dots, _ and -.")]


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
    micros = 0 if credit is None else amount_of(credit)
    settings = running(config_file)

    async def work() -> None:
        if (await register_of(settings)).get(name):
            fail(f"account {name} exists already; see `sms-pipeline account show {name}`")
        made = AccountRecord(name, rfc3339(time.time_ns() // 1_000_000))
        await put_account(settings, made, "account.create", credit=credit)
        print(f"account {name} created", flush=True)
        if micros:
            await count_in(settings, Credit(name, micros, uuid.uuid4().hex), timeout)

    ask(work())


@account.command()
def show(name: Name, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show an account and its money as of now."""
    settings = running(config_file)

    async def work() -> dict[str, Any]:
        register, money = await register_of(settings), await balances(settings)
        return _view(register, known_account(register, name), money.get(name), settings.billing.currency)

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
        print(f"limit      {field}: {plainly(value)}")
    for held in found.get("held", []):
        print(f"held       {held['range']}: {held['reason']}; `sms-pipeline account release {name} {held['range']}`")


def plainly(value: Any) -> str:
    """A limit's value for people."""
    return " ".join(value) if isinstance(value, list | tuple) else str(value)


def limits_told(limits: Limits) -> dict[str, Any]:
    """The limits that are set, amounts as decimals."""
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
        register, money = await register_of(settings), await balances(settings)
        records = [record for name in register.names() if (record := register.get(name))]
        return [_view(register, record, money.get(record.name), settings.billing.currency) for record in records]

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
            action = "account.unblock" if reason is None else "account.block"
            await audited(producer, settings, action, name, reason=reason)
            await producer.send_and_wait(topic, key=blocklist_key(name), value=told)
            if record.blocklisted and reason is None:  # as earlier versions wrote it
                changed = msgspec.structs.replace(record, blocklisted=False, blocklisted_reason=None)
                await accounts.put(producer, topic, changed)

    ask(work())


def _view(register: Register, record: AccountRecord, money: Balance | None, currency: str) -> dict[str, Any]:
    """What the contract shows of an account, and its limits, bundles and held ranges where it has any; zeros where it
    never had money."""
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
    holds = sorted(register.holds(record.name).items())
    held = [{"range": range_, "reason": hold.reason} for range_, hold in holds if not hold.released]
    more = {"bundles": money.bundles, "limits": limits_told(record.limits), "held": held}
    return view | {name: value for name, value in more.items() if value}


async def register_of(settings: Settings) -> Register:
    """Every account and token as of now."""
    register = Register()
    topic = TopicNames(settings.kafka.topic_prefix).accounts
    await read_all(settings, topic, lambda record: register.take(record.key, record.value))
    return register


async def existing(settings: Settings, name: str, *, as_written: bool = False) -> AccountRecord:
    """The account as it stands, or as its own record has it, to be changed."""
    register = await register_of(settings)
    return known_account(register, name, as_written=as_written)


def known_account(register: Register, name: str, *, as_written: bool = False) -> AccountRecord:
    """The account; ends the command where there is none of this name."""
    record = register.written(name) if as_written else register.get(name)
    if record is None:
        fail(f"no account {name}; create it with `sms-pipeline account create {name}`")
    return record


async def put_account(settings: Settings, record: AccountRecord, action: str, **details: Any) -> None:
    """Store an account's own record, told to the audit log as `action`."""
    async with producing(settings) as producer:
        await audited(producer, settings, action, record.name, **details)
        await accounts.put(producer, TopicNames(settings.kafka.topic_prefix).accounts, record)
