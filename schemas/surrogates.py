"""JSON that holds halves of characters: what a program makes of a text it cut through an emoji.

Such a half (a lone surrogate, `\\ud83d` without `\\ude00`) is no character and cannot be sent. JSON parsers differ on
it; ours refuses the whole document, so that one bad field would cost every recipient his message. Here it is read all
the same, each half replaced, and it is told where they were.
"""

import json
import re
from typing import Any, NoReturn

import orjson

Path = tuple[str | int, ...]

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(value: bytes) -> tuple[Any, dict[Path, str]] | None:
    """The document with U+FFFD for each half, and by the path of each text that held any which it was ("U+D83D at index
    3"). None where this is not what is wrong with it."""
    if not _ESCAPED.search(value):
        return None
    found: dict[Path, str] = {}
    try:
        mended = _mend(json.loads(value, parse_constant=_no_json), (), found)
        return orjson.loads(json.dumps(mended)), found  # numbers as they are read anywhere else
    except (ValueError, RecursionError):
        return None


def _mend(data: Any, path: Path, found: dict[Path, str]) -> Any:
    if isinstance(data, str):
        half = _HALF.search(data)
        if half is None:
            return data
        found[path] = f"U+{ord(half[0]):04X} at index {half.start()}"
        return _HALF.sub("\ufffd", data)
    if isinstance(data, list):
        return [_mend(item, (*path, place), found) for place, item in enumerate(data)]
    if isinstance(data, dict):
        # a name with a half in it is told under what is left of it
        return {_HALF.sub("\ufffd", name): _mend(item, (*path, name), found) for name, item in data.items()}
    return data


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)
