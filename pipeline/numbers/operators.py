"""Original operator of a mobile number, by longest prefix, from libphonenumber's carrier data (English names)."""

import functools


def operator_of(digits: str, code: str) -> str:
    """Name of the operator the range was given to, "" if unknown; `digits` is the number without its `+`.

    Numbers move between operators: the name is the range's, not the subscriber's.
    """
    prefixes, lengths = _prefixes()
    for length in lengths.get(code, ()):
        name = prefixes.get(digits[:length])
        if name is not None:
            return name
    return ""


@functools.cache
def _prefixes() -> tuple[dict[str, str], dict[str, list[int]]]:
    """Prefix to name, and the lengths of prefixes by calling code, longest first. Loaded with the first number."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
    from phonenumbers.carrierdata import CARRIER_DATA

    names = {prefix: by_language["en"] for prefix, by_language in CARRIER_DATA.items() if "en" in by_language}
    lengths: dict[str, set[int]] = {str(code): set() for code in COUNTRY_CODE_TO_REGION_CODE}
    for prefix in names:
        code = next(prefix[:n] for n in (1, 2, 3) if prefix[:n] in lengths)
        lengths[code].add(len(prefix))
    return names, {code: sorted(found, reverse=True) for code, found in lengths.items()}
