"""What a seed sends: requests of every size on both lanes, repeats on purpose, and some that nobody can read."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

#: Seconds for which a message to the carrier without receipts is valid; it is sent among the first.
SHORT_VALIDITY_SECONDS = 20
_FIRST = 0.3
#: Micro-units of credit by account. `poor` cannot pay for all it sends.
CREDIT = {"acme": 10**12, "beta": 10**12, "http": 10**12, "poor": 12_000_000}
#: An account that nobody opened.
UNKNOWN_ACCOUNT = "nobody"
#: Recipients of the largest request.
LARGEST = 3_000

PRIORITY = ".priority"
IDEMPOTENT, BLIND, MUTE = "+39333", "+3461", "+3361"  # prefixes, by the routes the carriers `sure`, `blind`, `mute`
_POISON = (b"\xff\xfe\x00", b'{"account": "acme", ', b"[1, 2]", b'{"recipients": ["+393331234567"], "message": "x"}')
_TEXTS = ("Hello", "Your code is 123456", "€uro", "A longer text. " * 14)

Key = tuple[str, str]  # account, requestId


@dataclass(frozen=True)
class Sending:
    """One record to produce. `at`: when, as a share of the time of the load. `key`: None where it cannot be read.

    `gateway`: over HTTP instead of Kafka. `partition`: None where any will do.
    """

    at: float
    value: bytes
    key: Key | None
    recipients: int = 0
    lane: str = ""
    partition: int | None = None
    gateway: bool = False


@dataclass
class Plan:
    """A seed's load in the order of time. `messages`: recipients, repeats not counted."""

    seed: int
    messages: int
    sendings: list[Sending] = field(default_factory=list)

    @cached_property
    def sizes(self) -> dict[Key, int]:
        """Recipients of each distinct request."""
        return {sending.key: sending.recipients for sending in self.sendings if sending.key}

    @cached_property
    def poison(self) -> set[bytes]:
        """Records that must become dead letters."""
        return {sending.value for sending in self.sendings if sending.key is None}


def plan(seed: int, messages: int, partitions: int) -> Plan:
    """The load of a seed: always the same, exactly `messages` recipients (repeats not counted)."""
    draw = random.Random(f"load {seed}")
    made = Plan(seed, messages)
    singles, unheard = messages // 8, messages // 50
    for number, size in enumerate(_sizes(draw, messages - singles - unheard)):
        made.sendings.append(_bulk(draw, f"{seed}-bulk-{number}", size, partitions))
    for number in range(singles):
        made.sendings.append(_single(draw, f"{seed}-single-{number}", partitions))
    for number, size in enumerate(_sizes(draw, unheard, largest=40)):
        made.sendings.append(_unheard(draw, f"{seed}-unheard-{number}", size, partitions))
    made.sendings += [_again(draw, sending, partitions) for sending in made.sendings if draw.random() < 0.15]
    made.sendings += [
        Sending(draw.random(), poison, None, partition=draw.randrange(partitions)) for poison in draw.sample(_POISON, 3)
    ]
    made.sendings.sort(key=lambda sending: sending.at)
    return made


def _sizes(draw: random.Random, messages: int, largest: int = LARGEST) -> Iterator[int]:
    """From 1 to `largest` recipients, each order of magnitude as often as the others."""
    while messages:
        size = min(messages, int(math.exp(draw.uniform(0, math.log(largest)))))
        yield size
        messages -= size


def _bulk(draw: random.Random, name: str, size: int, partitions: int) -> Sending:
    account = draw.choices(("acme", "beta", "poor", UNKNOWN_ACCOUNT), (60, 34, 5, 1))[0]
    if account == UNKNOWN_ACCOUNT and size > 100:
        account = "acme"
    prefixes = draw.choices(((IDEMPOTENT,), (BLIND,), (IDEMPOTENT, BLIND)), (45, 25, 30))[0]
    recipients: list[Any] = _numbers(draw, size, prefixes)
    text = draw.choice(_TEXTS)
    if draw.random() < 0.25:
        text = "Hello {{name}}, your code is {{code}}"
        recipients = [{"number": number, "fields": _fields(draw)} for number in recipients]
    request = _request(name, account, recipients, text)
    if draw.random() < 0.03:
        request["options"] = {"dryRun": True}
    return _sending(draw, request, partitions)


def _single(draw: random.Random, name: str, partitions: int) -> Sending:
    gateway = draw.random() < 0.3
    account = "http" if gateway else draw.choices(("acme", "beta", "poor"), (60, 35, 5))[0]
    prefix = IDEMPOTENT if draw.random() < 0.7 else BLIND
    request = _request(name, account, _numbers(draw, 1, (prefix,), bad=0), "Code 987654")
    return replace(_sending(draw, request, partitions), lane=PRIORITY, gateway=gateway)


def _unheard(draw: random.Random, name: str, size: int, partitions: int) -> Sending:
    request = _request(name, "acme", _numbers(draw, size, (MUTE,)), "Hello")
    request["options"] = {"validitySeconds": SHORT_VALIDITY_SECONDS}
    return replace(_sending(draw, request, partitions), at=_FIRST * draw.random())


def _numbers(draw: random.Random, size: int, prefixes: tuple[str, ...], bad: float = 0.02) -> list[str]:
    """Mobile numbers, and among them a few that are none or stand there twice."""
    first = draw.randrange(10**7 - 2 * LARGEST)
    numbers = [f"{prefixes[place % len(prefixes)]}{first + place:07d}" for place in range(size)]
    for place in range(1, size):
        if draw.random() < bad:
            numbers[place] = draw.choice(("+390669812345", "no number", numbers[place - 1]))
    return numbers


def _fields(draw: random.Random) -> dict[str, Any]:
    """Values of the template's fields; now and then one is missing."""
    fields: dict[str, Any] = {"name": draw.choice(("Ada", "Grace", "Žofie")), "code": draw.randrange(10**6)}
    if draw.random() < 0.01:
        del fields["name"]
    return fields


def _request(name: str, account: str, recipients: list[Any], text: str) -> dict[str, Any]:
    return {"requestId": name, "account": account, "sender": "ACME", "recipients": recipients, "message": text}


def _sending(draw: random.Random, request: dict[str, Any], partitions: int) -> Sending:
    partition = draw.randrange(partitions) if draw.random() < 0.5 else None
    key = request["account"], request["requestId"]
    value = json.dumps(request).encode()
    return Sending(draw.random(), value, key, len(request["recipients"]), partition=partition)


def _again(draw: random.Random, first: Sending, partitions: int) -> Sending:
    """The same request once more: at once or later, to any partition, in either lane, or past the gateway."""
    at = first.at if draw.random() < 0.4 else draw.uniform(first.at, 1.0)
    lane = draw.choice(("", PRIORITY))
    gateway = first.gateway and draw.random() < 0.5
    return replace(first, at=at, lane=lane, partition=draw.randrange(partitions), gateway=gateway)
