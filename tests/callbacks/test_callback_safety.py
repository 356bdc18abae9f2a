"""What is called and what is not: addresses, names that lie, redirects, answers without end."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from receiving import Receiver

from pipeline.callbacks import caller
from pipeline.callbacks.addresses import Policy
from pipeline.callbacks.caller import Answer, Caller
from pipeline.callbacks.transport import Resolve, Transport, resolve
from schemas.intake import Callback

PUBLIC = "93.184.215.14"
FORBIDDEN = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2001::1", "2001:0:53aa:64c::1",
    "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1",
    "fe80::1%lo", "fec0::1", "ff02::1", "not an address", "",
]  # fmt: skip
ALLOWED = [
    PUBLIC, "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.169.0.1",
    "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e", "::ffff:1.1.1.1", "64:ff9b::101:101",
    "2002:101:101::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_no_public_hosts(address: str) -> None:
    assert not Policy().permits(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_addresses_of_public_hosts(address: str) -> None:
    assert Policy().permits(address)


@given(st.ip_addresses())
def test_nothing_is_permitted_that_python_calls_private(address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        carried = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        assert not Policy().permits(str(address)) or (carried is not None and Policy().permits(str(carried)))


def test_what_the_configuration_allows() -> None:
    policy = Policy(["127.0.0.0/8", "fd00::/8"])
    assert policy.permits("127.0.0.1")
    assert policy.permits("::ffff:127.0.0.1")
    assert policy.permits("fd00::1")
    assert not policy.permits("10.0.0.1")
    assert not policy.permits("::1")


def post(url: str, *, allow: tuple[str, ...] = ("127.0.0.0/8",), resolve: Resolve = resolve, **more) -> Answer:
    """What comes of one call."""
    seconds, tls = more.pop("seconds", 5.0), more.pop("tls", None)

    async def work() -> Answer:
        caller = Caller(Transport(Policy(allow), 4, resolve=resolve, tls=tls), seconds=seconds, **more)
        try:
            return await caller.post(url, b"{}", {"content-type": "application/json"})
        finally:
            await caller.close()

    return asyncio.run(work())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_nobody_is_called_on_this_machine_however_it_is_written(receiver: Receiver, host: str) -> None:
    answer = post(receiver.url(host=host), allow=())
    assert (answer.status, answer.taken) == (None, False)
    assert not receiver.heard


def test_a_name_that_changes_its_mind(receiver: Receiver) -> None:
    """DNS rebinding: whatever the name said before, the address connected to is the one that was judged."""
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else [PUBLIC]

    assert rebinding("rebind.example", receiver.port) == [PUBLIC]  # as a check at the door would see it
    answer = post(receiver.url(host="rebind.example"), allow=(), resolve=rebinding)
    assert (answer.refused, "public Internet" in answer.error) == (True, True)
    assert len(asked) == 2
    assert not receiver.heard


def test_one_forbidden_address_among_others_is_enough(receiver: Receiver) -> None:
    answer = post(receiver.url(host="both.example"), allow=(), resolve=lambda host, port: [PUBLIC, "127.0.0.1"])
    assert answer.refused


def test_the_judged_address_is_connected_to_under_the_name(receiver: Receiver) -> None:
    answer = post(receiver.url(host="client.example"), resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert answer.taken
    assert receiver.heard[0].headers["host"] == f"client.example:{receiver.port}"


def test_tls_is_asked_for_the_name() -> None:
    """Server Name Indication carries the URL's host; the certificate is checked against it."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda ssl_socket, name, _: names.append(name)
    with served(lambda connection: context.wrap_socket(connection, server_side=True)) as port:
        answer = post(f"https://client.example:{port}/", resolve=lambda host, port: ["127.0.0.1"])
    assert (answer.taken, answer.temporary) == (False, True)
    assert names == ["client.example"]


