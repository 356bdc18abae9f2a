"""Clients that are slow, many, or no HTTP clients at all, against a gateway that has little patience."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import broker
import httpx
import pytest
from serving import TOKENS, Gateway, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord
from pipeline.config import ConfigError, Settings
from pipeline.config import Gateway as GatewaySettings
from pipeline.gateway.server import server
from pipeline.ops.health import Health
from pipeline.tokens import hash_token
from schemas import errors

ONE = {"recipient": "+393331234567", "message": "Hello"}
PATIENCE = 1.0
AUTHORIZED = f"Host: x\r\nAuthorization: Bearer {TOKENS['acme']}\r\n"


@contextmanager
def gateway_with(kafka: str, directory, **gateway) -> Iterator[Gateway]:
    settings = configured(kafka, directory)
    settings = settings.model_copy(update={"gateway": GatewaySettings(port=0, **gateway)})
    broker.create_topics(settings)
    names = ("acme", "globex")
    put_accounts(settings, *(AccountRecord(n, "2026-11-22T10:00:00.000Z", [hash_token(TOKENS[n])]) for n in names))
    with serving(settings) as found:
        eventually(lambda: found.http.get("/health/ready").status_code == 200)
        yield found


@pytest.fixture(scope="module")
def hasty(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_with(kafka, tmp_path_factory.mktemp("hasty"), client_seconds=PATIENCE) as found:
        yield found


def connect(gateway: Gateway, begin: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=20)
    sock.sendall(begin)
    return sock


def answer(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def told(received: bytes) -> tuple[int, dict]:
    """Status and body of the one answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert received.count(b"HTTP/1.1") == 1, received
    return int(head.split()[1]), json.loads(body)


