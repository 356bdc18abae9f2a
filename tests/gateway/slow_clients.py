"""Slow clients: `python slow_clients.py PORT NUMBER TOKEN`, a process, so that they have descriptors of their own.

Opens all connections, then waits until each is closed. Last line: how each ended, and after how long, as JSON.
"""

import json
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack


def begins(token: str) -> list[bytes]:
    """What a slow client sends before it falls silent: nothing, part of a head, a head without its body."""
    head = f"POST /messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    return [
        b"",
        b"G",
        b"\r\n",
        b"POST /messages HTTP/1.1\r\nHost: x\r\nX-A: b",
        f"{head}Content-Length: 5000\r\n\r\n{{".encode(),
        b"POST /carriers/sim/receipts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{",
    ]


def end(sock: socket.socket) -> str:
    """The status of the answer, `closed` without one."""
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        return "reset"
    return received.split(b" ", 2)[1].decode() if received else "closed"


def main() -> None:
    port, number, kinds = int(sys.argv[1]), int(sys.argv[2]), begins(sys.argv[3])
    with ExitStack() as stack:
        opened = []
        for place in range(number):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            sock.sendall(kinds[place % len(kinds)])
            opened.append(sock)
        began = time.monotonic()
        ends = Counter(end(sock) for sock in opened)
        print(json.dumps({"seconds": time.monotonic() - began, **ends}), flush=True)


if __name__ == "__main__":
    main()
