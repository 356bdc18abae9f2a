"""Operations on money and prices, as pure functions from their arguments to calls."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from pipeline.client.answers import Balance, Movement, Price, Spend
from pipeline.client.calls import Call, Page, data, paged
from pipeline.client.requests import period

_read_balance = data(Balance)
_read_spend = data(list[Spend])


def balance() -> Call[Balance]:
    """The account's money as of its last movement."""
    return Call("GET", "/balance", _read_balance)


def statement(
    *,
    since: date | str | None = None,
    until: date | str | None = None,
    kinds: str | Sequence[str] = (),
    page_size: int = 100,
) -> Call[Page[Movement]]:
    """The movements of the account's money, newest first. `since` is inclusive, `until` exclusive; a date is its
    midnight UTC. `kinds`: only these, such as "top-up" and "penalty"."""
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    return paged("/statement", Movement, {**period(since, until), "kind": wanted, "limit": page_size})


def spend(
    by: Literal["day", "country", "carrier", "operator"] = "day",
    *,
    since: date | str | None = None,
    until: date | str | None = None,
) -> Call[list[Spend]]:
    """What the account's messages cost, of the last 30 days if nothing else is said."""
    return Call("GET", "/statistics/spend", _read_spend, query={"by": by, **period(since, until)})


def prices(country: str | None = None, *, page_size: int = 1000) -> Call[Page[Price]]:
    """What a part costs the account, by country, operator and prefix."""
    return paged("/prices", Price, {"country": country, "limit": page_size})
