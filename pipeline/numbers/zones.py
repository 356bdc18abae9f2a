"""Which time zones may a number's holder be in? libphonenumber's map of number ranges, else the country's zones."""

from functools import cache
from importlib import resources

from phonenumbers import PhoneNumberType
from phonenumbers.phonenumberutil import is_number_type_geographical
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

from pipeline.numbers.recipient import Recipient


def time_zones(recipient: Recipient) -> tuple[str, ...]:
    """Names (IANA): the zone of the number's own range where that tells a place, else all zones of its country.

    A mobile number tells a place only in some countries, and no more of it than where the number was given out.
    """
    if recipient.type != "mobile" or _tells_a_place(recipient.prefix):
        digits = recipient.number[1:]
        for length in range(min(TIMEZONE_LONGEST_PREFIX, len(digits)), len(recipient.prefix), -1):
            if found := TIMEZONE_DATA.get(digits[:length]):
                return tuple(found)
    return _of_country(recipient.country, recipient.prefix)


@cache
def _tells_a_place(prefix: str) -> bool:
    """Whether the country's mobile numbers begin with an area's code."""
    return bool(is_number_type_geographical(PhoneNumberType.MOBILE, int(prefix)))


@cache
def _of_country(country: str, prefix: str) -> tuple[str, ...]:
    """Those of the country by the time zone database, else of the calling code; UTC for satellites."""
    return _countries().get(country) or tuple(TIMEZONE_DATA.get(prefix, ())) or ("UTC",)


@cache
def _countries() -> dict[str, tuple[str, ...]]:
    """Zones by ISO country, from the database's zone.tab."""
    found: dict[str, tuple[str, ...]] = {}
    for line in resources.files("tzdata.zoneinfo").joinpath("zone.tab").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, name = line.split("\t")[:3]
            found[country] = (*found.get(country, ()), name)
    return found
