"""Bundles: prepaid parts for some countries, used before the wallet until they expire."""

from collections.abc import Sequence

import msgspec


class Bundle(msgspec.Struct, array_like=True, frozen=True):
    """So many parts `left` for messages to `countries` (none: everywhere); `reserved` are on their way. `expires_at`:
    Unix ms of the requests that it may still serve."""

    name: str
    countries: tuple[str, ...]
    left: int
    expires_at: int
    reserved: int = 0

    def serves(self, country: str, at: int) -> bool:
        """Whether a message to a country, asked for at a time (Unix ms), may be paid from it."""
        return self.left > 0 and at < self.expires_at and (not self.countries or country in self.countries)

    def joined(self, other: "Bundle") -> "Bundle":
        """Bought once more under the same name: the parts of both, for the countries and as long as the newer says."""
        return msgspec.structs.replace(self, left=self.left + other.left, reserved=other.reserved)

    def reserve(self, parts: int) -> "Bundle":
        """Promise parts to messages on their way."""
        return msgspec.structs.replace(self, left=self.left - parts, reserved=self.reserved + parts)

    def settle(self, captured: int, released: int, refunded: int) -> "Bundle":
        """Parts on their way were used, or come back; parts used before come back too."""
        return msgspec.structs.replace(
            self, left=self.left + released + refunded, reserved=self.reserved - captured - released
        )


def fund(bundles: Sequence[Bundle], at: int, countries: Sequence[str], counts: Sequence[int]) -> bytes:
    """What pays for each message, in order: 0 the wallet, n the n-th bundle.

    A message is paid from one bundle or not at all: the first, in their order, that serves its country and has as many
    parts as it needs.
    """
    left = [bundle.left for bundle in bundles]
    by_country: dict[str, list[int]] = {}
    source = bytearray(len(counts))
    for place, (country, count) in enumerate(zip(countries, counts, strict=True)):
        if country not in by_country:
            by_country[country] = [n for n, bundle in enumerate(bundles) if bundle.serves(country, at)]
        for number in by_country[country]:
            if left[number] >= count:
                left[number] -= count
                source[place] = number + 1
                break
    return bytes(source)
