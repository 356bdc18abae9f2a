"""libphonenumber's metadata, compiled for speed: the numbering plan of one calling code.

The library tries some ten patterns a number, one after another, for every region of the calling code, and does so
three times over. Here each region and length has one pattern whose groups are the number types, in the library's
order; a plan is compiled when its calling code is first seen. The answers are those of the library's `is_valid_number`,
`number_type` and `region_code_for_number`, and a test compares them.
"""

import functools
import re
from collections.abc import Callable

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc, PhoneNumberType

_Match = Callable[[str], re.Match[str] | None]

#: What `NumberingPlan.find` answers for a number outside every range.
INVALID = int(PhoneNumberType.UNKNOWN)

# First three digits of a number to its calling code; calling codes are prefix-free.
_CODES: dict[str, str] = {
    f"{code}{rest:0{3 - len(code)}d}" if len(code) < 3 else code: code
    for code in map(str, COUNTRY_CODE_TO_REGION_CODE)
    for rest in range(10 ** (3 - len(code)))
}


class _Ranges:
    """The number types of one region: one compiled pattern a length, compiled when first needed."""

    def __init__(self, metadata: PhoneMetadata) -> None:
        self._metadata = metadata
        self._patterns: dict[int, tuple[_Match, list[int]] | None] = {}

    def type(self, national: str) -> int:
        """The library's number type of a national number, INVALID if there is none."""
        length = len(national)
        try:
            pattern = self._patterns[length]
        except KeyError:
            pattern = self._patterns[length] = _compile(self._metadata, length)
        if pattern is None:
            return INVALID
        match, types = pattern
        found = match(national)
        return types[found.lastindex] if found and found.lastindex else INVALID


class NumberingPlan:
    """How the numbers behind one calling code fall to regions and types."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.main_region, *others = regions = COUNTRY_CODE_TO_REGION_CODE[int(code)]
        metadata = {region: _metadata(int(code), region) for region in regions}
        self._ranges = {region: _Ranges(data) for region, data in metadata.items()}
        self._only = None if others else self._ranges[self.main_region]
        self._steps = _steps({region: data.leading_digits for region, data in metadata.items()})
        national_prefix = metadata[self.main_region].national_prefix_for_parsing
        self._national_prefix: _Match | None = re.compile(national_prefix).match if national_prefix else None

    def may_hold_national_prefix(self, national: str) -> bool:
        """Whether the library looks into stripping a national prefix when it parses such a number."""
        if self._national_prefix is None:
            return False
        found = self._national_prefix(national)
        return found is not None and found.end() > 0

    def find(self, national: str) -> tuple[str | None, int]:
        """Region and type of a national number: (None or a region, INVALID) if it is not valid."""
        if self._only is not None:
            return self.main_region, self._only.type(national)
        for leading_digits, regions in self._steps:
            if leading_digits is None:
                number_type = self._ranges[regions[0]].type(national)
                if number_type != INVALID:
                    return regions[0], number_type
            elif (found := leading_digits(national)) and found.lastindex:
                region = regions[found.lastindex - 1]
                return region, self._ranges[region].type(national)
        return None, INVALID


def plan_of(digits: str) -> NumberingPlan | None:
    """The plan for a number without its `+`; None where no country has its calling code."""
    code = _CODES.get(digits[:3])
    return _plan(code) if code else None


@functools.cache
def _plan(code: str) -> NumberingPlan:
    return NumberingPlan(code)


def _metadata(code: int, region: str) -> PhoneMetadata:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    assert metadata is not None, f"libphonenumber lists region {region} without metadata"
    return metadata


def _steps(leading_digits: dict[str, str | None]) -> list[tuple[_Match | None, list[str]]]:
    """The order in which the regions of a calling code are tried.

    A region with leading digits takes what begins with them, any other what is valid in it. Neighbours with leading
    digits make one pattern, with a group a region; a step without pattern is one region without leading digits.
    """
    steps: list[tuple[_Match | None, list[str]]] = []
    run: list[str] = []
    for region, digits in [*leading_digits.items(), ("", None)]:
        if digits is not None:
            run.append(region)
            continue
        if run:
            steps.append((re.compile("|".join(f"(?:{leading_digits[r]})()" for r in run)).match, run))
            run = []
        if region:
            steps.append((None, [region]))
    return steps


def _compile(metadata: PhoneMetadata, length: int) -> tuple[_Match, list[int]] | None:
    """One pattern for all types of this length; the group that matched is the place of the type in the list."""

    def pattern(desc: PhoneNumberDesc | None) -> str | None:
        if desc is None or not desc.national_number_pattern:
            return None
        if desc.possible_length and length not in desc.possible_length:
            return None
        return f"(?:{desc.national_number_pattern})"

    general = pattern(metadata.general_desc)
    fixed = pattern(metadata.fixed_line)
    mobile = pattern(metadata.mobile)
    both: str | None
    if metadata.same_mobile_and_fixed_line_pattern:
        both, fixed, mobile = fixed, None, None
    else:
        both = rf"(?={fixed}\Z){mobile}" if fixed and mobile else None
    in_order = [
        (pattern(metadata.premium_rate), PhoneNumberType.PREMIUM_RATE),
        (pattern(metadata.toll_free), PhoneNumberType.TOLL_FREE),
        (pattern(metadata.shared_cost), PhoneNumberType.SHARED_COST),
        (pattern(metadata.voip), PhoneNumberType.VOIP),
        (pattern(metadata.personal_number), PhoneNumberType.PERSONAL_NUMBER),
        (pattern(metadata.pager), PhoneNumberType.PAGER),
        (pattern(metadata.uan), PhoneNumberType.UAN),
        (pattern(metadata.voicemail), PhoneNumberType.VOICEMAIL),
        (both, PhoneNumberType.FIXED_LINE_OR_MOBILE),
        (fixed, PhoneNumberType.FIXED_LINE),
        (mobile, PhoneNumberType.MOBILE),
    ]
    possible = [(ranges, int(number_type)) for ranges, number_type in in_order if ranges]
    if general is None or not possible:
        return None
    # The empty group behind each type marks it: unlike a group around it, it lets `re` skip on the first digit.
    types = "|".join(f"{ranges}()" for ranges, _ in possible)
    return re.compile(rf"(?={general}\Z)(?:{types})").fullmatch, [
        INVALID,
        *(number_type for _, number_type in possible),
    ]
