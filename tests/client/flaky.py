"""A real HTTP server that answers as it is told to, one answer after the other, and remembers what it was asked."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """`status` 0: the connection is closed without a word, once the request is read."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"data": {"id": "5f8a2" * 4, "state": "NEW"}})
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Flaky:
    """`replies` are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.replies = [Reply()]
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        flaky = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                try:
                    body = self._chunked() if "Transfer-Encoding" in self.headers else self._sized()
                except ValueError:  # the client broke off in the midst of it
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                flaky.asked.append(Asked(self.command, self.path, headers, body))
                reply = flaky.replies.pop(0) if len(flaky.replies) > 1 else flaky.replies[0]
                if not reply.status:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.encoded)))
                self.end_headers()
                self.wfile.write(reply.encoded)

            def _sized(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _chunked(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests look at `asked`."""

        return Handler
