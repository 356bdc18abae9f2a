"""Message states: the six of the HTTP contract, and the exact ones behind them.

A message moves forward only, and a terminal state stays. Inside the pipeline a state is its number (one byte a
recipient in a column); on the wire it is the pair of names.
"""

from enum import IntEnum


class Detailed(IntEnum):
    """The exact state. Numbers are stored: never renumber. Order within the open states is the way forward."""

    ACCEPTED = 1
    SCHEDULED = 2
    QUEUED = 3
    IN_DOUBT = 9
    SUBMITTED = 10
    BUFFERED = 11
    ENROUTE = 12
    DELIVERED = 20
    EXPIRED = 30
    NO_RECEIPT = 31
    UNDELIVERABLE = 40
    DELETED = 41
    FAILED = 42
    REJECTED = 50
    BLOCKED = 51
    CANCELED = 52


#: The first terminal number: every state at or past it stays.
TERMINAL = Detailed.DELIVERED

_COARSE = ((3, "NEW"), (12, "PENDING"), (20, "DELIVERED"), (31, "EXPIRED"), (42, "UNDELIVERABLE"), (52, "REJECTED"))

#: Exact state to the contract's state.
STATE: dict[Detailed, str] = {state: next(name for limit, name in _COARSE if state <= limit) for state in Detailed}


def is_final(state: int) -> bool:
    """True where nothing can follow."""
    return state >= TERMINAL


#: SMPP 3.4 section 4.7.1 (receipt `stat`) and 5.2.28 (message_state) to the exact state. UNKNOWN says nothing.
RECEIPT_STATES: dict[str, Detailed] = {
    "DELIVRD": Detailed.DELIVERED,
    "EXPIRED": Detailed.EXPIRED,
    "DELETED": Detailed.DELETED,
    "UNDELIV": Detailed.UNDELIVERABLE,
    "ACCEPTD": Detailed.BUFFERED,
    "ENROUTE": Detailed.ENROUTE,
    "REJECTD": Detailed.REJECTED,
}
