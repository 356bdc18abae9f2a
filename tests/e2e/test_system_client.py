"""The README's sample of the Python client, as it is printed there, against the whole system."""

import asyncio
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from wholesystem import System

from pipeline.client import AsyncClient, Client

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"


def sample() -> str:
    """The code of the section "Python client"."""
    section = README.read_text().partition("\n## Python client\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_sample_of_the_readme_sends_waits_and_prints_the_fate(plain: System, tmp_path: Path) -> None:
    environment = os.environ | {"SMS_URL": plain.rig.system.gateway_url, "SMS_TOKEN": plain.rig.token}
    script = tmp_path / "sample.py"
    script.write_text(sample())
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=90)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "+393331234567 DELIVERED 0.0500 EUR None\n"


def test_what_is_refused_on_the_way_is_told(plain: System) -> None:
    """A country without a route, asynchronously; then the money of both."""

    async def send() -> None:
        async with AsyncClient(plain.rig.system.gateway_url, plain.rig.token) as client:
            message = await client.send("+34612345678", "Hola")
            fate = await client.wait(message.id)
            assert (fate.state, fate.delivered) == ("REJECTED", False)
            assert fate.error is not None
            assert fate.error.code == 3030
            async for one in client.messages(page_size=5):
                if one.id == message.id:
                    break
            else:
                raise AssertionError("it is not among the messages")

    asyncio.run(send())
    with Client(plain.rig.system.gateway_url, plain.rig.token) as client:
        movements = list(itertools.islice(client.statement(page_size=2), 5))
        assert [one.sequence for one in movements] == sorted((one.sequence for one in movements), reverse=True)
        assert client.balance().balance == movements[0].balance
        assert sum(one.amount for one in client.spend("country")) > 0
