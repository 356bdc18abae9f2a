"""A client's server: real HTTP, behaving as told, and remembering every call."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Heard:
    """One call as it arrived, and what was answered."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Serves on a free port of this machine. `answer`: from what was heard (and its number) to a status."""

    def __init__(self, answer: Callable[[Heard, int], int] = lambda heard, number: 200) -> None:
        self.answer = answer
        self.heard: list[Heard] = []
        self.answer_headers: dict[str, str] = {}
        self.answer_body = b"ok"
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the caller was killed in the middle
                heard = Heard(time.monotonic(), self.path, {k.lower(): v for k, v in self.headers.items()}, body, 0)
                with receiver._lock:
                    receiver._now += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver._now)
                    receiver.heard.append(heard)
                    number = len(receiver.heard)
                try:
                    heard.status = receiver.answer(heard, number)
                    self.send_response(heard.status)
                    for name, value in receiver.answer_headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(receiver.answer_body)))
                    self.end_headers()
                    self.wfile.write(receiver.answer_body)
                finally:
                    with receiver._lock:
                        receiver._now -= 1

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that was killed, or an answer that cuts the connection: nothing to report."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def taken(self) -> list[Heard]:
        """What was answered well."""
        return [heard for heard in list(self.heard) if heard.status == 200]

    def told(self) -> dict[str, list[str]]:
        """The states each message was told with success, in the order of the answers; repeats of one event once."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for heard in self.taken:
            for about in messages(heard):
                found[about["id"]].setdefault(heard.id, about["state"])
        return {message: list(states.values()) for message, states in found.items()}


def messages(heard: Heard) -> list[dict[str, Any]]:
    """The messages a call tells of."""
    body = heard.json
    if body.get("type") == "batch":
        return [event["data"] for event in body["data"]]
    return [body["data"] if "type" in body else body]
