"""Ports of this machine that are free to listen on."""

import secrets
import socket

#: Linux gives outgoing connections 32768 and more, others 49152 and more.
_PORTS = (20_000, 32_000)


def free_port() -> int:
    """A port of the loopback interface that is free now, and below those that systems give to outgoing connections: who
    listens there is killed and comes back, and meanwhile no connection must take it."""
    while True:
        port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def refused(host: str, port: int) -> str | None:
    """Why nobody can begin to listen there now; None where one can."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what was just closed is no reason
        try:
            probe.bind(address)
        except OSError as error:
            return error.strerror
    return None
