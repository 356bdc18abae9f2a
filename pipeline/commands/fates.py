"""What became of messages, read off the status topic or the read model, and shown."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from schemas.status import StatusRecord

_decode = msgspec.json.Decoder(StatusRecord).decode


class Sent(msgspec.Struct, rename="camel", frozen=True):
    """A recipient's message, as named before any stage saw it."""

    id: str
    request_id: str
    index: int
    recipient: str


class Watch:
    """Collects the latest status record of each message of some requests.

    A repeat of a request is told nothing of: it shares the fates of the first. Where it said something else it is
    refused under ids of its own, so what is told under a new id is about the repeat.
    """

    def __init__(self, account: str, request_ids: Iterable[str]) -> None:
        self._account = account
        self._request_ids = set(request_ids)
        self._latest: dict[tuple[str, int], StatusRecord] = {}
        self._earlier: set[str] = set()
        self._final: set[tuple[str, int]] = set()
        self._final_now: set[tuple[str, int]] = set()

    def take(self, record: ConsumerRecord) -> None:
        """Keep what a record of the status topic says, if it is about one of ours."""
        told = _decode(record.value)
        if told.account != self._account or told.request_id not in self._request_ids:
            return
        key = (told.request_id, told.index)
        known = self._latest.get(key)
        if known and (told.sequence <= known.sequence if told.id == known.id else told.id in self._earlier):
            return
        self._latest[key] = told
        if told.final:
            self._final.add(key)
            if told.id not in self._earlier:
                self._final_now.add(key)

    def begin(self) -> None:
        """What was told until now is about earlier requests of the same ids."""
        self._earlier = {told.id for told in self._latest.values()}
        self._final_now.clear()

    def final(self, *, earlier: bool) -> int:
        """How many messages have their final state. `earlier`: those of an earlier request count too."""
        return len(self._final if earlier else self._final_now)

    def fates(self, sent: Iterable[Sent]) -> list[dict[str, Any]]:
        """The status record of each message sent; what is known where there is none yet."""
        return [
            msgspec.to_builtins(told)
            if (told := self._latest.get((message.request_id, message.index)))
            else {**msgspec.to_builtins(message), "state": None, "detailedState": None, "final": False}
            for message in sent
        ]


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
