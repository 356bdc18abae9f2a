"""How the version after this one writes: every array has an element more at its end."""

from typing import Any

import msgspec

#: What an array ends with that this version wrote.
NEWS = "news"


def grown(value: Any) -> Any:
    """The same in plain values, each struct with what is new in it."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = [grown(getattr(value, name)) for name in value.__struct_fields__]
        return [*([tag] if tag else []), *fields, NEWS]
    if isinstance(value, dict):
        return {key: grown(found) for key, found in value.items()}
    return [grown(found) for found in value] if isinstance(value, list | tuple | set) else value


def encode(value: Any) -> bytes:
    return msgspec.msgpack.encode(grown(value))
