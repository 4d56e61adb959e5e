"""Where a node keeps what must survive it: record stores by name, and small tables beside them.

One storage serves a whole node. Each DHT has a record store of its own in it, and side tables for what belongs to it: its clock, a snapshot
of its routing table, the records it renews.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peerstack.dht.store.contract import RecordStore
from peerstack.dht.store.decision import Rules
from peerstack.dht.store.memory import MemoryStore
from peerstack.errors import Closed

__all__ = ["MemorySideTable", "MemoryStorage", "SideTable", "Storage", "ignore"]


def ignore(_committed: bool, /) -> None:
    """For whoever does not wait for a commit."""


class SideTable(Protocol):
    """Named bytes of the node's own: trusted, few, unchecked. What is written here shares its commits with the records.

    Reading is a plain call and sees what is committed. `done` is called on the loop's thread, with whether it is committed. After the
    storage's `close` every call raises `peerstack.errors.Closed`; where the disk cannot be read, `peerstack.errors.StoreError`.
    """

    def get(self, key: bytes) -> bytes | None:
        """What `key` holds."""

    def items(self) -> list[tuple[bytes, bytes]]:
        """Everything, ordered by key."""

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold `value`. What is put later is never committed earlier."""

    def delete(self, key: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold nothing."""


class Storage(Protocol):
    """A node's storage."""

    def record_store(self, name: str, rules: Rules) -> RecordStore:
        """The record store of that name, as it was left."""

    def side_table(self, name: str) -> SideTable:
        """The side table of that name, as it was left."""

    async def close(self) -> None:
        """Finish what was begun, in every store and table, and release everything. Idempotent."""


class MemorySideTable:
    """A `SideTable` without disk: `done` is called before a call returns."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """What `key` holds."""
        self._check_open()
        return self._values.get(key)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Everything, ordered by key."""
        self._check_open()
        return sorted(self._values.items())

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold `value`."""
        self._check_open()
        self._values[key] = value
        done(True)

    def delete(self, key: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold nothing."""
        self._check_open()
        self._values.pop(key, None)
        done(True)

    def close(self) -> None:
        """Let everything go."""
        self._closed = True
        self._values.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the storage is closed")


class MemoryStorage:
    """A `Storage` without disk: it survives nothing."""

    def __init__(self) -> None:
        self._stores: dict[str, MemoryStore] = {}
        self._tables: dict[str, MemorySideTable] = {}
        self._closed = False

    def record_store(self, name: str, rules: Rules) -> MemoryStore:
        """A new and empty store."""
        self._check_open()
        store = self._stores[name] = MemoryStore(rules)
        return store

    def side_table(self, name: str) -> MemorySideTable:
        """The side table of that name."""
        self._check_open()
        return self._tables.setdefault(name, MemorySideTable())

    async def close(self) -> None:
        """Let everything go."""
        self._closed = True
        for store in self._stores.values():
            await store.close()
        for table in self._tables.values():
            table.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the storage is closed")
