"""Where a reader sees one character end and the next begin: grapheme clusters (Unicode, UAX #29)."""

import re
from collections.abc import Callable
from itertools import accumulate

import regex

# Letters and signs of the commonest scripts that form no cluster among themselves, looked for first as it is cheap.
_UNCOMMON = re.compile(
    "[^\n\f\r -\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff"
    "\u3000-\u3029\u3030-\u303c\u3041-\u3098\u309b-\u9fff\uac00-\ud7a3\uff01-\uff9d]"
)
# Characters that may form a cluster with a neighbour. A text without them has a border after every character. Prepared
# Hangul syllables join only with letters that are listed; a surrogate pair is one character here.
_JOINING = regex.compile(
    r"\r\n|[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=Regional_Indicator}"
    r"\p{GCB=L}\p{GCB=V}\p{GCB=T}]"
)
# From a border on, two regional indicators are a flag. Said before \X, which counts all those that stand before.
_CLUSTER = regex.compile(r"\p{RI}\p{RI}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*+|\X")


def plain(text: str) -> bool:
    """Whether every character of `text` stands for itself."""
    if _UNCOMMON.search(text) is None:
        return "\r\n" not in text
    return _JOINING.search(text) is None


def borders(text: str, size: Callable[[str], int]) -> list[int]:
    """Where each grapheme cluster of `text` ends, in the units in which `size` measures a cluster."""
    return list(accumulate(map(size, _CLUSTER.findall(text))))
