"""What every stage does alike: count, and split a batch into what goes on and what ends here."""

from pipeline.ops import metrics
from pipeline.records import Batch, Rejected
from schemas.errors import Error
from schemas.states import Detailed


def count_in(stage: str, lane: str, messages: int) -> None:
    """Count a batch that entered a stage. `lane`: a topic's lane suffix."""
    label = lane.lstrip(".") or "bulk"
    metrics.BATCHES_IN.labels(stage, label).inc()
    metrics.MESSAGES_IN.labels(stage, label).inc(messages)


def count_out(stage: str, lane: str, messages: int) -> None:
    """Count a batch that a stage passed on."""
    label = lane.lstrip(".") or "bulk"
    metrics.BATCHES_OUT.labels(stage, label).inc()
    metrics.MESSAGES_OUT.labels(stage, label).inc(messages)


def split(
    stage: str, batch: Batch, wrong: dict[int, Error], state: Detailed = Detailed.REJECTED
) -> tuple[Batch | None, Rejected | None]:
    """The recipients that go on (None: none do) and the rejection of the others (None: there are none)."""
    if not wrong:
        return batch, None
    distinct: dict[Error, int] = {}
    which = []
    for position in sorted(wrong):
        which.append(distinct.setdefault(wrong[position], len(distinct)))
    for error, place in distinct.items():
        metrics.REJECTIONS.labels(stage, str(error.code)).inc(which.count(place))
    ended = batch.select(sorted(wrong))
    ended.error, ended.errors = None, {}
    rejected = Rejected(stage, ended, which, list(distinct), int(state))
    if len(wrong) == len(batch):
        return None, rejected
    return batch.select([p for p in range(len(batch)) if p not in wrong]), rejected
