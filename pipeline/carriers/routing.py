"""Which carrier a number goes to: the longest matching prefix decides, its carriers serve in order of preference."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from pipeline.config import Route
from pipeline.text import Wire, common

T = TypeVar("T")


class Router:
    """Routes over the carriers that can be used. A prefix whose carriers are all unavailable leads nowhere: what was
    meant for a certain carrier is not handed to the one for everything."""

    def __init__(self, routes: Sequence[Route], carriers: Collection[str]) -> None:
        """`carriers`: the available names, in the order of the configuration; without routes each serves every number.

        Routes of the same prefix add their carriers in the order they stand.
        """
        table: dict[str, dict[str, None]] = {} if routes else {"": dict.fromkeys(carriers)}
        for route in routes:
            table.setdefault(route.prefix, {}).update(dict.fromkeys(c for c in route.carriers if c in carriers))
        self._table = {prefix: list(names) for prefix, names in table.items()}
        self._lengths = sorted({len(prefix) for prefix in table}, reverse=True)

    def candidates(self, number: str) -> list[str]:
        """Every available carrier for `number` (E.164 with or without the plus), best first; [] where no route leads.

        The list is the router's own: read it only.
        """
        digits = number.removeprefix("+")
        for length in self._lengths:
            found = self._table.get(digits[:length])
            if found is not None:
                return found
        return []

    def route(self, number: str, tried: Collection[str] = ()) -> str | None:
        """The best carrier for `number` not yet `tried`; None where there is none."""
        return next((name for name in self.candidates(number) if name not in tried), None)

    def group(self, numbers: Sequence[str]) -> list[str | None]:
        """The best carrier of each number, in order: one look-up a distinct prefix, none where one route serves all."""
        return self._each(numbers, self.route)

    def wires(self, numbers: Sequence[str], wires: Mapping[str, Wire]) -> list[Wire]:
        """What can be sent to each number by whichever carrier of its route takes it. `wires`: by carrier."""
        return self._each(numbers, lambda number: common([wires[name] for name in self.candidates(number)]))

    def _each(self, numbers: Sequence[str], look_up: Callable[[str], T]) -> list[T]:
        if self._lengths == [0]:
            return [look_up("")] * len(numbers)
        reach = max(self._lengths, default=0) + 1  # the plus
        known: dict[str, T] = {}
        result: list[T] = []
        for number in numbers:
            head = number[:reach]
            if head not in known:
                known[head] = look_up(head)
            result.append(known[head])
        return result
