"""The simulated carrier as a process."""

import logging
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from pipeline.carriers.simulator.app import create_app
from pipeline.carriers.simulator.behaviour import Behaviour
from pipeline.carriers.simulator.journal import Journal
from pipeline.carriers.simulator.receipts import Receipts
from pipeline.carriers.simulator.stats import Stats

#: Clients close idle connections first, so that none is closed under a request.
KEEP_ALIVE_SECONDS = 75
#: Requests under way get this long at SIGTERM.
DRAIN_SECONDS = 5


def run(
    host: str,
    port: int,
    behaviour: Behaviour,
    journal_path: Path,
    receipts_url: str | None = None,
    secret: str | None = None,
    *,
    token: str | None = None,
    announce: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way and exit 0. Call it in the main thread.

    `port` 0 takes a free one; `announce` prints `ready simulator=http://host:port` when it listens. Receipts not
    taken by then are lost. Raises OSError where the address or the journal cannot be used.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again after its shutdown
        signal.signal(number, lambda *_: sys.exit(0))
    stats = Stats()
    with Journal(journal_path) as journal, socket.create_server((host, port), backlog=1024) as listener:
        app = create_app(behaviour, journal, Receipts(receipts_url, secret, stats), stats, token)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        logging.getLogger("uvicorn.error").addFilter(_not_a_cut)
        address = f"http://{host}:{listener.getsockname()[1]}"
        _Server(config, f"ready simulator={address}\n" if announce else "").run(sockets=[listener])


class _Server(uvicorn.Server):
    """Writes `greeting` once it listens."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(self._greeting)
        sys.stdout.flush()


def _not_a_cut(record: logging.LogRecord) -> bool:
    """Leave out uvicorn's complaint about responses cut on purpose."""
    return "without completing response" not in record.getMessage()
