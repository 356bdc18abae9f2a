"""Every version of the price list that is known, and which is in force when."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from pipeline.billing.prices import PriceList

#: Lists kept ready: that in force, the one before for what comes late, the next.
_READY = 4


class Version(NamedTuple):
    """A version of the list. `valid_from`: Unix ms; None was never imported: a configured file, known only so that
    prices can be traced to it. `imported_at`: Unix ms. `imported_by`: who, for people."""

    version: str
    name: str
    valid_from: int | None
    imported_at: int
    imported_by: str


class PriceBook:
    """Versions and the lists behind them. Which list is in force at a moment is told by the versions alone, never by
    the clock or the order in which they came to be known: whoever knows the same versions prices alike.

    Of two that hold from the same moment the one imported later counts. Before any of them the configured list holds.
    """

    def __init__(self, configured: PriceList) -> None:
        self.configured = configured
        self._known: dict[str, tuple[Version, Callable[[], PriceList | None]]] = {}
        self._order: list[Version] = []
        self._begins: list[int] = []
        self._ready: OrderedDict[str, PriceList | None] = OrderedDict()

    def add(self, version: Version, load: Callable[[], PriceList | None]) -> None:
        """Know a version. `load` makes its list when it is needed; None where it cannot be made: it is passed over."""
        self.remove(version.version)
        self._known[version.version] = version, load
        self._level()

    def remove(self, version: str) -> None:
        """Know a version no more."""
        self._ready.pop(version, None)
        if self._known.pop(version, None):
            self._level()

    def versions(self) -> list[Version]:
        """Every imported version as they come into force, then what is only known for the trace."""
        return self._order + [version for version, _ in self._known.values() if version.valid_from is None]

    def version(self, version: str) -> Version | None:
        """What is known of a version."""
        known = self._known.get(version)
        return known[0] if known else None

    def at(self, unix_ms: int) -> PriceList:
        """The list in force at a moment."""
        for place in range(bisect_right(self._begins, unix_ms) - 1, -1, -1):
            prices = self._list(self._order[place].version)
            if prices is not None:
                return prices
        return self.configured

    def get(self, version: str) -> PriceList | None:
        """The list of a version; None where it is not known."""
        if version == self.configured.version:
            return self.configured
        return self._list(version) if version in self._known else None

    def _list(self, version: str) -> PriceList | None:
        if version in self._ready:
            self._ready.move_to_end(version)
            return self._ready[version]
        prices = self._ready[version] = self._known[version][1]()
        if len(self._ready) > _READY:
            self._ready.popitem(last=False)
        return prices

    def _level(self) -> None:
        known = [version for version, _ in self._known.values() if version.valid_from is not None]
        self._order = sorted(known, key=lambda one: (one.valid_from, one.imported_at, one.version))
        self._begins = [one.valid_from or 0 for one in self._order]
