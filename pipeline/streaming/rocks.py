"""How a store is opened: RocksDB of one partition, small, its values forgotten after a time.

Not left to Faust: without options for the column family rocksdict takes those of the last opening from the directory,
and with a TTL that puts RocksDB's filter for old values inside another of its kind. The inner one reads a time where
none stands, and the next compaction throws nearly everything away.
"""

from pathlib import Path

import rocksdict
from faust.stores.rocksdb import RocksDBOptions

#: Small, because a process opens one for each partition it owns.
_SIZES = {
    "block_cache_size": 8 * 1024 * 1024,
    "write_buffer_size": 4 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "target_file_size_base": 16 * 1024 * 1024,
    "max_open_files": 64,
}


class Rocks(RocksDBOptions):  # type: ignore[misc]
    """Takes the place of Faust's options of a table. `keep_seconds`: values older than this go at the next compaction
    of their file; None keeps them."""

    def __init__(self, keep_seconds: int | None) -> None:
        super().__init__(use_rocksdict=True, ttl=keep_seconds, **_SIZES)

    def open(self, path: Path, *, read_only: bool = False) -> rocksdict.Rdict:
        """The store in a directory, created where there is none."""
        options = self.as_options()
        access = rocksdict.AccessType
        store = rocksdict.Rdict(
            str(path),
            options=options,
            column_families={"default": options},
            access_type=access.read_write() if self.ttl is None else access.with_ttl(self.ttl),
        )
        store.set_read_options(rocksdict.ReadOptions())
        return store
