"""Who is who: batch and message ids, deterministic on replay.

message id = 24 hex digits: 4 bytes Unix seconds, 5 bytes of batch hash, 3 bytes recipient index (its place in the
request). The first 9 bytes are the batch id. The seconds come from the intake record's timestamp, the hash from what
the client sent, never from the clock: replaying a record gives the same ids, so every stage recognises its repeats.
"""

from hashlib import blake2b
from zlib import crc32

BATCH_BYTES = 9
#: Hex digits of a message id that tell the second of its request.
SECOND_DIGITS = 8
_HASH_BYTES = 5


def request_hash(account: str, request_id: str) -> bytes:
    """16 bytes that name a client's request: the same however often and wherever it is repeated.

    No account's name holds a NUL, so that the first one parts it from the id. Who claims a name with one is refused
    later, and must not be taken for another account's request until then.
    """
    person = b"unaccounted" if "\0" in account else b"request"
    written = f"{account}\0{request_id}" if person == b"request" else f"{len(account)}\0{account}{request_id}"
    return blake2b(written.encode("utf-8", "surrogatepass"), digest_size=16, person=person).digest()


def record_hash(topic: str, partition: int, offset: int, timestamp_ms: int, value: bytes) -> bytes:
    """16 bytes that name an intake record whose client gave no request id, by the place where it first stood; its time
    tells it from a record of a topic made anew.

    A replayed record brings its first place in headers, which any client can write. So its bytes are part of its name:
    whoever claims another's place is taken for its repeat only with the very same bytes, and then it is one.
    """
    digest = blake2b(f"{topic}\0{partition}\0{offset}\0{timestamp_ms}\0".encode(), digest_size=16, person=b"record")
    digest.update(value)
    return digest.digest()


def batch_id(request: bytes, slice_number: int, timestamp_ms: int) -> bytes:
    """9 bytes: the batch of one slice of a request. `timestamp_ms` is the intake record's."""
    seconds = min(max(timestamp_ms // 1000, 0), 0xFFFFFFFF)
    digest = blake2b(request + slice_number.to_bytes(4, "big"), digest_size=_HASH_BYTES, person=b"slice").digest()
    return seconds.to_bytes(4, "big") + digest


def message_id(batch: bytes, index: int) -> str:
    """24 hex digits. `index`: the recipient's place in the request, below 2**24."""
    return (batch + index.to_bytes(3, "big")).hex()


def split(message: str) -> tuple[bytes, int] | None:
    """The batch id and index of a message id; None where it is not one."""
    if len(message) != 24:
        return None
    try:
        raw = bytes.fromhex(message)
    except ValueError:
        return None
    if len(raw) != 12:
        return None
    return raw[:BATCH_BYTES], int.from_bytes(raw[BATCH_BYTES:], "big")


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, in every internal topic: tables stand where their records arrive."""
    return crc32(key) % partitions
