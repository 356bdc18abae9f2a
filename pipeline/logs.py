"""How the project logs: lines for a person at a terminal, JSON elsewhere, and nothing in them that is not theirs.

Secrets never stand in a log. Phone numbers and texts of messages do not either, unless the configuration says so: a
number keeps its first and last digits, a text its length.
"""

import asyncio
import atexit
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from pipeline.config_gateway import Logging

#: The request that is worked on, where there is one; told in each line.
trace: ContextVar[str] = ContextVar("trace", default="")

_SECRET = re.compile(r"(smsp_|whsec_)[A-Za-z0-9+/=_-]{8,}")
#: E.164 as we write it. Digits without a plus may be anything; under a key that says what they are, they are a number.
_NUMBER = re.compile(r"(\+|%2[Bb])([1-9]\d{2})\d{2,10}(\d{2})(?!\d)")
_DIGITS = re.compile(r"()(\d{3})\d{2,10}(\d{2})(?!\d)")
_NUMBER_KEYS = frozenset({"number", "recipient", "recipients", "to", "msisdn"})
#: What may hold the text of a message: itself, or a record that could not be read.
_TEXT_KEYS = frozenset({"text", "message", "body", "value", "otp"})

#: How long a line may wait for others.
GATHER_SECONDS = 0.1

_wanted = Logging()
_gathering = False


def mask(text: str, *, is_number: bool = False) -> str:
    """`text` without secrets and, unless they are wanted, without whole phone numbers."""
    if "_" in text:
        text = _SECRET.sub(r"\1***", text)
    if not _wanted.mask_numbers:
        return text
    if "+" in text or "%2" in text:
        text = _NUMBER.sub(r"\1\2***\3", text)
    return _DIGITS.sub(r"\1\2***\3", text) if is_number else text


class Gathered:
    """Information that comes by the thousand a second: lines of the same form, written together. One by itself takes as
    long as a tenth of a request. Nothing in them is masked, so give only what is the program's own.

    Where people watch, and where logging is as it was before `configure`, each line is written by itself.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        atexit.register(self.write)

    def info(self, event: str, **fields: Any) -> None:
        """A line, written within GATHER_SECONDS. Call it in a running loop."""
        if not _gathering:
            structlog.get_logger().info(event, **fields)
            return
        fields |= {"event": event, "level": "info", "timestamp": datetime.now(UTC)}
        if name := trace.get():
            fields["trace"] = name
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.write)
        self._lines.append(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))

    def write(self) -> None:
        """Write what there is."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write(b"".join(lines).decode())
            sys.stderr.flush()


def choose(wanted: Logging) -> None:
    """What this process masks from now on. Until it is told, everything."""
    global _wanted
    _wanted = wanted


def configure(level: int) -> None:
    """Log to standard error from now on, our own lines and those of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    global _gathering
    people = sys.stderr.isatty()
    _gathering = not people and level <= logging.INFO
    renderer = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            masked,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a character, a number of more than 64 bits
        return json.dumps(event, default=repr)


def masked(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that masks, and names the request."""
    for key, value in event.items():
        if isinstance(value, (str, bytes, list, tuple, dict)):
            event[key] = _masked(key, value)
    if name := trace.get():
        event["trace"] = name
    return event


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(name, one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(key, one) for one in value]
    if not isinstance(value, (str, bytes)):
        return value
    if key in _TEXT_KEYS and _wanted.mask_text:
        return f"({len(value)} {'bytes' if isinstance(value, bytes) else 'characters'})"
    text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
    return mask(text, is_number=key in _NUMBER_KEYS)


class _Formatter(logging.Formatter):
    """Of other people's loggers: what they write, and their tracebacks, is masked as text is."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
