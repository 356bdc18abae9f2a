"""The gateway as a process."""

import signal
from types import FrameType

import uvicorn

from pipeline.config import Settings
from pipeline.gateway.app import create_app
from pipeline.gateway.publisher import PATIENCE_SECONDS
from pipeline.ops import interpreter

#: Clients keep connections open for tens of seconds; closing later than they do never cuts a request off.
_KEEP_ALIVE_SECONDS = 75


def server(settings: Settings) -> uvicorn.Server:
    """A server that is not running yet; logging is left as it is configured."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.gateway.host,
        port=settings.gateway.port,
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(PATIENCE_SECONDS) + 2,
    )
    return uvicorn.Server(config)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was asked and return. SystemExit where the port is taken."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server raises the signal again after its orderly end; that end is all it was for.
        signal.signal(number, _ended)
    ready = server(settings)
    interpreter.tune()
    ready.run()


def _ended(_: int, __: FrameType | None) -> None:
    """Nothing is left to do."""
