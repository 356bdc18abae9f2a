"""What a process shows of itself: `/metrics` for Prometheus, `/health/live` and `/health/ready`, on its own port.

Served by threads of its own, so that it tells of an event loop that is stuck: such a process is not live.
"""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from pipeline.streaming import pulse

#: A loop that beats twice a second and has not for so long is stuck, or the machine is very busy: who asks asks again.
_LONGEST_BEAT_SECONDS = 5.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(host: str, port: int, ready: Callable[[], bool]) -> int:
    """Serve in a daemon thread for as long as the process lives; the port (a free one where 0 is asked for)."""
    prometheus = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = prometheus(environ, start_response)
            return answer
        live = pulse.age() < _LONGEST_BEAT_SECONDS
        if (path == "/health/live" and live) or (path == "/health/ready" and ready()):
            status, body = "200 OK", b"ok\n"
        elif path == "/health/live":
            status, body = "503 Service Unavailable", b"the event loop stands still\n"
        elif path == "/health/ready":
            status, body = "503 Service Unavailable", b"not ready yet\n"
        else:
            status, body = "404 Not Found", b"/metrics, /health/live, /health/ready\n"
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="observe", daemon=True).start()
    return int(server.server_port)
