"""A carrier over HTTP: `POST` of a batch of messages as JSON, an answer message by message (contract "HTTP carrier").

The rule that decides every case: only what surely never left this process is `NotSent`, only what the carrier
itself said is `Answered`, `SlowDown` or `Refused`; all the rest is `Unknown`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from pipeline.carriers.base import (
    Accepted,
    Answered,
    NotSent,
    Outbound,
    Outcome,
    Refused,
    Rejected,
    Result,
    SlowDown,
    Unanswered,
    Unknown,
)
from pipeline.config import ConfigError
from pipeline.config import HttpCarrier as Config
from schemas.errors import CARRIER_REJECTED, CARRIER_UNAVAILABLE, IN_DOUBT, Error

#: An answer for the largest batch (1,000 messages of a few hundred bytes) stays far below.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: Reaching a host takes milliseconds; one that needs longer is better given up for the next carrier.
CONNECT_SECONDS = 3.0
#: Below the 5 s after which many servers close an idle connection: a close that crosses our request leaves it in doubt.
IDLE_SECONDS = 2.0
#: How long the body of a refusal, which only explains, may keep us.
DETAIL_SECONDS = 1.0
DETAIL_CHARACTERS = 200
DEFAULT_PAUSE_SECONDS = 1.0
#: "Retry-After: 0" must not become a tight loop, nor a date in the next century stop the carrier for good.
PAUSE_SECONDS = (0.1, 3600.0)

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_SLOW_DOWN = (429, 503)
#: The request timed out at the carrier, or the same key is still being worked on: its outcome is yet to be told.
_UNDER_WAY = {408, 409, 425}
#: The server points elsewhere without having acted (RFC 9110 section 15.4); 302 and 303 may follow an action.
_MOVED = (301, 307, 308)


class _Message(msgspec.Struct, rename="camel", gc=False):
    reference: str
    sender: str = msgspec.field(name="from")
    number: str = msgspec.field(name="to")
    text: str
    encoding: str
    parts: int
    validity_seconds: int


class _Request(msgspec.Struct):
    messages: list[_Message]


class _CarrierError(msgspec.Struct):
    code: str = ""
    message: str = ""
    permanent: bool = True


class _Result(msgspec.Struct):
    reference: str
    status: str
    id: str = ""
    error: _CarrierError | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


class _AnswerTooLarge(Exception):
    """The carrier's answer passed MAX_ANSWER_BYTES."""


class HttpCarrier:
    """One HTTP carrier with its pool of kept connections. Keep at most `config.connections` submissions under way."""

    def __init__(self, name: str, config: Config) -> None:
        """`config.timeout` bounds a whole submission: the wait for a connection, the sending and the answer.

        Raises ConfigError where the token cannot stand in a header (RFC 6750 section 2.1): sent as it is, the
        HTTP library would quote it in its complaint.
        """
        self.name = name
        self._url = config.url
        self._timeout = config.timeout
        self._token = config.token.get_secret_value() if config.token else None
        if self._token and not all("!" <= character <= "~" for character in self._token):
            raise ConfigError(f"carriers.{name}.token: only visible ASCII characters, no spaces or line breaks")
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(_Answer).decode
        # A wait for the pool, TCP and TLS end one after the other before the whole timeout does: so when that
        # one strikes, sending had begun and the outcome is unknown.
        reach = min(CONNECT_SECONDS, config.timeout / 4)
        self._client = httpx.AsyncClient(
            headers=self._headers(),
            timeout=httpx.Timeout(config.timeout, connect=reach, pool=reach),
            limits=httpx.Limits(
                max_connections=config.connections,
                max_keepalive_connections=config.connections,
                keepalive_expiry=IDLE_SECONDS,
            ),
            follow_redirects=False,
            trust_env=False,  # settings come from the configuration alone
        )

    def _headers(self) -> dict[str, str]:
        # Bytes are read as they come, so that no compressed answer can grow past the bound.
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    async def submit(self, messages: Sequence[Outbound], key: str) -> Outcome:
        """Post the batch once. Errors of the network are outcomes; nothing is repeated here."""
        body = self._encode(_Request([_on_wire(message) for message in messages]))
        headers = {"Idempotency-Key": key}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                if response.is_success:
                    return self._answered(messages, await _read(response))
                return self._refusal(response, await _detail(response))
        except _NEVER_SENT as error:
            return NotSent(self._error(CARRIER_UNAVAILABLE, f"cannot be reached ({type(error).__name__})"))
        except TimeoutError:
            return Unknown(self._error(IN_DOUBT, f"did not answer within {self._timeout:g} s"))
        except _AnswerTooLarge:
            return Unknown(self._error(IN_DOUBT, f"answered more than {MAX_ANSWER_BYTES} bytes"))
        except httpx.HTTPError as error:  # by its kind only: the text of a protocol error may quote our headers
            return Unknown(self._error(IN_DOUBT, f"broke off ({type(error).__name__})"))

    async def close(self) -> None:
        await self._client.aclose()

    def _answered(self, messages: Sequence[Outbound], content: bytes) -> Outcome:
        try:
            answer = self._decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Unknown(self._error(IN_DOUBT, "gave an answer that is not of the contract"))
        found = {result.reference: result for result in answer.results}
        return Answered([self._result(found.get(message.reference)) for message in messages])

    def _result(self, result: _Result | None) -> Result:
        if result is not None and result.status == "accepted":
            return Accepted(result.id)
        if result is not None and result.status == "rejected":
            said = result.error or _CarrierError()
            text = f"refused the message: {said.code[:32]} {said.message[:DETAIL_CHARACTERS]}".rstrip(" :")
            return Rejected(self._error(CARRIER_REJECTED, text, said.permanent))
        return Unanswered()

    def _refusal(self, response: httpx.Response, detail: str) -> Outcome:
        status = response.status_code
        if status in _SLOW_DOWN:
            return SlowDown(_pause(response.headers.get("Retry-After")))
        if self._token:
            detail = detail.replace(self._token, "…")
        text = f"answered HTTP {status} {detail}".rstrip()
        if status in _MOVED:
            return NotSent(self._error(CARRIER_UNAVAILABLE, f"{text}; set its url to the new address"))
        if 400 <= status < 500 and status not in _UNDER_WAY:
            return Refused(self._error(CARRIER_REJECTED, text, permanent=True))
        return Unknown(self._error(IN_DOUBT, text))

    def _error(self, code: int, text: str, permanent: bool = False) -> Error:
        return Error(code, f"carrier {self.name} {text}", permanent)


def _on_wire(message: Outbound) -> _Message:
    return _Message(
        message.reference,
        message.sender,
        message.number,
        message.text,
        message.encoding,
        message.parts,
        message.validity_seconds,
    )


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise _AnswerTooLarge
    return bytes(content)


async def _detail(response: httpx.Response) -> str:
    """The beginning of a refusal's body on one line; "" where it cannot be had, since the status says enough."""
    content = b""
    with suppress(httpx.HTTPError, TimeoutError, _AnswerTooLarge):
        async with asyncio.timeout(DETAIL_SECONDS):
            content = await _read(response)
    return " ".join(content[: 4 * DETAIL_CHARACTERS].decode(errors="replace").split())[:DETAIL_CHARACTERS]


def _pause(retry_after: str | None) -> float:
    """Seconds of a Retry-After header: a number of seconds or an HTTP date (RFC 9110 section 10.2.3)."""
    least, most = PAUSE_SECONDS
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(max(float(text), least), most)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return DEFAULT_PAUSE_SECONDS
    if moment.tzinfo is None:  # "-0000", UTC of unknown origin
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), least), most)
