"""Which encodings were considered for a text, why one was chosen, and why a text makes several parts."""

from itertools import islice
from typing import Protocol

import msgspec

from pipeline.text.alphabet import DEFAULT
from pipeline.text.choice import FORBIDDEN, SEPTETS_ALONE, UCS2, Form, choose, forms
from pipeline.text.lookalikes import LOOKALIKES
from pipeline.text.national import alphabet
from pipeline.text.wire import PLAIN, Wire
from schemas.errors import MULTIPLE_PARTS, Error

#: Distinct characters at fault that an option names.
_FAULTS = 10
#: Those that an alert names, and the places of each.
_NAMED, _PLACES = 5, 3


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


class Measure(Protocol):
    """What a text was found to cost."""

    @property
    def encoding(self) -> str: ...
    @property
    def characters(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def locking(self) -> int: ...
    @property
    def single(self) -> int: ...


def several(text: str, measured: Measure) -> Error:
    """Error 3008 of a text that makes several parts where only one is wanted: the characters outside GSM-7 that made
    it so, each with its places (in code points), or by how much it is too long; and what to do."""
    room = Form(measured.encoding, measured.locking, measured.single).alone
    over = measured.characters - room
    message = (
        f"ALERT: the text needs {measured.count} parts ({measured.characters} characters in {measured.encoding}, one "
        f"part holds {room}) and options.failOnMultipleMessages is set"
    )
    advice = f"shorten it by {over}, or unset the option"
    places: dict[str, list[int]] = {}
    for character, index in DEFAULT.outside(text) if measured.encoding == UCS2 else ():
        places.setdefault(character, []).append(index)
    if places:
        named = ", ".join(_at(character, found) for character, found in islice(places.items(), _NAMED))
        more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
        replace = "replace them" + (", set options.transliterate" if places.keys() <= LOOKALIKES.keys() else "")
        message += f"; not in the GSM-7 alphabet, of which one part holds {SEPTETS_ALONE}: {named}{more}"
        advice = f"{replace}, {advice}"
    elif measured.encoding != UCS2 and (twice := dict.fromkeys(c for c in text if c in DEFAULT.extension)):
        message += f"; these count twice: {' '.join(twice)}"
    return Error(MULTIPLE_PARTS, f"{message}: {advice}")


def _at(character: str, found: list[int]) -> str:
    listed = ", ".join(map(str, found[:_PLACES])) + ("…" if len(found) > _PLACES else "")
    return f"{character!r} (U+{ord(character):04X}) at index {listed}"


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
