"""Prices and the ledger's arithmetic, in micro-units. Pure functions."""

from pipeline.billing.ledger import Account, affordable
from pipeline.billing.money import MICROS, format_amount, format_price, parse_amount
from pipeline.billing.prices import PriceList

__all__ = [
    "MICROS",
    "Account",
    "PriceList",
    "affordable",
    "format_amount",
    "format_price",
    "parse_amount",
]
