"""The queues in the stage's table: who is to be told what, and when next.

    q<lane><due><place>     an entry that may be called for when it is due
    s<lane><subject>        what of one message a lane has yet to be told; all but the first wait in here
    b<batch>                how far a batch's messages are told, and their request's callback

A lane is what may fail by itself: an endpoint, or one account's callbacks to one host. Only the first event of a
message stands in the queue `q`, so whatever stands there may be called for in any order, and what a lane has to do now
is at its beginning. Keys are made of the source record's place and time, and so are the same in a replay.
"""

from hashlib import blake2b
from urllib.parse import urlsplit

import msgspec

from pipeline.callbacks.records import Entry, Known, Subject, Waiting
from pipeline.streaming.stage import Record
from pipeline.streaming.state import View

LANE_BYTES = 8
_DUE = slice(1 + LANE_BYTES, 1 + LANE_BYTES + 8)
QUEUE = b"q"
#: Behind every key of the queue.
QUEUE_END = b"r"


def endpoint_lane(endpoint: str) -> bytes:
    """The lane of an endpoint."""
    return blake2b(endpoint.encode(), digest_size=LANE_BYTES, person=b"endpoint").digest()


def callback_lane(account: str, url: str) -> bytes:
    """The lane of an account's callbacks to the host of this URL."""
    return blake2b(f"{account}\0{origin(url)}".encode(), digest_size=LANE_BYTES, person=b"callback").digest()


def origin(url: str) -> str:
    """Scheme, host and port of a URL, as it is called."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def place_of(record: Record, number: int) -> bytes:
    """The order of arrival: the record's topic (of two, told apart by a byte of its hash) and offset, the event's
    number in it."""
    topic = blake2b(record.topic.encode(), digest_size=1).digest()
    return record.offset.to_bytes(8, "big") + number.to_bytes(4, "big") + topic


def lane_of(key: bytes) -> bytes:
    """The lane of an entry's key."""
    return key[1 : 1 + LANE_BYTES]


def due_of(key: bytes) -> int:
    """When an entry is due, in Unix ms."""
    return int.from_bytes(key[_DUE], "big")


def key_of(lane: bytes, due: int, place: bytes = b"") -> bytes:
    """An entry's key; without a place the one before all of this moment."""
    return QUEUE + lane + due.to_bytes(8, "big") + place


def lane_end(lane: bytes) -> bytes:
    """Behind every entry of a lane."""
    return QUEUE + lane + b"\xff" * 32


def add(view: View, lane: bytes, entry: Entry, place: bytes) -> bool:
    """Queue an entry, or have it wait behind earlier ones of its subject; False where it is there already."""
    name = b"s" + lane + entry.subject
    subject = view.get(name, Subject)
    if subject is None:
        view.put(key_of(lane, entry.since, place), entry)
        view.put(name, Subject(entry.event.id))
        return True
    if entry.event.id == subject.head or any(entry.event.id == one.entry.event.id for one in subject.waiting):
        return False
    waiting = [*subject.waiting, Waiting(place, entry)]
    view.put(name, Subject(subject.head, waiting))
    return True


def put_off(view: View, key: bytes, entry: Entry, due: int) -> None:
    """A call failed: the entry is due again then."""
    again = msgspec.structs.replace(entry, attempt=entry.attempt + 1)
    view.put(QUEUE + lane_of(key) + due.to_bytes(8, "big") + key[_DUE.stop :], again)
    view.delete(key)


def remove(view: View, key: bytes, entry: Entry, now: int) -> None:
    """An entry is told or given up: the next of its subject takes its place. `now`: Unix ms."""
    lane = lane_of(key)
    name = b"s" + lane + entry.subject
    subject = view.get(name, Subject)
    if subject and subject.waiting:
        follower, *waiting = subject.waiting
        view.put(key_of(lane, now, follower.place), follower.entry)
        view.put(name, Subject(follower.entry.event.id, waiting))
    else:
        view.delete(name)
    view.delete(key)


def known(view: View, batch: bytes) -> Known | None:
    """How far a batch is told."""
    return view.get(b"b" + batch, Known)


def know(view: View, batch: bytes, how_far: Known) -> None:
    """Note how far a batch is told."""
    view.put(b"b" + batch, how_far)
