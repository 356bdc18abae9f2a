"""The accounts' money as the price stage last told it, known to every gateway."""

import msgspec
import structlog

from pipeline.billing import Bundle, parse_amount
from pipeline.billing.price_rows import parse_time
from pipeline.config import Settings
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

log = structlog.get_logger()


class Funds(msgspec.Struct, frozen=True):
    """Micro-units not promised to anything yet, without the account's credit; and its bundles."""

    available: int = 0
    bundles: tuple[Bundle, ...] = ()


class _Bundle(msgspec.Struct, rename="camel"):
    name: str
    countries: tuple[str, ...]
    left: int
    reserved: int
    expires_at: str


class _Balance(msgspec.Struct):
    available: str
    bundles: list[_Bundle] = []


_decode = msgspec.json.Decoder(_Balance).decode


class Balances:
    """By account; read only when asked for, because they change often and are asked for seldom."""

    def __init__(self) -> None:
        self._told: dict[bytes, bytes] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        if value is None:
            self._told.pop(key, None)
        else:
            self._told[key] = value

    def get(self, account: str) -> Funds:
        """What the account has; nothing where it never had money."""
        value = self._told.get(account.encode())
        if value is None:
            return Funds()
        try:
            told = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("balance.unreadable", account=account, error=str(error))
            return Funds()
        available = parse_amount(told.available)
        bundles = ((one, parse_time(one.expires_at)) for one in told.bundles)
        return Funds(
            0 if isinstance(available, Error) else available,
            tuple(
                Bundle(one.name, one.countries, one.left, expires, one.reserved)
                for one, expires in bundles
                if not isinstance(expires, Error)
            ),
        )


class BalanceDirectory(Balances, Directory):
    """Every account's, in memory and as up to date as the price stage. Start it before use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).balances)
