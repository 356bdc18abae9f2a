"""An account's arithmetic in micro-units: reserve before sending, then capture or release. Knows no storage."""

import msgspec

from pipeline.billing.money import format_amount
from schemas.errors import INSUFFICIENT_CREDIT, Error


class Account(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an account owns, and what of it is promised to messages on their way. Each step gives a new account.

    Amounts are never negative and never more than what is reserved; anything else is a bug (ValueError).
    """

    balance: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        """What new messages may cost."""
        return self.balance - self.reserved

    def credit(self, amount: int) -> "Account":
        """Money comes in."""
        return Account(self.balance + _checked(amount), self.reserved)

    def reserve(self, amount: int) -> "Account | Error":
        """Promise `amount` to a message; error 3021 if less is available."""
        if _checked(amount) > self.available:
            message = f"{format_amount(amount)} needed, {format_amount(self.available)} available: add credit"
            return Error(INSUFFICIENT_CREDIT, message, permanent=False)
        return Account(self.balance, self.reserved + amount)

    def capture(self, amount: int) -> "Account":
        """Spend what was reserved."""
        return Account(self.balance - _checked(amount, self.reserved), self.reserved - amount)

    def release(self, amount: int) -> "Account":
        """Give back what was reserved."""
        return Account(self.balance, self.reserved - _checked(amount, self.reserved))


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


def _checked(amount: int, most: int | None = None) -> int:
    if amount < 0 or (most is not None and amount > most):
        raise ValueError(f"amount {amount} is negative or more than the {most} reserved")
    return amount