def test_many_slow_connections_are_closed_while_others_are_served(hasty):
    """`make slow` has 10,000 of them, which is more than their own account may have at a time: it is told so."""
    number, script = int(os.environ.get("SMS_TEST_SLOW", "1500")), Path(__file__).with_name("slow_clients.py")
    argv = [sys.executable, str(script), hasty.url.rpartition(":")[2], str(number), TOKENS["globex"]]
    took = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as slow, hasty.as_("acme") as client:
        try:
            while slow.poll() is None:
                began = time.perf_counter()
                assert client.post("/messages", json=ONE).status_code == 201
                took.append(time.perf_counter() - began)
        finally:
            slow.kill()
        assert slow.stdout
        ends = json.loads(slow.stdout.read().splitlines()[-1])
    took.sort()
    print(number, ends, f"{len(took)} good ones: p50 {took[len(took) // 2]:.4f} s, most {took[-1]:.3f} s")
    assert took[len(took) * 95 // 100] < 1.0
    assert ends.pop("seconds") < 20 * PATIENCE
    assert set(ends) <= {"408", "429", "closed"} and sum(ends.values()) == number
    assert ends["408"] + ends.get("429", 0) >= number * 4 // 6  # whoever had begun is told
    assert ends.get("429", 0) <= max(0, number // 6 - GatewaySettings().concurrent_requests_per_token)


def test_a_drip_is_too_slow_and_steady_is_not(hasty):
    def drip(piece: bytes, pause: float, times: int) -> int:
        with connect(hasty, f"POST /messages HTTP/1.1\r\n{AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n".encode()) as s:
            try:
                for _ in range(times):
                    s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                    time.sleep(pause)
                s.sendall(b"2\r\n{}\r\n0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            return int(s.recv(65536).split()[1])

    with ThreadPoolExecutor() as pool:
        dripping, steady = pool.submit(drip, b" ", 0.1, 40), pool.submit(drip, b" " * 400, 0.2, 12)
        assert dripping.result() == 408
        assert steady.result() == 422  # it was heard to its end


GET = b"GET /balance HTTP/1.1\r\nHost: x\r\n"
CHUNKED = f"POST /messages HTTP/1.1\r\n{AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /messages/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, errors.HEAD_TOO_LARGE),
        (b"GET /messages/" + b"a" * 60_000, 431, errors.HEAD_TOO_LARGE),
        (GET + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n", 431, errors.HEAD_TOO_LARGE),
        (GET + b"X-A: " + b"a" * 60_000, 431, errors.HEAD_TOO_LARGE),
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(5000)) + b"\r\n", 431, errors.HEAD_TOO_LARGE),
        (b"\r\n" * 20_000, 431, errors.HEAD_TOO_LARGE),
        (CHUNKED + b"1;" + b"a" * 600_000, 431, errors.HEAD_TOO_LARGE),
        (CHUNKED + b"1\r\na\r\n0\r\nX-A: " + b"a" * 600_000, 431, errors.HEAD_TOO_LARGE),
        (CHUNKED + b"zz\r\n", 400, errors.MALFORMED_REQUEST),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, errors.MALFORMED_REQUEST),
        (b"GET /a b c HTTP/1.1\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (GET + b"X-A: a\x00b\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (b"GET /messages/a%00b HTTP/1.0\r\n\r\n", 400, errors.MALFORMED_REQUEST),
        (b"GET /messages?a=%00 HTTP/1.0\r\n\r\n", 400, errors.MALFORMED_REQUEST),
    ],
)
def test_what_is_no_request_is_told_so_and_closed(hasty, sent, status, code):
    with connect(hasty) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(sent)
        found, body = told(answer(sock))
    assert (found, body["status"], body["code"]) == (status, status, code), body


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/messages/..%2f..%2fetc", "/%0d%0aSet-Cookie:x", "/messages/%ff"]
)
def test_paths_lead_nowhere_else_and_into_no_header(hasty, path):
    request = f"GET {path} HTTP/1.0\r\n{AUTHORIZED}\r\n".encode()
    with connect(hasty, request) as sock:
        received = answer(sock)
    status, _ = told(received)
    assert status == 404
    assert b"set-cookie" not in received.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize(
    "head",
    [
        f"POST /messages HTTP/1.1\r\n{AUTHORIZED}Content-Length: 1000000000\r\n\r\n",
        f"POST /messages HTTP/1.1\r\n{AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n",
        "POST /carriers/sim/receipts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    ],
)
def test_a_body_of_a_gigabyte_is_refused_and_the_client_hears_it(hasty, head):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with connect(hasty, head.encode()) as sock:
        sent = 0
        sock.settimeout(0.01)
        heard = b""
        while not heard and sent < 1_000_000_000:
            try:
                sent += sock.send(chunk)
                heard = sock.recv(65536)
            except TimeoutError:
                continue
        status, body = told(heard)
    assert (status, body["code"]) == (413, errors.TOO_LARGE)
    assert sent < 20_000_000


def test_a_long_body_after_a_refusal_is_not_listened_to_for_ever(hasty):
    with connect(hasty, b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n") as sock:
        eventually(lambda: sock.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 401")
        began, sent = time.monotonic(), 0
        with pytest.raises(OSError):
            while time.monotonic() < began + 15:
                sent += sock.send(b" " * 65536)
                time.sleep(0.001)


def test_pipelined_requests_are_answered_in_order(hasty):
    with connect(hasty, GET + b"\r\n" + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as sock:
        received = answer(sock)
    assert [int(part.split()[0]) for part in received.split(b"HTTP/1.1 ")[1:]] == [401, 200]


def test_who_takes_no_answer_is_dropped(hasty):
    with connect(hasty) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(1)
        with suppress(OSError):
            for _ in range(3000):
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        dropped = 'sms_gateway_connections_closed_total{reason="takes no answer"}'
        eventually(lambda: dropped in hasty.http.get("/metrics").text)


def test_another_protocol_is_asked_for_in_vain(hasty):
    upgrade = f"{AUTHORIZED}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with connect(hasty, f"GET /balance HTTP/1.1\r\n{upgrade}".encode()) as sock:
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    with connect(hasty, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") as sock:
        assert told(answer(sock))[0] == 400


def test_where_there_are_too_many_connections_the_slow_ones_give_way(kafka, tmp_path):
    with gateway_with(kafka, tmp_path, connections=40) as gateway, ExitStack() as stack:
        for _ in range(3):
            for _ in range(60):
                stack.enter_context(connect(gateway, b"POST /mess"))
            with gateway.as_("acme") as client:
                assert client.post("/messages", json=ONE).status_code == 201
        text = gateway.http.get("/metrics").text
        assert 'sms_gateway_connections_closed_total{reason="full"}' in text


def test_a_process_that_is_full_of_requests_says_so_and_stays_alive(kafka, tmp_path):
    with gateway_with(kafka, tmp_path, concurrent_requests=1, concurrent_requests_per_token=1) as gateway:
        guard = gateway.server.config.app.app.state.services.guard
        guard.active += 1
        refused = gateway.as_("acme").get("/balance")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert gateway.http.get("/health/live").status_code == 200
        guard.active -= 1
        assert gateway.as_("acme").get("/balance").status_code == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("tls")
    certfile, keyfile = directory / "cert.pem", directory / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(keyfile), "-out", str(certfile)]
    subprocess.run(argv, check=True, capture_output=True)
    return certfile, keyfile


def test_over_tls_and_only_from_1_2_on(kafka, tmp_path, certificate):
    certfile, keyfile = certificate
    with gateway_with_tls(kafka, tmp_path, certfile, keyfile) as (gateway, client):
        answered = client.post("/messages", json=ONE, headers={"Authorization": f"Bearer {TOKENS['acme']}"})
        assert answered.status_code == 201
        assert "max-age" in answered.headers["strict-transport-security"]
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(connect(gateway))
        with connect(gateway, b"GET / HTTP/1.0\r\n\r\n") as plain:
            assert b"200" not in answer(plain)
        supervisor = Health(f"{client.base_url}/health/ready", f"{client.base_url}/health/live", 5)
        eventually(lambda: supervisor.look() or supervisor.ready)
        supervisor.close()


@contextmanager
def gateway_with_tls(kafka: str, directory, certfile, keyfile):
    settings = configured(kafka, directory)
    chosen = GatewaySettings(port=0, tls_certfile=certfile, tls_keyfile=keyfile)
    settings = settings.model_copy(update={"gateway": chosen})
    broker.create_topics(settings)
    put_accounts(settings, AccountRecord("acme", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["acme"])]))
    with serving(settings) as found:
        url = found.url.replace("http://", "https://")
        with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=certfile), timeout=30) as client:
            eventually(lambda: client.get("/health/ready").status_code == 200)
            yield found, client


def test_a_certificate_that_cannot_be_used_is_told(tmp_path, certificate):
    certfile, keyfile = certificate
    for cert, key in ((keyfile, keyfile), (certfile, certfile), (tmp_path / "none.pem", keyfile)):
        with pytest.raises(ConfigError, match=r"gateway\.tls_certfile"):
            server(Settings(gateway=GatewaySettings(tls_certfile=cert, tls_keyfile=key)))
    with pytest.raises(ValueError, match="both, or neither"):
        GatewaySettings(tls_certfile=certfile)
