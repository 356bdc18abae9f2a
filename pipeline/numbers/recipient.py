"""Is this a mobile number, and whose? E.164, then libphonenumber's metadata."""

import re

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from pipeline.numbers.operators import operator_of
from pipeline.numbers.plan import INVALID, NumberingPlan, plan_of
from schemas.errors import INVALID_RECIPIENT, Error

# ITU-T E.164, section 6: at most 15 digits; no calling code begins with 0.
_MOST_DIGITS = 15
_E164 = re.compile(r"\+[1-9][0-9]{1,14}").fullmatch
_LETTER = re.compile(r"[^\W\d_]")
#: Longer input is not worth a suggestion.
_SUGGEST_UP_TO = 40

#: Types that can receive an SMS, with the names we give them; where a country does not keep fixed and mobile ranges
#: apart (US, CA …), the number may be mobile.
_ACCEPTED = {
    int(PhoneNumberType.MOBILE): "mobile",
    int(PhoneNumberType.FIXED_LINE_OR_MOBILE): "fixed_or_mobile",
}
_REFUSED = {
    int(PhoneNumberType.FIXED_LINE): "fixed line",
    int(PhoneNumberType.TOLL_FREE): "toll-free",
    int(PhoneNumberType.PREMIUM_RATE): "premium rate",
    int(PhoneNumberType.SHARED_COST): "shared cost",
    int(PhoneNumberType.VOIP): "voice over IP",
    int(PhoneNumberType.PERSONAL_NUMBER): "personal number",
    int(PhoneNumberType.PAGER): "pager",
    int(PhoneNumberType.UAN): "company number",
    int(PhoneNumberType.VOICEMAIL): "voicemail",
}


class Recipient(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A mobile number. `country` is ISO 3166-1 alpha-2, or "001" for calling codes of no country (satellite);
    `prefix` the calling code without `+`; `operator` "" if unknown; `type` "mobile" or "fixed_or_mobile"."""

    number: str
    country: str
    prefix: str
    operator: str
    type: str


def classify(number: str) -> Recipient | Error:
    """Country, operator and type of a mobile number in strict E.164 format.

    Error 2011 says what is wrong and, where the number can be read all the same, how to write it.
    """
    if not _E164(number):
        return _refused(_misspelt(number), number)
    digits = number[1:]
    plan = plan_of(digits)
    if plan is None:
        return _refused("no country has this calling code")
    code = plan.code
    national = digits[len(code) :]
    if plan.may_hold_national_prefix(national) and (written := _e164(number)) != number:
        if written is None:
            return _unreachable(plan, None, INVALID)
        return _refused("holds a national prefix or carrier code", number)
    country, number_type = plan.find(national)
    accepted = _ACCEPTED.get(number_type)
    if accepted is None or country is None:
        return _unreachable(plan, country, number_type)
    return Recipient(number, country, code, operator_of(digits, code), accepted)


def _unreachable(plan: NumberingPlan, country: str | None, number_type: int) -> Error:
    if number_type != INVALID:
        return _refused(f"not a mobile number: {_REFUSED[number_type]}")
    return _refused(f"not a valid number in country {country or plan.main_region}")


def _misspelt(number: str) -> str:
    """What keeps `number` from being E.164."""
    digits = number[1:]
    if not number:
        return "empty"
    if _LETTER.search(number):
        return "letters"
    if number[0] != "+":
        return "no + at the start"
    if not (digits.isascii() and digits.isdigit()):
        return "only digits may follow the +, no spaces or signs"
    if digits[0] == "0":
        return "no calling code begins with 0"
    if len(digits) > _MOST_DIGITS:
        return f"{len(digits)} digits, at most {_MOST_DIGITS}"
    return "too short"


def _refused(reason: str, number: str = "") -> Error:
    """Error 2011, with the E.164 form if `number` is given and the library reads a mobile number in it."""
    # Letters the library would read as those of a telephone keypad.
    readable = 0 < len(number) <= _SUGGEST_UP_TO and not _LETTER.search(number)
    suggestion = _e164(number) if readable else None
    if suggestion and isinstance(classify(suggestion), Recipient):
        reason = f"{reason}; write it as {suggestion}"
    return Error(INVALID_RECIPIENT, reason)


def _e164(number: str) -> str | None:
    """How the library writes what it reads in `number`, `00` or nothing standing for `+`; None if not valid."""
    international = number if number.lstrip().startswith("+") else "+" + number.strip().removeprefix("00")
    try:
        parsed = phonenumbers.parse(international)
    except NumberParseException:
        return None
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164) if phonenumbers.is_valid_number(parsed) else None
