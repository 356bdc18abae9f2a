"""A stage's table: Faust's changelogged RocksDB table, written once a window and never ahead of its changelog.

Faust writes the local store first and the changelog record by record; here a window's writes go to the changelog as
one batch, are acknowledged, and only then reach the store, together with their offset in one atomic write. So a crash
at any point leaves the store at or behind the changelog, and recovery brings it level.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import faust
import msgspec
import rocksdict
from aiokafka import AIOKafkaProducer
from faust.types import TP

from pipeline.streaming import failpoint, outbox
from pipeline.streaming.rocks import Rocks

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[Any, Any] = {}


class State:
    """The table of one stage in one process: all partitions it owns."""

    def __init__(self, app: faust.App, stage: str, *, partitions: int, retention_seconds: int | None) -> None:
        self._stage = stage
        self._table = app.Table("state", key_type=bytes, value_type=bytes, partitions=partitions)
        self._table.data.rocksdb_options = Rocks(retention_seconds)
        #: Called with what has reached the store, a window at a time; what recovery brings is not told.
        self.on_write: Callable[[int, Mapping[bytes, bytes | None]], None] = lambda partition, writes: None

    def view(self, partition: int) -> "View":
        """What one window reads and writes of one partition."""
        return View(self._table.data._db_for_partition(partition), partition)

    async def write(self, producer: AIOKafkaProducer, partition: int, writes: Mapping[bytes, bytes | None]) -> None:
        """Write to the changelog, wait for its acknowledgement, then to the store with the offset."""
        if not writes:
            return
        topic = self._table.changelog_topic_name
        rows: list[outbox.Row] = [(key, value, [], None) for key, value in writes.items()]
        offset = await outbox.send(producer, (topic, partition), rows)
        failpoint.reach(f"{self._stage}.logged")
        store = self._table.data
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in writes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(store.offset_key, str(offset).encode())
        store._db_for_partition(partition).write(batch)
        self.on_write(partition, writes)

    def owned(self) -> list[int]:
        """Partitions whose store is open here."""
        return sorted(self._table.data._dbs)

    def size(self) -> int:
        """Keys in the open partitions, as RocksDB estimates them."""
        sizes = (db.property_int_value("rocksdb.estimate-num-keys") or 0 for db in self._table.data._dbs.values())
        return sum(sizes)

    def persisted_offset(self, partition: int) -> int | None:
        """The changelog offset this store stands at."""
        found: int | None = self._table.persisted_offset(TP(self._table.changelog_topic_name, partition))
        return found


class StoreError(OSError):
    """The local store cannot be read: the process cannot go on, no record is at fault."""


class View:
    """Reads through to the store, keeps writes until the window is flushed. Values are bytes or msgspec structs.

    `put` is written after the window's outputs; `put_first` before them (a decision that must not change on replay).
    """

    def __init__(self, store: Any, partition: int) -> None:
        self._store = store
        self.partition = partition
        self._later: dict[bytes, Any] = {}
        self._first: dict[bytes, Any] = {}
        self._taken: set[bytes] = set()

    def get(self, key: bytes, kind: type[T]) -> T | None:
        """The value of a key as `kind` (bytes or a struct), this window's own writes included."""
        for written in (self._later, self._first):
            if key in written:
                value: T | None = written[key]
                return value
        try:
            raw = self._store.get(key)
        except Exception as error:  # rocksdict raises nothing narrower
            raise StoreError(f"partition {self.partition}: {error}") from error
        if raw is None or kind is bytes:
            return raw  # type: ignore[no-any-return]
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind).decode
        return decoder(raw)

    def put(self, key: bytes, value: Any) -> None:
        self._later[key] = value

    def put_first(self, key: bytes, value: Any, *, last: bool = False) -> None:
        """Write before the outputs, in the order of first writing; `last` moves the key behind those so far."""
        if last:
            self._first.pop(key, None)
        self._first[key] = value
        self._taken.discard(key)

    def delete(self, key: bytes) -> None:
        self._later[key] = None

    def wrote(self, key: bytes) -> bool:
        """Whether this window writes the key."""
        return key in self._later or key in self._first

    def keys(self, prefix: bytes, until: bytes) -> Iterator[bytes]:
        """Stored keys from `prefix` up to, not including, `until`; this window's writes are not among them."""
        try:
            for key in self._store.keys(from_key=prefix):
                if key >= until:
                    return
                yield key
        except Exception as error:  # rocksdict raises nothing narrower
            raise StoreError(f"partition {self.partition}: {error}") from error

    def items(self, prefix: bytes, until: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Stored keys with their values, undecoded, as `keys` tells them."""
        try:
            for key, value in self._store.items(from_key=prefix):
                if key >= until:
                    return
                yield key, value
        except Exception as error:  # rocksdict raises nothing narrower
            raise StoreError(f"partition {self.partition}: {error}") from error

    def take_first(self) -> dict[bytes, bytes | None]:
        """The writes that go before the outputs, encoded; those since the last call."""
        writes = _encoded({key: self._first[key] for key in self._first if key not in self._taken})
        self._taken.update(writes)
        return writes

    def take_later(self) -> dict[bytes, bytes | None]:
        """The writes that go after the outputs, encoded."""
        return _encoded(self._later)


def _encoded(writes: dict[bytes, Any]) -> dict[bytes, bytes | None]:
    return {key: v if v is None or isinstance(v, bytes) else _encode(v) for key, v in writes.items()}
