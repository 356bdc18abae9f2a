"""How a process is, by asking it over HTTP without ever waiting: who looks after many is held up by none."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from urllib.parse import urlsplit

_NOT_YET = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINPROGRESS, errno.ENOTCONN)
_READY_INTERVAL = 0.1  # seconds from an answer to the next question
_QUESTIONS = 12  # whether it lives, within the patience with it
_LONGEST_STEP = 1.0  # seconds that count as silence at most between two looks


class Health:
    """What one life of a process told. `look` often.

    `ready`: it answered `ready_url` with 2xx since `doubt`; without a URL it always is. `ever_ready`: when it first
    was, in monotonic seconds. `silent`: seconds without a 2xx from `live_url`; the time in which nobody looked, because
    the looker itself stood still, does not count.
    """

    def __init__(self, ready_url: str | None, live_url: str | None, patience: float) -> None:
        now = time.monotonic()
        self.ready = ready_url is None
        self.ever_ready: float | None = now if self.ready else None
        self.silent = 0.0
        self._patience = patience
        self._asks_ready = _Asker(ready_url, _READY_INTERVAL) if ready_url else None
        self._asks_live = _Asker(live_url, patience / _QUESTIONS) if live_url else None
        self._heard = False
        self._looked = now

    @property
    def hangs(self) -> bool:
        """Whether it was silent for the whole of its patience; twice that before its first word, as it starts."""
        return self.silent > (self._patience if self._heard else 2 * self._patience)

    def doubt(self) -> None:
        """Ask anew whether it is ready."""
        self.ready = self._asks_ready is None
        if self._asks_ready:
            self._asks_ready.close()

    def look(self) -> None:
        """Take the answers that came, ask what is due."""
        now = time.monotonic()
        if self._asks_ready and not self.ready and self._asks_ready.look(now):
            self.ready = True
            self.ever_ready = self.ever_ready or now
        if self._asks_live:
            self.silent += min(now - self._looked, _LONGEST_STEP)
            if self._asks_live.look(now):
                self.silent, self._heard = 0.0, True
        self._looked = now

    def close(self) -> None:
        for asker in (self._asks_ready, self._asks_live):
            if asker:
                asker.close()


class _Asker:
    """Puts the same question again and again, one at a time. It stays open until it is answered: who is slow, or stood
    still for a while, answers late, and would not catch up with questions put anew meanwhile."""

    def __init__(self, url: str, interval: float) -> None:
        self._url, self._interval = url, interval
        self._question: _Question | None = None
        self._next = 0.0

    def look(self, now: float) -> bool:
        """Whether a 2xx came."""
        if self._question is None:
            if now < self._next:
                return False
            try:
                self._question = _Question(self._url)
            except OSError:  # no such name, no descriptor left
                self._next = now + self._interval
                return False
        answer = self._question.answer()
        if answer is not None:
            self.close()
            self._next = now + self._interval
        return bool(answer)

    def close(self) -> None:
        if self._question:
            self._question.close()
            self._question = None


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class _Question:
    """One GET. It is asked at once; `answer` is None until it is there, then whether it was 2xx. Whose certificate it
    is does not matter: it is asked of a process on this machine, and told nothing."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._received = b""
        secured = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secured else 80))
        family, kind, protocol, _, target = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._failed = self._socket.connect_ex(target) not in (0, *_NOT_YET)
        self._tls = _any_certificate() if secured else None

    def answer(self) -> bool | None:
        if self._failed:
            return False
        try:
            if self._tls:
                # Wrapped once it is connected: before, there is nobody to shake hands with.
                self._socket.getpeername()
                self._socket = self._tls.wrap_socket(self._socket, do_handshake_on_connect=False)
                self._tls = None
            if self._request:
                self._request = self._request[self._socket.send(self._request) :]
            while piece := self._socket.recv(4096):
                self._received += piece
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            return None if error.errno in _NOT_YET else False
        return self._received.partition(b" ")[2][:1] == b"2"  # HTTP/1.1 200 OK

    def close(self) -> None:
        self._socket.close()
