"""One call: a POST, and what came of it, within 30 seconds whatever the other side does."""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from pipeline.callbacks.transport import Forbidden, Transport

log = structlog.get_logger()

#: The whole call, from the name to the last byte that is read of the answer (HTTP contract).
CALL_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
#: Of an answer only the status matters; so much of the rest is read to keep the connection, a longer one costs it.
_ANSWER_BYTES = 16 * 1024
_LONGEST_PAUSE_SECONDS = 3600.0

#: Answers after which the same call may succeed later (HTTP contract: temporary errors, network issues).
_TEMPORARY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}


class Answer(msgspec.Struct, frozen=True):
    """What came of a call. `status`: None where there was no answer, and `error` says why.

    `temporary`: the same call may succeed later; `alive`: somebody there answered and is not overwhelmed; `refused`:
    we do not call there at all. `pause`: seconds for which the other side asked not to be called.
    """

    status: int | None
    error: str = ""
    temporary: bool = False
    alive: bool = False
    refused: bool = False
    pause: float = 0.0

    @property
    def taken(self) -> bool:
        """Success: any 2xx. The contract says 200; a receiver that answers 204 has understood as well."""
        return self.status is not None and 200 <= self.status < 300


class Caller:
    """Calls through one transport. Keep at most its `connections` calls under way."""

    def __init__(self, transport: Transport, *, https_only: bool = False, seconds: float = CALL_SECONDS) -> None:
        self._transport = transport
        self._https_only = https_only
        self._seconds = seconds
        reach = min(_CONNECT_SECONDS, seconds)
        self._timeouts = {"timeout": {"connect": reach, "pool": seconds, "read": seconds, "write": seconds}}

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.aclose()

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once. Whatever goes wrong is an answer; nothing of what was sent stands in it."""
        if self._https_only and urlsplit(url).scheme != "https":
            return Answer(None, "only https is called (callbacks.https_only)", refused=True)
        try:
            # Not through httpx.Client: it would keep cookies, and one account's would be sent for another's calls.
            request = httpx.Request("POST", url, headers=headers, content=content, extensions=self._timeouts)
            async with asyncio.timeout(self._seconds):
                return await self._send(request)
        except Forbidden as error:
            return Answer(None, f"refused: the URL leads to {error}", refused=True)
        except (TimeoutError, httpx.TimeoutException) as error:
            what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "no answer"
            return Answer(None, f"{what} in time", temporary=True)
        except (httpx.TransportError, OSError) as error:
            return Answer(None, _why(error), temporary=True)
        except (httpx.InvalidURL, ValueError) as error:  # what validation let through
            return Answer(None, f"cannot be called ({type(error).__name__})", refused=True)
        except Exception:  # a bug, of ours or a library's, costs this call and not everybody's
            log.exception("callback.broken", host=urlsplit(url).hostname)
            return Answer(None, "failed here, by no fault of yours", temporary=True)

    async def _send(self, request: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(request)
        try:
            read = 0
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for piece in response.stream:
                read += len(piece)
                if read > _ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        return _judged(response)


def _why(error: BaseException) -> str:
    """What kept a call from an answer, as who runs the other side can mend it."""
    cause: BaseException | None = error
    while cause:
        match cause:
            case socket.gaierror(errno=socket.EAI_AGAIN):
                return "name not resolved (the name server does not answer)"
            case socket.gaierror() | UnicodeError():
                return "name not found"
            case ConnectionRefusedError():
                return "connection refused"
            case ssl.SSLCertVerificationError():
                return f"TLS failed ({cause.verify_message})"
            case ssl.SSLError():
                return f"TLS failed ({cause.reason or 'no handshake'})"
        cause = cause.__cause__ or cause.__context__
    return f"broke off ({type(error).__name__})"


def _judged(response: httpx.Response) -> Answer:
    status = response.status_code
    if 200 <= status < 300:
        return Answer(status, alive=True)
    try:
        error = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        error = f"HTTP {status}"
    if 300 <= status < 400:
        error += "; redirects are not followed"
    temporary = status >= 500 or status in _TEMPORARY
    return Answer(status, error, temporary, alive=not temporary, pause=_pause(response.headers.get("retry-after")))


def _pause(retry_after: str | None) -> float:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3); 0 without one."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_PAUSE_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year, or a zone, beyond what datetime holds
        return 0.0
    if moment.tzinfo is None:  # "-0000", UTC of unknown origin
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_PAUSE_SECONDS)