def _unknown(host: str, port: int) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _no_server(host: str, port: int) -> list[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("resolve", "error"),
    [
        (_unknown, "name not found"),
        (lambda host, port: [], "name not found"),
        (_no_server, "name not resolved (the name server does not answer)"),
        (lambda host, port: ["127.0.0.1"], "connection refused"),
        (lambda host, port: ["127.0.0.2", "127.0.0.1"], "connection refused"),
    ],
)
def test_why_nobody_was_reached_is_told_apart(resolve: Resolve, error: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = post(f"http://client.example:{closed.getsockname()[1]}/", resolve=resolve)
    assert (answer.error, answer.temporary) == (error, True)


def test_what_is_wrong_with_tls_is_told(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=client.example"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(lambda connection: context.wrap_socket(connection, server_side=True)) as port:
        answer = post(f"https://client.example:{port}/", resolve=lambda host, port: ["127.0.0.1"])
    assert (answer.error, answer.temporary) == ("TLS failed (self-signed certificate)", True)
    with served(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        answer = post(f"https://client.example:{port}/", resolve=lambda host, port: ["127.0.0.1"])
    assert answer.error.startswith("TLS failed (") and answer.temporary


def test_a_redirect_is_an_answer(receiver: Receiver) -> None:
    with Receiver() as inside:
        receiver.answer = lambda heard, number: 307
        receiver.answer_headers = {"location": inside.url()}
        answer = post(receiver.url())
        assert (answer.status, answer.taken, answer.temporary) == (307, False, False)
        assert "redirects" in answer.error
        assert not inside.heard


@pytest.mark.parametrize(("status", "taken", "temporary"), [
    (200, True, False), (204, True, False), (299, True, False), (400, False, False), (404, False, False),
    (408, False, True), (410, False, False), (425, False, True), (429, False, True), (500, False, True),
    (502, False, True), (503, False, True), (599, False, True),
])  # fmt: skip
def test_what_a_status_means(receiver: Receiver, status: int, taken: bool, temporary: bool) -> None:
    receiver.answer = lambda heard, number: status
    receiver.answer_body = b"" if status == 204 else b"ok"
    answer = post(receiver.url())
    assert (answer.status, answer.taken, answer.temporary) == (status, taken, temporary)


def test_the_other_side_may_ask_for_a_pause(receiver: Receiver) -> None:
    receiver.answer = lambda heard, number: 429
    beyond = [("Mon, 16 Nov 99999999999 13:32:02 +0000", 0), ("Mon, 16 Nov 2026 13:32:02 +99999999999999999999", 0)]
    for told, meant in (("120", 120), ("999999", 3600), ("9" * 5000, 3600), ("soon", 0), ("-1", 0), *beyond):
        receiver.answer_headers = {"retry-after": told}
        assert post(receiver.url()).pause == meant


@contextmanager
def served(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that does as told with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    talk(connection)
                except (OSError, ValueError):
                    pass
                finally:
                    connection.close()

        threading.Thread(target=work, daemon=True).start()
        yield server.getsockname()[1]


def drip(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(100):
        time.sleep(0.1)
        connection.sendall(b".")


def silence(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(3)


def headers_without_end(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x-more: " + b"x" * 1000 + b"\r\n")


def nonsense(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize("talk", [drip, silence])
def test_a_call_ends_in_time(talk) -> None:
    with served(talk) as port:
        began = time.monotonic()
        answer = post(f"http://127.0.0.1:{port}/", seconds=1.0)
    assert (answer.status, answer.temporary, answer.error) == (None, True, "no answer in time")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("talk", [headers_without_end, nonsense, socket.socket.close])
def test_what_is_no_answer_is_a_failure(talk) -> None:
    with served(talk) as port:
        answer = post(f"http://127.0.0.1:{port}/")
    assert (answer.status, answer.temporary) == (None, True)


def test_a_large_answer_is_read_to_its_bound_only() -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    with served(flood) as port:
        assert post(f"http://127.0.0.1:{port}/").taken
    assert sum(sent) < 32 * 1024 * 1024  # what fits into the sockets' buffers on the way


def test_only_https_where_that_is_configured(receiver: Receiver) -> None:
    assert post(receiver.url(), https_only=True).refused
    assert not receiver.heard


@pytest.mark.parametrize("url", [
    "ftp://client.example/", "file:///etc/passwd", "gopher://client.example/", "//client.example/", "client.example",
    "https://user@client.example/", "https://user:secret@client.example/", "https://client.example/a b",
    "https://client.example\\@evil.example/", "https://client.example/\r\nx", "https://", "", "x" * 3000,
])  # fmt: skip
def test_urls_that_are_not_taken(url: str) -> None:
    with pytest.raises(ValidationError) as found:
        Callback.model_validate({"url": url})
    assert found.value.errors()[0]["loc"] == ("url",)


@pytest.mark.parametrize("headers", [
    {"Host": "x"}, {"content-length": "5"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"},
    {"Webhook-Signature": "v1,x"}, {"Proxy-Authorization": "x"}, {"a b": "x"}, {"a:": "x"}, {"": "x"}, {"é": "x"},
    {"x": "a\r\nHost: evil"}, {"x": "a\nb"}, {"x": "\0"}, {"x": "é"}, {"x": "a" * 2001},
    {f"x{n}": "" for n in range(33)},
])  # fmt: skip
def test_headers_that_are_not_taken(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as found:
        Callback.model_validate({"url": "https://client.example/", "headers": headers})
    assert found.value.errors()[0]["loc"] == ("headers",)


def test_headers_of_the_contract_are_taken() -> None:
    headers = {"session_id": "9834r5fh589494", "Authorization": "Bearer abc", "X-Empty": ""}
    assert Callback.model_validate({"url": "http://client.example:8080/a?b=c#d", "headers": headers}).headers == headers


def test_a_bug_costs_one_call_and_not_the_process(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(told: str | None) -> float:
        raise LookupError

    receiver.answer = lambda heard, number: 503
    monkeypatch.setattr(caller, "_pause", broken)
    answer = post(receiver.url())
    assert (answer.status, answer.temporary, answer.refused) == (None, True, False)
