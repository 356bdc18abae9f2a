import random

import phonenumbers
import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberFormat, PhoneNumberType, carrier
from phonenumbers.carrierdata import CARRIER_DATA

from pipeline.numbers import Recipient, classify
from schemas.errors import INVALID_RECIPIENT, Error

_TYPES = {PhoneNumberType.MOBILE: "mobile", PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile"}


def by_the_library(number: str) -> Recipient | None:
    """What libphonenumber says of a number in E.164 format; None where it is not a mobile number, or written
    otherwise by the library itself."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.format_number(parsed, PhoneNumberFormat.E164) != number or not phonenumbers.is_valid_number(parsed):
        return None
    number_type = _TYPES.get(phonenumbers.number_type(parsed))
    country = phonenumbers.region_code_for_number(parsed)
    if number_type is None or country is None:
        return None
    operator = carrier.name_for_number(parsed, "en")
    return Recipient(number, country, str(parsed.country_code), operator, number_type)


def examples() -> list[str]:
    """An example of each type in each region, from the library."""
    types = [t for t in PhoneNumberType.values() if t != PhoneNumberType.UNKNOWN]
    found = [
        *(phonenumbers.example_number_for_type(region, t) for region in phonenumbers.SUPPORTED_REGIONS for t in types),
        *(phonenumbers.invalid_example_number(region) for region in phonenumbers.SUPPORTED_REGIONS),
        *map(
            phonenumbers.example_number_for_non_geo_entity,
            phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS,
        ),
    ]
    return sorted({phonenumbers.format_number(n, PhoneNumberFormat.E164) for n in found if n is not None})


def neighbours(number: str, rng: random.Random) -> list[str]:
    """Numbers near a valid one: a digit changed, one more, one less, a national prefix too many."""
    place = rng.randrange(2, len(number))
    digit = rng.choice("0123456789")
    return [
        number[:place] + digit + number[place + 1 :],
        number[:place] + digit + number[place:],
        number[:-1],
        number[:3] + "0" + number[3:],
    ]


def assert_same(numbers: list[str]) -> None:
    different = []
    for number in numbers:
        ours = classify(number)
        if (ours if isinstance(ours, Recipient) else None) != by_the_library(number):
            different.append((number, ours, by_the_library(number)))
    assert not different


def test_examples_of_every_region_and_type_as_the_library_has_them() -> None:
    assert_same(examples())


def test_neighbours_of_examples_as_the_library_has_them() -> None:
    rng = random.Random(38)
    near = [n for number in examples() for n in neighbours(number, rng) if len(n) <= 16]
    assert_same(near)


@pytest.mark.parametrize("shared", [1, 7, 39, 44, 47, 61, 212, 262, 290, 358, 590, 599])
def test_regions_behind_one_calling_code_as_the_library_has_them(shared: int) -> None:
    rng = random.Random(shared)
    known = [phonenumbers.example_number(region) for region in COUNTRY_CODE_TO_REGION_CODE[shared]]
    lengths = sorted({len(phonenumbers.national_significant_number(number)) for number in known if number})
    assert_same(
        [f"+{shared}{''.join(rng.choices('0123456789', k=rng.choice(lengths)))}" for _ in range(1000)]
        + [f"+{prefix}{rng.randrange(10**n):0{n}d}" for prefix in carrier_prefixes(shared, rng) for n in (3, 4, 5)]
    )


def carrier_prefixes(code: int, rng: random.Random) -> list[str]:
    known = sorted(prefix for prefix in CARRIER_DATA if prefix.startswith(str(code)))
    return rng.sample(known, min(200, len(known)))


def test_operators_of_random_prefixes_as_the_library_has_them() -> None:
    rng = random.Random(4)
    prefixes = rng.sample(sorted(CARRIER_DATA), 3000)
    assert_same([f"+{prefix}{rng.randrange(10**n):0{n}d}" for prefix in prefixes for n in (3, 4, 5)])


def test_random_digits_as_the_library_has_them() -> None:
    rng = random.Random(5)
    assert_same([f"+{rng.randrange(1, 10 ** rng.randrange(2, 15))}" for _ in range(20_000)])


def test_an_italian_mobile_number() -> None:
    assert classify("+393331234567") == Recipient("+393331234567", "IT", "39", "TIM", "mobile")


def test_a_number_of_the_united_states_may_be_mobile() -> None:
    found = classify("+12025550123")
    assert isinstance(found, Recipient)
    assert (found.country, found.prefix, found.type) == ("US", "1", "fixed_or_mobile")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("", "empty"),
        ("+390669812345", "not a mobile number: fixed line"),
        ("+39800123456", "not a mobile number: toll-free"),
        ("+393", "not a valid number in country IT"),
        ("+393331234567890", "not a valid number in country IT"),
        ("+3933312345678901", "16 digits, at most 15"),
        ("+39333CALLME", "letters"),
        ("+39333१२३४५६७", "only digits may follow the +, no spaces or signs; write it as +393331234567"),
        ("+39 333-123 4567", "only digits may follow the +, no spaces or signs; write it as +393331234567"),
        ("393331234567", "no + at the start; write it as +393331234567"),
        ("00393331234567", "no + at the start; write it as +393331234567"),
        ("3331234567", "no + at the start"),
        ("+0393331234567", "no calling code begins with 0"),
        ("+9991234567", "no country has this calling code"),
        ("+4407400123456", "holds a national prefix or carrier code; write it as +447400123456"),
        ("+8617912345678", "not a valid number in country CN"),
        ("+", "only digits may follow the +, no spaces or signs"),
        ("+3", "too short"),
        ("+393331234567\n", "only digits may follow the +, no spaces or signs; write it as +393331234567"),
        ("1" * 10_000, "no + at the start"),
    ],
)
def test_the_refusal_says_what_is_wrong(number: str, message: str) -> None:
    assert classify(number) == Error(INVALID_RECIPIENT, message)
