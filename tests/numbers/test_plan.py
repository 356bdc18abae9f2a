import random

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumber

from pipeline.numbers.plan import INVALID, plan_of


def test_region_and_type_of_any_national_number_as_the_library_has_them() -> None:
    rng = random.Random(9)
    for code in COUNTRY_CODE_TO_REGION_CODE:
        for _ in range(100):
            national = str(rng.randrange(1, 10 ** rng.randrange(4, 13)))
            number = PhoneNumber(country_code=code, national_number=int(national))
            plan = plan_of(f"{code}{national}")
            assert plan is not None
            assert plan.find(national) == (
                phonenumbers.region_code_for_number(number),
                phonenumbers.number_type(number),
            ), number


def test_calling_codes_of_no_country() -> None:
    assert plan_of("999123456") is None
    assert plan_of("") is None
    assert plan_of("3") is None


def test_a_number_too_short_for_any_region_is_invalid() -> None:
    plan = plan_of("341")
    assert plan is not None
    assert plan.find("1") == ("ES", INVALID)
