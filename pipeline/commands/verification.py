"""What `ledger verify` has read of each topic, and what does not hold between them.

The price stage writes its table first, then the ledger and the balances. So the ledger's ends are taken before the
table is read: what stands before them is in the table. What table and balances say of an account is compared with the
ledger at that very sequence, whatever has come since.
"""

import copy
from typing import Any

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from pipeline import ids
from pipeline.billing import Account, format_amount, parse_amount
from pipeline.billing.audit import Audit, Difference, Held, Wrong
from pipeline.billing.carried import Carried, Heard, Told, complete, difference
from pipeline.commands.counting import Balance
from pipeline.config import Settings
from pipeline.stages.book import Ledger
from pipeline.stages.fate import BY_RECEIPT
from schemas.ledger import LedgerEntry

#: First byte (msgpack: an array of 4) of an account that was written last by a version that kept no ledger.
_WITHOUT_LEDGER = 0x94

_decode_entry = msgspec.json.Decoder(LedgerEntry).decode
_decode_account = msgspec.msgpack.Decoder(Ledger).decode
_decode_balance = msgspec.json.Decoder(Balance).decode
_decode_status = msgspec.json.Decoder(Told).decode

#: A batch's values on both sides, to see whether they move.
_Seen = tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]


class Verification:
    """Takes the topics' records: first the table's, then `table_ends`, then the others', and later more of these."""

    def __init__(self, settings: Settings, begins: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> None:
        """`begins`, `ends`: of the ledger, before anything else is read."""
        self.audit = Audit()
        self.carried = Carried(BY_RECEIPT)
        self.compared = self.expired = self.moving = 0
        self._partitions = settings.kafka.partitions
        self._ends = ends
        self._table: dict[str, Ledger] = {}
        self._without_ledger: set[str] = set()
        self._balances: dict[str, int] = {}
        self._beyond: set[str] = set()
        self._differing: dict[bytes, _Seen] = {}
        for place, offset in begins.items():
            if offset:
                what = f"{place.topic} {place.partition} begins at offset {offset}: what stood before is gone"
                self._differ(Wrong.PLACE, what)

    @property
    def differences(self) -> list[Difference]:
        return self.audit.differences

    def account(self, record: ConsumerRecord) -> None:
        """A write to the price stage's table; an account's last one counts."""
        if record.key[:1] == b"a" and record.value is not None:
            name = record.key[1:].decode()
            if record.value[0] <= _WITHOUT_LEDGER:
                self._without_ledger.add(name)
            else:
                self._without_ledger.discard(name)
                self._table[name] = _decode_account(record.value)

    def table_ends(self) -> None:
        """The table is read."""
        for name, account in self._table.items():
            if account.sequence:
                self.audit.expect(Wrong.TABLE, name, account.sequence, account.money)

    def balance(self, record: ConsumerRecord) -> None:
        """An account's money as it is told; the highest sequence counts."""
        if record.value is None:
            return
        told = _decode_balance(record.value)
        if told.account in self._without_ledger or told.sequence <= self._balances.get(told.account, 0):
            return
        self._balances[told.account] = told.sequence
        money = Account(_micros(told.balance), _micros(told.reserved))
        self.audit.expect(Wrong.BALANCES, told.account, told.sequence, money)

    def entry(self, record: ConsumerRecord) -> None:
        """A record of the ledger."""
        try:
            entry = _decode_entry(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._differ(Wrong.UNREADABLE, f"{_place(record)}: {error}")
            return
        key = entry.account.encode()
        if record.key != key or record.partition != ids.partition_of(key, self._partitions):
            self._differ(Wrong.PLACE, f"{_place(record)} is another account's place", entry.account, entry.sequence)
        self.audit.take(entry)
        if record.offset < self._ends[TopicPartition(record.topic, record.partition)]:
            self._within_table(entry)

    def status(self, record: ConsumerRecord) -> None:
        """A record of the status topic. What cannot be read is passed over: it is nobody's money."""
        try:
            self.carried.take(_decode_status(record.value or b""))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return

    def compare(self) -> None:
        """Everything is read once: which batches differ?"""
        for batch, held in self.audit.batches.items():
            if complete(held, self.carried.batches.get(batch)):
                self.compared += 1
                self._look(batch)
            else:
                self.expired += 1
        for batch in self.carried.batches.keys() - self.audit.batches.keys():
            if not self._from_before(self.carried.batches[batch].account):
                self._look(batch)

    def waits(self) -> bool:
        """Whether anything differs that may yet come right, as of what is read by now."""
        self._differing = {batch: seen for batch, seen in self._differing.items() if self._difference(batch)}
        return bool(self._differing or self.audit.missing() or any(self._behind()))

    def conclude(self, *, unsettled: bool) -> None:
        """Nothing more is read: what still differs is a difference, but for batches that have moved meanwhile, or may
        yet (`unsettled`: the price stage has settlements to read)."""
        self.differences.extend(self.audit.missing())
        self.differences.extend(self._behind())
        for batch, seen in self._differing.items():
            found, held = self._difference(batch), self.audit.batches.get(batch)
            open_yet = unsettled and held is not None and not held.settled
            if found is None or open_yet or self._seen(batch) != seen:
                self.moving += 1
            else:
                self.differences.append(found)
        if self.audit.total:
            self._differ(Wrong.SUM, f"over all sides it is {format_amount(self.audit.total)}")

    def _within_table(self, entry: LedgerEntry) -> None:
        """An entry that was written before the table was read has to be in it."""
        account = self._table.get(entry.account)
        last = account.sequence if account else 0
        if entry.sequence > last and entry.account not in self._beyond:
            self._beyond.add(entry.account)
            self._differ(Wrong.TABLE, f"there the account is at #{last}", entry.account, entry.sequence)

    def _from_before(self, account: str) -> bool:
        """Whether the account had money, and sent, before the ledger began."""
        standing = self.audit.standings.get(account)
        return account in self._without_ledger if standing is None else standing.brought

    def _behind(self) -> list[Difference]:
        """Accounts whose balance was not told as it is in the table."""
        return [
            Difference(Wrong.BALANCES, f"there the account is at #{self._balances.get(name, 0)}", name, known.sequence)
            for name, known in self._table.items()
            if self._balances.get(name, 0) < known.sequence
        ]

    def _look(self, batch: bytes) -> None:
        if self._difference(batch):
            self._differing[batch] = self._seen(batch)

    def _difference(self, batch: bytes) -> Difference | None:
        heard = self.carried.batches.get(batch)
        return None if heard is None else difference(batch, self.audit.batches.get(batch), heard)

    def _seen(self, batch: bytes) -> _Seen:
        held, heard = self.audit.batches.get(batch), self.carried.batches.get(batch)
        return _values(held), _values(heard)

    def _differ(self, wrong: Wrong, what: str, account: str | None = None, sequence: int | None = None) -> None:
        self.differences.append(Difference(wrong, what, account, sequence))


def _values(one: Held | Heard | None) -> tuple[Any, ...] | None:
    return None if one is None else msgspec.structs.astuple(copy.deepcopy(one))


def _place(record: ConsumerRecord) -> str:
    return f"{record.topic} {record.partition}:{record.offset}"


def _micros(text: str) -> int:
    found = parse_amount(text)
    return found if isinstance(found, int) else 0
