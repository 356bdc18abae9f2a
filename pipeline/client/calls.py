"""A call to the gateway as a value: what is sent, and how its answer is read. Nothing here touches the network."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from pipeline.client.errors import BadAnswer

T = TypeVar("T")

_JSON = "application/json"


class Stream:
    """A body that is sent while it is made. `replayable`: `open` may be called again, and gives the same."""

    def __init__(self, open: Callable[[], Iterator[bytes]], *, replayable: bool) -> None:
        self._open = open
        self._replayable = replayable
        self._begun = False

    @property
    def fresh(self) -> bool:
        """Whether all of it can (still) be sent."""
        return self._replayable or not self._begun

    def __iter__(self) -> Iterator[bytes]:
        """Its chunks, from the first on."""
        for chunk in self._open():
            self._begun = True
            yield chunk


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. `read`: its answer's body as a value; may raise msgspec.MsgspecError.

    `repeatable`: the gateway recognises a repeat, or it changes nothing. `request_id`: what it is recognised by.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream | None = None
    repeatable: bool = True
    request_id: str | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        asked = [(name, one) for name, value in self.query.items() for one in _several(value) if one is not None]
        return f"{self.path}?{urlencode(asked)}" if asked else self.path


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of many; `following` asks for those behind it and is None on the last page."""

    items: list[T]
    following: "Call[Page[T]] | None"


class _Enveloped(msgspec.Struct, Generic[T]):
    data: T


class _Listed(msgspec.Struct, Generic[T], rename="camel"):
    data: list[T]
    next_cursor: str | None = None


def data(of: type[T]) -> Callable[[bytes], T]:
    """Reads a body that has the value in `data`, as every answer has."""
    decoder = msgspec.json.Decoder(_Enveloped[of])  # type: ignore[valid-type]

    def read(body: bytes) -> T:
        return decoder.decode(body).data

    return read


def nothing(_: bytes) -> None:
    """Of an answer without a body."""


def paged(path: str, of: type[T], query: Mapping[str, Any]) -> Call[Page[T]]:
    """The first page of what is listed with cursors."""
    decoder = msgspec.json.Decoder(_Listed[of])  # type: ignore[valid-type]

    def ask(cursor: str | None) -> Call[Page[T]]:
        def read(body: bytes) -> Page[T]:
            found = decoder.decode(body)
            return Page(found.data, ask(found.next_cursor) if found.next_cursor else None)

        return Call("GET", path, read, query={**query, "cursor": cursor})

    return ask(None)


def told(call: Call[T], tell: Callable[[T], Any]) -> Call[Any]:
    """The same call, of whose answer only what `tell` picks is given."""
    return replace(call, read=lambda body: tell(call.read(body)))


def json_body(value: Any) -> dict[str, Any]:
    """What a Call needs to send JSON."""
    return {"body": msgspec.json.encode(value), "headers": {"Content-Type": _JSON}}


def segment(value: str) -> str:
    """A value as one part of a path, whatever is in it."""
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} cannot be asked for")
    return quote(value, safe="")


def new_request_id() -> str:
    """What makes a POST harmless to repeat."""
    return uuid.uuid4().hex


def read_answer(call: Call[T], body: bytes) -> T:
    """The answer's value. Raises BadAnswer."""
    try:
        return call.read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"{call.method} {call.path}: the answer cannot be read: {error}") from error


def _several(value: Any) -> Iterable[Any]:
    """A parameter's values: lists repeat it, truth is written as JSON has it."""
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one).lower() if isinstance(one, bool) else one for one in values]
