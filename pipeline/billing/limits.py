"""What an account may use: how far into debt, how much and how many a day, how fast, where to, at which price."""

import msgspec

from pipeline.billing.money import format_amount, format_price
from schemas import errors
from schemas.errors import Error

_DAY_MS = 24 * 3600 * 1000
#: From this share of a limit on its owner is warned, once a day.
WARN_SHARE = 0.8


class Limits(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """An account's limits; None or empty: none. Amounts in micro-units.

    `credit`: how far the available money may fall below zero. `countries`: those that may be sent to. `price`: the most
    that one message may cost. `low_balance`: whoever falls below one of these is told of it. `requests_a_second`: over
    HTTP, of each token.
    """

    credit: int = 0
    spend_a_day: int | None = None
    messages_a_day: int | None = None
    messages_a_second: int | None = None
    countries: tuple[str, ...] = ()
    price: int | None = None
    low_balance: tuple[int, ...] = ()
    requests_a_second: int | None = None

    def shuts_out(self, country: str, cost: int) -> Error | None:
        """Why a message of this cost (micro-units, all parts) may not go to this country."""
        if self.countries and country not in self.countries:
            allowed = ", ".join(self.countries)
            return Error(errors.COUNTRY_NOT_ALLOWED, f"recipient: this account may send to {allowed}, not to {country}")
        if self.price is not None and cost > self.price:
            text = f"recipient: costs {format_price(cost)}, and the account's most is {format_price(self.price)}"
            return Error(errors.TOO_EXPENSIVE, text)
        return None


class Usage(msgspec.Struct, array_like=True, frozen=True):
    """What an account has used of its limits: messages in a second and on a day (UTC, of the requests' times), and the
    micro-units reserved on that day. `warned`: limits that its owner was told of on that day."""

    second: int = 0
    in_second: int = 0
    day: int = 0
    in_day: int = 0
    spent: int = 0
    warned: tuple[str, ...] = ()

    def at(self, at: int) -> "Usage":
        """The same at a time (Unix ms): a new second or day begins at nothing. Time does not go back."""
        second, day = max(at // 1000, self.second), max(at // _DAY_MS, self.day)
        if day > self.day:
            return Usage(second, 0, day)
        if second > self.second:
            return msgspec.structs.replace(self, second=second, in_second=0)
        return self

    def plus(self, messages: int, amount: int) -> "Usage":
        """After so many more messages, for so much."""
        more = {
            "in_second": self.in_second + messages,
            "in_day": self.in_day + messages,
            "spent": self.spent + amount,
        }
        return msgspec.structs.replace(self, **more)


def within(limits: Limits, usage: Usage, costs: list[int]) -> tuple[int, Error | None]:
    """How many messages of these costs, in order, the limits leave room for, and which limit stops the next."""
    count, why = len(costs), None
    for period, code, bound, used in (
        ("second", errors.RATE_LIMIT, limits.messages_a_second, usage.in_second),
        ("day", errors.DAILY_LIMIT, limits.messages_a_day, usage.in_day),
    ):
        if bound is not None and max(bound - used, 0) < count:
            count = max(bound - used, 0)
            text = f"account: its limit of {bound} messages a {period} is reached; send again later"
            why = Error(code, text, permanent=False)
    if count and limits.spend_a_day is not None and usage.spent + sum(costs[:count]) > limits.spend_a_day:
        left, count = limits.spend_a_day - usage.spent, 0
        while costs[count] <= left:
            left -= costs[count]
            count += 1
        text = f"account: its limit of {format_amount(limits.spend_a_day)} a day is reached; send again tomorrow"
        why = Error(errors.DAILY_LIMIT, text, permanent=False)
    return count, why


def near(limits: Limits, usage: Usage) -> list[tuple[str, int, int]]:
    """Limits of the day that are used for the greater part and were not warned of: name, what is used, the limit."""
    pairs = (
        ("spendADay", usage.spent, limits.spend_a_day),
        ("messagesADay", usage.in_day, limits.messages_a_day),
    )
    return [
        (name, used, most)
        for name, used, most in pairs
        if most is not None and used >= WARN_SHARE * most and name not in usage.warned
    ]
