"""In doubt: what an operator's word does to messages of which nobody knows whether the carrier took them.

`fail` ends them and gives their money back. `resend` sends them back to routing; the state stays IN_DOUBT until an
answer moves it on, and the reservation of the first time pays. A message is touched only while it is in doubt and no
earlier resend of it is on its way.
"""

from collections.abc import Iterable

from pipeline.records import Batch, Resolution
from pipeline.stages.fate import Again, Change, Progress, position_of
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

RESEND, FAIL = "resend", "fail"

#: The n-th resend's attempts are counted from n times this, more than a message's validity has room for, so that
#: dispatch's journal takes none of them for an earlier one.
ATTEMPTS_A_RESEND = 1_000_000

#: What becomes of a message: touched, or why not.
DONE, NOT_IN_DOUBT, UNANSWERED, UNKNOWN = "done", "not_in_doubt", "unanswered", "unknown"


def resolve(
    batch: Batch, progress: Progress, resolution: Resolution, indexes: Iterable[int]
) -> tuple[list[Change], dict[str, list[int]]]:
    """The changes to apply, and indexes by what became of them. Resends are noted in `progress`."""
    results: dict[str, list[int]] = {}
    positions: list[int] = []
    for index in dict.fromkeys(indexes):
        position = position_of(batch, index)
        result = UNKNOWN if position is None else _look(progress, position)
        results.setdefault(result, []).append(index)
        if position is not None and result == DONE:
            positions.append(position)
    if resolution.action == FAIL:
        error = Error(errors.FAILED_BY_OPERATOR, "unknown whether the carrier took the message; an operator gave it up")
        return [Change(position, Detailed.FAILED, resolution.at, error=error) for position in positions], results
    _resend(progress, positions)
    return [], results


def _look(progress: Progress, position: int) -> str:
    if progress.state[position] != Detailed.IN_DOUBT:
        return NOT_IN_DOUBT
    return UNANSWERED if position in progress.unanswered else DONE


def _resend(progress: Progress, positions: list[int]) -> None:
    by_attempt: dict[int, list[int]] = {}
    for position in sorted(positions):
        progress.resent[position] = progress.resent.get(position, 0) + 1
        progress.unanswered.add(position)
        by_attempt.setdefault(progress.resent[position] * ATTEMPTS_A_RESEND, []).append(position)
    progress.again += [Again(attempt, some) for attempt, some in by_attempt.items()]
