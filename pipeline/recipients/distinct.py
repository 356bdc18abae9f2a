"""Each number once, also among millions: 8 bytes a number."""

import numpy as np
from numpy.typing import NDArray

from pipeline.recipients.formats import Recipient

_Keys = NDArray[np.int64]


class Distinct:
    """Passes on the recipients whose number has not come before; counts the others in `repeats`.

    Numbers are known by 64 bits of a keyed hash (that of `str`): among a million that are different, two are taken for
    one in one of thirty million lists. Kept in sorted runs, each at least twice as long as the next.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self._runs: list[_Keys] = []

    def keep(self, recipients: list[Recipient]) -> list[Recipient]:
        """Those that are new, in their order."""
        if not recipients:
            return recipients
        numbers = [one if isinstance(one, str) else one["number"] for one in recipients]
        keys = np.fromiter(map(hash, numbers), np.int64, len(numbers))
        run, places = np.unique(keys, return_index=True)
        new = np.ones(len(run), bool)
        for known in self._runs:
            at = np.searchsorted(known, run)
            at[at == len(known)] = 0
            new &= known[at] != run
        self._add(run[new])
        if len(kept := places[new]) == len(recipients):
            return recipients
        self.repeats += len(recipients) - len(kept)
        return [recipients[place] for place in np.sort(kept)]

    def _add(self, run: _Keys) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")  # of two sorted halves: a merge
        if len(run):
            self._runs.append(run)
