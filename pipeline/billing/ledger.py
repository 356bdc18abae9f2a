"""An account's arithmetic in micro-units: what each movement does to it. Knows no storage."""

import msgspec

from schemas.ledger import Kind

#: What each movement does to balance and reserved.
_EFFECT = {
    Kind.TOP_UP: (1, 0),
    Kind.RESERVE: (0, 1),
    Kind.CAPTURE: (-1, -1),
    Kind.RELEASE: (0, -1),
    Kind.REFUND: (1, 0),
    Kind.PENALTY: (-1, 0),
    Kind.ADJUSTMENT: (1, 0),
    Kind.CORRECTION: (-1, 0),
    Kind.BUNDLE: (-1, 0),
}


class Account(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an account owns, and what of it is promised to messages on their way, in micro-units.

    The balance may be below zero as far as the account has credit.
    """

    balance: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        """What is not promised to anything yet."""
        return self.balance - self.reserved

    def after(self, kind: Kind, amount: int) -> "Account":
        """The account after a movement. Amounts are never negative, and no more is captured or released than was
        reserved; anything else is a bug (ValueError)."""
        balance, reserved = _EFFECT[kind]
        if amount < 0 or (reserved < 0 and amount > self.reserved):
            raise ValueError(f"{kind} of {amount}: negative, or more than the {self.reserved} reserved")
        return Account(self.balance + balance * amount, self.reserved + reserved * amount)


def affordable(available: int, unit_costs: list[int], parts_minimum: list[int]) -> int:
    """How many messages, in order, an account with `available` micro-units can send before the first it cannot.

    `unit_costs`: what each message costs in all; `parts_minimum`: what must be available before each is accepted (the
    minimum per part times its parts). A message is accepted if both are available, and then its cost is reserved.
    """
    if len(unit_costs) != len(parts_minimum):
        raise ValueError(f"{len(unit_costs)} costs, {len(parts_minimum)} minimums")
    if not unit_costs or available >= sum(unit_costs) + max(parts_minimum):
        return len(unit_costs)
    cost, minimum = unit_costs[0], parts_minimum[0]
    if unit_costs.count(cost) == parts_minimum.count(minimum) == len(unit_costs):
        return _affordable_alike(available, cost, max(cost, minimum), len(unit_costs))
    for place, (cost, minimum) in enumerate(zip(unit_costs, parts_minimum, strict=True)):
        if available < max(cost, minimum):
            return place
        available -= cost
    return len(unit_costs)


def _affordable_alike(available: int, cost: int, needed: int, count: int) -> int:
    if available < needed:
        return 0
    return min(count, (available - needed) // cost + 1) if cost else count
