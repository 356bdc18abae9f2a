"""Money as a command sees it: what the balances topic tells, and waiting until the price stage has counted."""

import time
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from pipeline import ids
from pipeline.billing import format_amount, parse_amount
from pipeline.commands.common import audited, fail, producing
from pipeline.commands.reading import catch_up, poll, read_all, reading
from pipeline.commands.refusals import Refusals
from pipeline.config import Settings
from pipeline.records import Credit, encode
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error
from schemas.ledger import Kind

#: What the audit log calls them.
_ACTIONS = {"top-up": "account.credit", "bundle": "account.bundle", Kind.ADJUSTMENT.value: "account.adjust"}

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


def amount_of(text: str) -> int:
    """Micro-units of an amount that adds money; ends the command where it is none."""
    micros = parse_amount(text)
    if isinstance(micros, Error):
        fail(micros.message, 2)
    if micros < 0:
        fail(f"amount {text} is negative; a top-up adds money", 2)
    return micros


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


async def balances(settings: Settings) -> dict[str, Balance]:
    """Each account's money as of now."""
    money = _Money()
    await read_all(settings, TopicNames(settings.kafka.topic_prefix).balances, money.take)
    return money.by_account


async def count_in(settings: Settings, credit: Credit, timeout: float) -> None:
    """Make a top-up (or a bundle, an adjustment) durable and tell the audit log, then wait until the price stage has
    counted it."""
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
            told = {"amount": amount, "reference": reference, "reason": credit.reason or None}
            await audited(producer, settings, _ACTIONS[credit.kind], name, **told)
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
