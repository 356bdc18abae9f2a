"""The gateway as a process."""

import signal
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from pipeline.config import Settings
from pipeline.gateway.app import create_app, front
from pipeline.gateway.door import tls
from pipeline.gateway.door.connections import Connection, Connections
from pipeline.gateway.publisher import PATIENCE_SECONDS
from pipeline.ops import interpreter

#: Clients keep connections open for tens of seconds; closing later than they do never cuts a request off.
_KEEP_ALIVE_SECONDS = 75
_LOOK_SECONDS = 1.0
_TICK_SECONDS = 0.1  # uvicorn's


class Server(uvicorn.Server):
    """A server that looks after its connections."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.connections = connections
        self._ticks = max(1, int(min(_LOOK_SECONDS, connections.seconds / 4) / _TICK_SECONDS))

    async def on_tick(self, counter: int) -> bool:
        if counter % self._ticks == 0:
            self.connections.look()
        return await super().on_tick(counter)


def server(settings: Settings) -> Server:
    """A server that is not running yet; logging is left as it is configured. Raises ConfigError where the certificate
    cannot be used."""
    gateway = settings.gateway
    connections = Connections(gateway)
    context = tls.context(gateway)
    secured: dict[str, Any] = {"ssl_context_factory": lambda *_: context, "loop": "pipeline.gateway.door.tls:loop"}
    config = uvicorn.Config(
        front(create_app(settings), settings),
        host=gateway.host,
        port=gateway.port,
        http=partial(Connection, connections),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # what is no request is counted, not logged: whoever sends it would write our logs
        access_log=False,
        server_header=False,
        proxy_headers=bool(gateway.trusted_proxies),
        forwarded_allow_ips=gateway.trusted_proxies,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(PATIENCE_SECONDS) + 2,
        **(secured if context else {}),
    )
    return Server(config, connections)


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
