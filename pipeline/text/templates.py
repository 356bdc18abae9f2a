"""Personalised texts: `{{field}}` and `{{field|default}}`, nothing more."""

import re
from collections.abc import Mapping

from schemas.errors import MISSING_FIELD, TOO_MANY_PARTS, Error

#: Placeholders a template may have: more than a text of the most parts has use for, and so few that filling them in for
#: a whole batch takes a moment.
MOST_SLOTS = 1_000

# A field's name is what its sender wrote: a name that nobody gave is told to him, and never sent as it stands.
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([^{}|\s](?:[^{}|\n]{0,62}[^{}|\s])?)[ \t]*(?:\|([^{}]*))?\}\}")


class Template:
    """A text split at its placeholders once, filled in for each recipient.

    `pieces` are what stands around the placeholders, one more than there are `slots`: (field, default or None).
    `fields` names each field once, in order of appearance; it is empty for a plain text.
    """

    __slots__ = ("fields", "pieces", "slots")

    def __init__(self, pieces: list[str], slots: list[tuple[str, str | None]]) -> None:
        self.pieces = pieces
        self.slots = slots
        self.fields: tuple[str, ...] = tuple(dict.fromkeys(field for field, _ in slots))

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read the placeholders of `text`: a name of up to 64 characters between double braces, spaces around it left
        out. Braces of any other shape are text like the rest."""
        pieces: list[str] = []
        slots: list[tuple[str, str | None]] = []
        end = 0
        for found in _PLACEHOLDER.finditer(text):
            pieces.append(text[end : found.start()])
            slots.append((found[1], found[2]))
            end = found.end()
        return cls([*pieces, text[end:]], slots)

    @property
    def excess(self) -> Error | None:
        """Error 3005: more placeholders than there may be. It is for whoever fills in the template to ask."""
        if len(self.slots) <= MOST_SLOTS:
            return None
        return Error(TOO_MANY_PARTS, f"{len(self.slots)} placeholders; there may be {MOST_SLOTS}")

    def masked(self) -> str:
        """The text with stars in place of each field: as many always, so that they do not tell a value's length."""
        return "*****".join(self.pieces)

    def render(self, fields: Mapping[str, str], longest: int | None = None) -> str | Error:
        """The text for one recipient. Values are put in as they are, braces included; an empty value counts as given.

        Errors: 3007 names the field that neither `fields` nor a default gives; 3005 more than `longest` characters,
        counted before they are joined.
        """
        text = [self.pieces[0]]
        for (field, default), piece in zip(self.slots, self.pieces[1:], strict=True):
            value = fields.get(field, default)
            if value is None:
                return Error(MISSING_FIELD, f'field "{field}" is missing and the template gives no default for it')
            text += value, piece
        if longest is not None and (length := sum(map(len, text))) > longest:
            return Error(TOO_MANY_PARTS, f"the text would have {length} characters, far too many parts: shorten it")
        return "".join(text)
