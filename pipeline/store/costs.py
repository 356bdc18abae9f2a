"""What messages cost us: what their carriers take for their parts, by the list in force when they were requested."""

from collections.abc import Callable, Container, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

from pipeline.billing import PriceList
from pipeline.stages.fate import BY_RECEIPT
from schemas.status import StatusRecord

#: A carrier that has a message in one of these states took it.
TAKEN = frozenset({"SUBMITTED", "BUFFERED", "ENROUTE", "DELIVERED"})
#: Hex digits of a message id that tell the second of its request (pipeline/ids.py).
_SECOND_DIGITS = 8
#: What a column holds. More is no cost but a record that is not ours: the topic is open to others.
_MOST = 2**63 - 1

#: Finds the operators of messages, by id; those of no known one are missing.
Read = Callable[[list[StatusRecord]], Mapping[str, str]]


class _Rules(NamedTuple):
    """By carrier and country: where a list's costs depend on the operator, and where on the number."""

    operator: frozenset[tuple[str | None, str | None]]
    number: frozenset[tuple[str | None, str | None]]


class _Costs:
    """A list's costs at one time. Each is looked for once by what it depends on."""

    def __init__(self, prices: PriceList, rules: _Rules, at: int) -> None:
        self._prices = prices
        self._rules = rules
        self._at = at
        self._found: dict[tuple[str, str, str], int | None] = {}

    def depends_on_operator(self, message: StatusRecord) -> bool:
        return (message.carrier, message.country_code) in self._rules.operator

    def of(self, message: StatusRecord, operator: str) -> int | None:
        """Micro-units of all its parts."""
        where = message.carrier, message.country_code
        key = message.carrier or "", message.country_code or "", operator if where in self._rules.operator else ""
        if where in self._rules.number:
            part = self._prices.cost(*key, message.recipient, self._at)
        elif key in self._found:
            part = self._found[key]
        else:
            part = self._found[key] = self._prices.cost(*key, at=self._at)
        cost = None if part is None else part * message.message_count
        return None if cost is None or cost > _MOST else cost


class CostFinder:
    """`in_force`: the list that is in force at a moment (Unix ms); always the same one, so that a read model that is
    built again tells the same."""

    def __init__(self, in_force: Callable[[int], PriceList]) -> None:
        self._in_force = in_force
        self._rules: WeakKeyDictionary[PriceList, _Rules] = WeakKeyDictionary()

    def find(
        self, latest: Mapping[str, StatusRecord], sent: Container[str], operators: Mapping[str, str], read: Read
    ) -> dict[str, int]:
        """Micro-units of all parts, by message id; missing is what no carrier took, and what the list does not tell.

        `latest`: each message's latest record; `sent`: those that a carrier told to have taken; `operators`: those at
        hand. `read` is asked for the others, where the cost depends on them.
        """
        seconds = {id_[:_SECOND_DIGITS] for id_ in latest}
        costs = {second: self._at(second) for second in seconds}
        if not any(costs.values()):
            return {}
        taken = [
            (message, found)
            for id_, message in latest.items()
            if (found := costs[id_[:_SECOND_DIGITS]]) and _was_taken(message, id_ in sent)
        ]
        unknown = [
            message for message, found in taken if message.id not in operators and found.depends_on_operator(message)
        ]
        if unknown:
            operators = {**read(unknown), **operators}
        return {
            message.id: cost
            for message, found in taken
            if (cost := found.of(message, operators.get(message.id, ""))) is not None
        }

    def _at(self, second: str) -> _Costs | None:
        """The costs of messages requested then; None where there are none."""
        try:
            at = int(second, 16) * 1000
        except ValueError:  # no id of ours: the topic is open to others
            return None
        prices = self._in_force(at)
        if not prices.rows.costs:
            return None
        if prices not in self._rules:
            rows = prices.rows.costs
            by_operator = frozenset((row.owner, row.country) for row in rows if row.operator)
            self._rules[prices] = _Rules(by_operator, frozenset((row.owner, row.country) for row in rows if row.prefix))
        return _Costs(prices, self._rules[prices], at)


def _was_taken(message: StatusRecord, sent: bool) -> bool:
    """Whether the record's carrier took the message: it told so, gave it an id, or its receipt speaks of it."""
    if message.carrier is None:
        return False
    if sent or message.carrier_reference is not None or message.detailed_state in TAKEN:
        return True
    return message.error is not None and message.error.message.startswith(BY_RECEIPT)
