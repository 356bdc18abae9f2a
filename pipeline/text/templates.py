"""Personalised texts: `{{field}}` and `{{field|default}}`, nothing more."""

import re
from collections.abc import Mapping

from schemas.errors import MISSING_FIELD, TOO_MANY_PARTS, Error

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z0-9_.-]{1,64})(?:\|([^{}]*))?\}\}")


class Template:
    """A text split at its placeholders once, filled in for each recipient.

    `fields` names each field once, in order of appearance; it is empty for a plain text.
    """

    __slots__ = ("_segments", "_slots", "fields")

    def __init__(self, segments: list[str], slots: list[tuple[int, str, str | None]]) -> None:
        """`segments`: the text in pieces; `slots`: (place in segments, field, default) of those to fill in."""
        self._segments = segments
        self._slots = slots
        self.fields: tuple[str, ...] = tuple(dict.fromkeys(field for _, field, _ in slots))

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read the placeholders of `text`. Braces of any other shape are text like the rest."""
        segments: list[str] = []
        slots: list[tuple[int, str, str | None]] = []
        end = 0
        for found in _PLACEHOLDER.finditer(text):
            segments += text[end : found.start()], ""
            slots.append((len(segments) - 1, found[1], found[2]))
            end = found.end()
        return cls([*segments, text[end:]], slots)

    def render(self, fields: Mapping[str, str], longest: int | None = None) -> str | Error:
        """The text for one recipient. Values are put in as they are, braces included; an empty value counts as given.

        Errors: 3007 names the field that neither `fields` nor a default gives; 3005 more than `longest` characters,
        counted before they are joined.
        """
        segments = self._segments.copy()
        for place, field, default in self._slots:
            value = fields.get(field, default)
            if value is None:
                return Error(MISSING_FIELD, f'field "{field}" is missing and the template gives no default for it')
            segments[place] = value
        if longest is not None and (length := sum(map(len, segments))) > longest:
            return Error(TOO_MANY_PARTS, f"the text would have {length} characters, far too many parts: shorten it")
        return "".join(segments)
