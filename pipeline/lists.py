"""The lists an operator keeps in files, read: prices and prohibited terms."""

from importlib import resources

from pipeline.billing import PriceList
from pipeline.config import ConfigError, Settings
from pipeline.moderation import TermList


def price_list(settings: Settings) -> PriceList:
    """The configured price list, or the sample that comes with the project. Raises ConfigError with every fault."""
    path = settings.billing.prices or resources.files("pipeline.billing") / "sample-prices.csv"
    prices = PriceList.parse(path.read_text("utf-8").splitlines())
    if isinstance(prices, list):
        raise ConfigError(f"billing.prices {path}:\n  " + "\n  ".join(prices))
    return prices


def term_list(settings: Settings) -> TermList:
    """The prohibited terms of every configured file, as one list."""
    return TermList.parse(line for path in settings.moderation.terms for line in path.read_text("utf-8").splitlines())
