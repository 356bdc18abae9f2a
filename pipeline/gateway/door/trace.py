"""The name of the request that is worked on: the client's (`X-Request-Id`) or ours, told in the answer, in problems
(`trace`) and in every log line."""

import re
import secrets

from pipeline.logs import trace

HEADER = b"x-request-id"
_VALID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}").fullmatch


def begin(headers: list[tuple[bytes, bytes]]) -> str:
    """Name the request of these headers, for this task. What is not 1 to 128 harmless characters is not taken."""
    given = next((value for name, value in headers if name == HEADER), b"")
    name = given.decode("ascii") if _VALID(given) else secrets.token_hex(8)
    trace.set(name)
    return name
