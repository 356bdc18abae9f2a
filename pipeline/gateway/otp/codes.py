"""Login codes, pure: how a code comes out of a secret and a nonce, and how tries at it are counted.

A code is nowhere: it is made anew from the secret and the challenge's nonce whenever it is needed. What is known of a
challenge stands on a compacted topic, the same for every gateway; so does each try, and the place of a try there, not
the process that made it, decides how many came before it and whether it is the one that verifies.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

DIGITS = "0123456789"
#: Without what looks alike (0 O, 1 I l), and without vowels, so that a code is no word.
ALPHANUMERIC = "23456789BCDFGHJKMNPQRSTVWXYZ"


class Shape(msgspec.Struct, frozen=True):
    """What a code looks like."""

    length: int = 5
    alphanumeric: bool = False


def code_of(secret: bytes, account: str, recipient: str, nonce: str, shape: Shape) -> str:
    """The code of a challenge: HMAC-SHA256 (RFC 2104) of who and which, taken to the alphabet without bias, octets
    past its last whole multiple being left out. Every code is as likely as any other."""
    alphabet = ALPHANUMERIC if shape.alphanumeric else DIGITS
    size = len(alphabet)
    fair = 256 - 256 % size
    content = msgspec.json.encode([account, recipient, nonce, shape.length, shape.alphanumeric])
    octets = (octet for octet in _stream(secret, content) if octet < fair)
    return "".join(alphabet[next(octets) % size] for _ in range(shape.length))


def _stream(secret: bytes, content: bytes) -> Iterator[int]:
    number = 0
    while True:
        yield from hmac.digest(secret, number.to_bytes(4, "big") + content, hashlib.sha256)
        number += 1


def matches(code: str, given: str) -> bool:
    """Whether what was typed is the code, in constant time; small letters and spaces around do not matter."""
    return hmac.compare_digest(code.encode(), given.strip().upper().encode("utf-8", "replace"))


class Challenge(msgspec.Struct, frozen=True, rename="camel"):
    """A code as the topic has it, under account and recipient. Times in Unix ms.

    `sent`: False where there is no code and only tries are counted, so that nobody can tell the difference. `used`: it
    was verified. `attempts`: tries so far, as the writer knew. `attempt`: set where the record is a try: who asks;
    `matched`: whether the try was right. `at`: when it was written.
    """

    nonce: str
    shape: Shape
    sent: bool
    cached_until: int
    expires_at: int
    at: int
    attempts: int = 0
    used: bool = False
    attempt: str = ""
    matched: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What a try came to."""

    verified: bool
    attempts_left: int


class Challenges:
    """Every challenge that can still be met, from the topic's records in their order.

    All gateways read the same order, so they agree on each verdict: of several tries at once, in however many
    processes, the first right one among the first `most` verifies, and no other. Only where compaction has taken a
    challenge's earlier records does the count rest on what the last writer knew: then each gateway more that was
    writing at that moment may have given one try more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[bytes, Challenge] = OrderedDict()
        self._verdicts: dict[str, Verdict | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes, now: int) -> Challenge | None:
        """The challenge that stands, if it has not expired."""
        found = self._known.get(key)
        return found if found and now < found.expires_at else None

    def expect(self, attempt: str) -> None:
        """Keep the verdict of a try that is about to be written, until it is asked for."""
        self._verdicts[attempt] = None

    def verdict(self, attempt: str) -> Verdict | None:
        """The verdict of a try, asked once; None where it was not read yet."""
        return self._verdicts.pop(attempt, None)

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        if value is None:
            self._known.pop(key, None)
            return
        told = _decode(value)
        before = self.get(key, told.at)
        if before is None:
            before = msgspec.structs.replace(told, attempts=max(told.attempts - 1, 0), used=False)
        if not told.attempt:
            self._stand(key, told if told.nonce != before.nonce else _joined(before, told))
        elif told.nonce == before.nonce:
            self._tried(key, before, told)
        else:  # another code was sent meanwhile
            self._conclude(told.attempt, Verdict(False, self._left(before.attempts)))

    def _tried(self, key: bytes, before: Challenge, told: Challenge) -> None:
        attempts = max(before.attempts + 1, told.attempts)
        verified = told.matched and told.sent and attempts <= self._most and not before.used
        used = before.used or verified or told.used
        self._stand(key, msgspec.structs.replace(before, attempts=attempts, used=used, at=told.at))
        self._conclude(told.attempt, Verdict(verified, self._left(attempts)))

    def _stand(self, key: bytes, challenge: Challenge) -> None:
        self._known[key] = challenge
        self._known.move_to_end(key)
        while (oldest := next(iter(self._known.values()))).expires_at < challenge.at:
            self._known.popitem(last=False)
            if oldest is challenge:
                break

    def _left(self, attempts: int) -> int:
        return max(self._most - attempts, 0)

    def _conclude(self, attempt: str, verdict: Verdict) -> None:
        if attempt in self._verdicts:
            self._verdicts[attempt] = verdict


def _joined(before: Challenge, told: Challenge) -> Challenge:
    """The same code sent once more: what was tried stays tried."""
    attempts, used = max(before.attempts, told.attempts), before.used or told.used
    return msgspec.structs.replace(told, attempts=attempts, used=used)


_decode = msgspec.json.Decoder(Challenge).decode
