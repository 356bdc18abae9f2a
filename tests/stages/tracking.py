"""The track stage on one store: news of one batch, and workers that die between any two writes."""

from typing import Any

import msgspec
from stepping import NOON_MS, SETTINGS, Log, Record, Table, batch, decides

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.optouts import OptOuts
from pipeline.records import (
    Batch,
    Cancellation,
    Resolution,
    Settlement,
    Submitted,
    Tick,
    decode_batches,
    decode_settlements,
    encode,
    encode_one,
)
from pipeline.stages import fate, track
from schemas.errors import Error
from schemas.states import Detailed
from schemas.status import StatusRecord

OUTCOMES, URGENT, RECEIPTS = "t.outcomes", "t.outcomes.priority", "t.receipts"
RESOLUTIONS, CANCELLATIONS, TICKS = "t.resolutions", "t.cancellations", "t.ticks"
TOPICS = (OUTCOMES, URGENT, RECEIPTS, RESOLUTIONS, CANCELLATIONS, TICKS)
RECIPIENTS = 4
PRICE = 50_000
_status = msgspec.json.Decoder(StatusRecord).decode


def about(**more: Any) -> Batch:
    return batch(1, RECIPIENTS, **({"prices": [PRICE], "currency": "EUR"} | more))


def submitted(states: dict[int, Detailed], carrier: str = "sim") -> Submitted:
    sent = [state == Detailed.SUBMITTED for state in states.values()]
    return Submitted(
        batch=about().id, account="acme", carrier=carrier, at=NOON_MS, index=list(states),
        states=bytes(states.values()), references=[f"c{i}" if s else "" for i, s in zip(states, sent, strict=True)],
        errors={i: Error(3032, "no") for i, s in states.items() if s in (Detailed.REJECTED, Detailed.IN_DOUBT)},
    )  # fmt: skip


def receipt(index: int, status: str) -> ReceiptBatch:
    reference = ids.message_id(about().id, index)
    return ReceiptBatch("sim", NOON_MS + 1000, [Receipt(f"c{index}", reference, status, "000", None)])


def resolution(action: str, *indexes: int) -> Resolution:
    messages = [bytes.fromhex(ids.message_id(about().id, index)) for index in indexes]
    return Resolution(action, messages, "ada", NOON_MS + 2000)


class Stage:
    """The track stage on one store; a new one is a new process."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.logs = {topic: Log(topic) for topic in TOPICS}
        self.opt_outs = OptOuts()
        self.told: list[StatusRecord] = []
        self.settlements: list[Settlement] = []
        self.again: list[Batch] = []
        self.again_priority: list[Batch] = []
        self.restart()

    def restart(self) -> None:
        self._decides = decides(track.sources(SETTINGS, track.Tracker(SETTINGS, self.opt_outs)))

    def put(self, news: object, *, urgent: bool = False) -> Record:
        """Append a record to its topic."""
        match news:
            case ReceiptBatch():
                return self.logs[RECEIPTS].append(receipts.encode(news))
            case Resolution():
                return self.logs[RESOLUTIONS].append(encode_one(news))
            case Cancellation():
                return self.logs[CANCELLATIONS].append(encode_one(news))
            case Tick():
                return self.logs[TICKS].append(encode([news]))
        return self.logs[URGENT if urgent else OUTCOMES].append(encode([news]))

    def read(self, *rows: Record, **crash: object) -> None:
        """A window of one topic's records. With a crash it is cut short there, and the process is another then."""
        sent = self.table.window(self._decides[rows[0].topic], list(rows), **crash)
        self.told += [_status(value) for _, value in sent.keyed.get("t.status", [])]
        self.settlements += sent.items("t.settlements", decode_settlements)
        self.again += sent.items("t.priced", decode_batches)
        self.again_priority += sent.items("t.priced.priority", decode_batches)
        if crash:
            self.restart()

    def take(self, news: object, **crash: object) -> Record:
        """One record, one window. With a crash the record comes again to a new process."""
        row = self.put(news)
        if crash:
            self.read(row, **crash)
        self.read(row)
        return row

    def die_over(self, news: object, **crash: object) -> Record:
        """A window that is cut short; its record is still to come again."""
        row = self.put(news)
        self.read(row, **crash)
        return row

    def fates(self) -> dict[int, list[StatusRecord]]:
        """Each recipient's records in order, the repeats of a crash told apart by their sequence and dropped."""
        found: dict[int, dict[int, StatusRecord]] = {}
        for told in self.told:
            before = found.setdefault(told.index, {}).setdefault(told.sequence, told)
            assert before == told
            assert told.sequence == fate.sequence_of(Detailed[told.detailed_state]) or told.sequence == 1
        return {index: [by[s] for s in sorted(by)] for index, by in found.items()}

    def state(self, index: int) -> str:
        """What was told last of a message."""
        return self.fates()[index][-1].detailed_state

    def settled(self) -> tuple[int, int]:
        """What price makes of the settlements: totals, of which it counts what goes beyond those it knows."""
        captured = max((s.captured for s in self.settlements), default=0)
        return captured, max((s.released for s in self.settlements), default=0)

    def check(self) -> None:
        """What holds at any moment: at most one end each, the last of its records; totals that only grow."""
        for records in self.fates().values():
            assert [r.final for r in records].count(True) <= 1
            assert not any(r.final for r in records[:-1])
        totals = [(s.captured, s.released) for s in self.settlements]
        assert totals == sorted(totals, key=lambda total: total[0]) == sorted(totals, key=lambda total: total[1])
        assert sum(self.settled()) <= RECIPIENTS * PRICE
