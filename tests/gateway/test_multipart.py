import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gateway.batches.multipart import Malformed, Multipart, boundary_of


async def pieces(body: bytes, step: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), step):
        yield body[at : at + step]


def read(body: bytes, boundary: bytes, step: int = 7) -> list[tuple[str, str, str, bytes]]:
    async def work() -> list[Any]:
        parts = Multipart(pieces(body, step), boundary)
        found = []
        while part := await parts.part():
            found.append((*part, b"".join([data async for data in parts.data()])))
        return found

    return asyncio.run(work())


@given(st.binary(max_size=200), st.binary(max_size=400), st.integers(1, 100))
def test_what_a_client_writes_is_read_whatever_pieces_it_comes_in(one: bytes, other: bytes, step: int) -> None:
    files = {"request": (None, one, "application/json"), "recipients": ("people.csv", other, "Text/CSV")}
    sent = httpx.Request("POST", "http://x", files=files)
    boundary = boundary_of(sent.headers["content-type"])
    assert boundary
    told = [("request", "", "application/json", one), ("recipients", "people.csv", "text/csv", other)]
    assert read(sent.read(), boundary, step) == told


@pytest.mark.parametrize(
    ("written", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; BOUNDARY="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
    ],
)
def test_boundary(written: str, boundary: bytes | None) -> None:
    assert boundary_of(written) == boundary


NAMED = b'--b\r\nContent-Disposition: form-data; filename="f"; name="n"\r\n\r\n'


def test_a_preamble_padding_and_an_epilogue_are_left_out() -> None:
    body = b"hello\r\n" + NAMED.replace(b"--b\r\n", b"--b \t\r\n") + b"data\r\n--b--\r\nbye"
    assert read(body, b"b") == [("n", "f", "", b"data")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary",
        b"x" * 10_000,
        NAMED,
        NAMED + b"data",
        NAMED + b"data\r\n--b",
        NAMED + b"data\r\n--b-",
        NAMED + b"data\r\n--bc\r\n",
        b"--b\r\n\r\ndata\r\n--b--",
        b"--b\r\nContent-Disposition: form-data\r\n\r\ndata\r\n--b--",
        b"--b\r\nX: " + b"y" * 10_000,
    ],
)
def test_what_is_none_or_is_cut_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body, b"b")


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_read_or_malformed(body: bytes, step: int) -> None:
    for data in (body, NAMED + body, NAMED + body + b"\r\n--b--"):
        try:
            read(data, b"b", step)
        except Malformed:
            continue
