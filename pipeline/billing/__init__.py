"""Prices and the ledger's arithmetic, in micro-units. Pure functions."""

from pipeline.billing.bundles import Bundle, fund
from pipeline.billing.ledger import Account, affordable
from pipeline.billing.limits import Limits, Usage, near, within
from pipeline.billing.money import MICROS, format_amount, format_price, parse_amount
from pipeline.billing.price_book import PriceBook
from pipeline.billing.prices import PriceList, View
from pipeline.billing.pumping import Rule, Traffic, Trip, range_of

__all__ = [
    "MICROS",
    "Account",
    "Bundle",
    "Limits",
    "PriceBook",
    "PriceList",
    "Rule",
    "Traffic",
    "Trip",
    "Usage",
    "View",
    "affordable",
    "format_amount",
    "format_price",
    "fund",
    "near",
    "parse_amount",
    "range_of",
    "within",
]
