"""Which encodings were considered for a text, and why one was chosen."""

from itertools import islice

import msgspec

from pipeline.text.alphabet import DEFAULT
from pipeline.text.choice import FORBIDDEN, UCS2, Form, choose, forms
from pipeline.text.national import alphabet
from pipeline.text.wire import PLAIN, Wire
from schemas.errors import Error

#: Distinct characters at fault that an option names.
_FAULTS = 10


class Option(msgspec.Struct, frozen=True):
    """An encoding that was considered. `characters` (its units) and `count` are None where it cannot hold the text;
    then `faults` names up to ten distinct characters that are at fault, each with the index of the first."""

    encoding: str
    locking: int
    single: int
    characters: int | None
    count: int | None
    faults: tuple[tuple[str, int], ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """Every encoding considered, in the order that decides between equal counts; the place of the one chosen, and why
    in a sentence. Nothing is chosen where the text cannot be sent: `error` says why."""

    options: tuple[Option, ...]
    chosen: int | None
    reason: str
    error: Error | None = None


def explain(text: str, *, wire: Wire = PLAIN, max_parts: int = 10) -> Choice:
    """Every encoding that was considered for `text`, taken as it is, and why one was chosen."""
    septets = DEFAULT.to_septets(text)
    found = choose(text, septets, wire, max_parts)
    distinct = dict.fromkeys(text)
    considered = forms(wire.national)
    options = tuple(_option(form, text, distinct, wire) for form in considered)
    if isinstance(found, Error):
        return Choice(options, None, found.message, found)
    chosen = considered.index(found.form)
    return Choice(options, chosen, _reason(considered, options, chosen))


def _option(form: Form, text: str, distinct: dict[str, None], wire: Wire) -> Option:
    if form.encoding == UCS2:
        faults = (c for c in distinct if FORBIDDEN.match(c))
    else:
        characters = alphabet(form.locking, form.single).characters
        faults = (c for c in distinct if c not in characters)
    if named := tuple((c, text.index(c)) for c in islice(faults, _FAULTS)):
        return Option(form.encoding, form.locking, form.single, None, None, named)
    fit = form.fit(text, wire)
    return Option(form.encoding, form.locking, form.single, fit.length, len(fit.ends))


def _reason(considered: tuple[Form, ...], options: tuple[Option, ...], chosen: int) -> str:
    needs = f"{considered[chosen]} needs {_parts(options[chosen].count)}"
    if chosen == 0:
        return f"every character is in the GSM-7 alphabet: {needs}, and nothing needs fewer"
    fault = ""
    if options[0].faults:
        character, index = options[0].faults[0]
        fault = f"{character!r} (U+{ord(character):04X}) at index {index} is not in the GSM-7 alphabet; "
    # What comes before would have been taken at the same count.
    passed = [(option.count, form) for option, form in zip(options, considered[:chosen], strict=False) if option.count]
    if not passed:
        return f"{fault}{needs}, and nothing needs fewer"
    count, form = min(passed, key=lambda pair: pair[0])
    return f"{fault}{needs}, {form} {_parts(count)}"


def _parts(count: int | None) -> str:
    return "1 part" if count == 1 else f"{count} parts"
