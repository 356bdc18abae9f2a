"""What became of messages, read off the status topic or the read model, and shown."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from schemas.status import StatusRecord

_decode = msgspec.json.Decoder(StatusRecord).decode

#: A message id begins with the second of its request, so a repeat's own ids differ from those of the first.
_SECONDS = 8


class Sent(msgspec.Struct, rename="camel", frozen=True):
    """A recipient's message, as named before any stage saw it."""

    id: str
    request_id: str
    index: int
    recipient: str


class Watch:
    """Collects the latest status record of each message sent.

    A repeat of a request is told nothing of: it shares the fates of the first, unless it said something else and so is
    refused under ids of its own.
    """

    def __init__(self, account: str, sent: Iterable[Sent]) -> None:
        self._account = account
        self._sent = {(message.request_id, message.index): message for message in sent}
        self._latest: dict[tuple[str, int], StatusRecord] = {}
        self._settled: set[tuple[str, int]] = set()
        self._settled_earlier: set[tuple[str, int]] = set()

    def take(self, record: ConsumerRecord) -> None:
        """Keep what a record of the status topic says, if it is about one of ours."""
        told = _decode(record.value)
        key = (told.request_id or "", told.index)
        if told.account != self._account or key not in self._sent:
            return
        known = self._latest.get(key)
        if known is None or (told.sequence > known.sequence if told.id == known.id else self._own(told)):
            self._latest[key] = told
            self._settled.discard(key)
            self._settled_earlier.discard(key)
            if told.final:
                (self._settled if self._own(told) else self._settled_earlier).add(key)

    def missing(self, *, repeats: bool) -> int:
        """How many have no final state. `repeats`: the fate of an earlier request of the same id counts too."""
        return len(self._sent) - len(self._settled) - (len(self._settled_earlier) if repeats else 0)

    def fates(self) -> list[dict[str, Any]]:
        """The status record of each message, in the order they were sent; what is known where there is none yet."""
        return [
            msgspec.to_builtins(self._latest[key])
            if key in self._latest
            else {**msgspec.to_builtins(message), "state": None, "detailedState": None, "final": False}
            for key, message in self._sent.items()
        ]

    def _own(self, told: StatusRecord) -> bool:
        return told.id[:_SECONDS] == self._sent[told.request_id or "", told.index].id[:_SECONDS]


def show_table(fates: Iterable[dict[str, Any]]) -> None:
    """A line a message, and one that counts them by state. `fates`: status records as JSON objects.

    By hand: rich takes half a millisecond a row, and there may be a hundred thousand.
    """
    line = "{:<24}  {:<16}  {:<13}  {:<10}  {:>5}  {:>12}  {}"
    print(line.format("id", "recipient", "state", "carrier", "parts", "price", "error").rstrip())
    counts: Counter[str] = Counter()
    for fate in fates:
        state = fate["detailedState"] or "no news yet"
        counts[state] += 1
        price = f"{fate['totalPrice']} {fate['currency']}" if fate.get("totalPrice") else ""
        error = f"{fate['error']['code']} {fate['error']['message']}" if fate.get("error") else ""
        cells = [fate["id"], fate["recipient"], state, fate.get("carrier") or "", fate.get("messageCount") or ""]
        print(line.format(*cells, price, error).rstrip())
    print(", ".join(f"{number} {state}" for state, number in counts.most_common()))
