"""What waits for its time, driven by hand: a batch of four, at a time far ahead of any clock."""

from stepping import NOON_MS
from tracking import RECIPIENTS, Stage, about

from pipeline import ids
from pipeline.records import Batch, Cancellation, Tick

AT = 4_000_000_000
MESSAGES = [about().id + index.to_bytes(3, "big") for index in range(RECIPIENTS)]


def scheduled(**more: object) -> Batch:
    return about(**({"send_at": AT * 1000} | more))


def cancel(*indexes: int, account: str = "acme", by_request: bool = False, at: int = NOON_MS + 1000) -> Cancellation:
    """Of messages by index, or of the whole request."""
    if by_request:
        return Cancellation(account, about().request, [], "ada", at)
    return Cancellation(account, b"", [MESSAGES[index] for index in indexes], "ada", at)


def tick(now: int) -> Tick:
    """The clock; what is to be given up on is not looked at."""
    return Tick(0, now)


def released(stage: Stage) -> list[int]:
    """Indexes of the messages that were let go. A record that a crash brought twice is the same to the octet, so that
    dispatch knows it again by its batch, attempt and first index."""
    parts: dict[tuple[int, int], tuple[list[int], int]] = {}
    for part in [*stage.again, *stage.again_priority]:
        found = parts.setdefault((part.attempt, part.index[0]), (part.index, part.send_at))
        assert found == (part.index, part.send_at)
    indexes = sorted(index for found, _ in parts.values() for index in found)
    assert len(indexes) == len(set(indexes))
    return indexes


def states(stage: Stage) -> list[str]:
    return [stage.state(index) for index in range(RECIPIENTS)]


def message_id(index: int) -> str:
    return ids.message_id(about().id, index)
