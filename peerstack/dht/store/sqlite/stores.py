"""Record stores and side tables as their users see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from peerstack.dht.records import Record, Slot, position
from peerstack.dht.store.contract import Cursor, Outcome, Source, Status, Swept, Usage
from peerstack.dht.store.decision import Rules
from peerstack.dht.store.sqlite.commits import Job
from peerstack.dht.store.sqlite.session import Session
from peerstack.dht.store.storage import ignore
from peerstack.errors import Closed, StoreError

__all__ = ["SqliteRecordStore", "SqliteSideTable"]


class SqliteRecordStore:
    """A `peerstack.dht.store.RecordStore` in a storage's file. `done` is called once the commit is on disk; nothing is decided before.

    Where a transaction fails (the disk is full, say), every merge in it answers `Status.FAILED`, a drop or sweep that nothing was dropped;
    nothing of it is stored, reads go on, and the next transaction tries anew. Reads raise `StoreError` where the file cannot be read.
    """

    def __init__(self, session: Session, name: str, rules: Rules) -> None:
        """Used by `SqliteStorage.record_store`."""
        self._session = session
        self._reader = session.record_reader(name, rules)
        self._writer = session.record_writer(name, rules)
        self._closed = False

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        """Merge records into what is held."""
        records = tuple(records)

        def failed(error: StoreError) -> None:
            done([Outcome(Status.FAILED, None, str(error)) for _ in records])

        size = sum(record.size for record in records)
        self._submit(Job(run=partial(self._writer.merge, records, source, now), committed=done, failed=failed, size=size))

    def drop(self, records: Sequence[Record], *, done: Callable[[int], None]) -> None:
        """Drop those of the records that are still held."""
        records = tuple(records)
        size = sum(record.size for record in records)
        self._submit(Job(run=partial(self._writer.drop, records), committed=done, failed=lambda _: done(0), size=size))

    def sweep(self, now: int, *, done: Callable[[Swept], None]) -> None:
        """Drop what is due."""
        self._submit(Job(run=partial(self._writer.sweep, now), committed=done, failed=lambda _: done(Swept(0, 0))))

    def get(self, slot: Slot, *, now: int) -> Record | None:
        """The record held for a slot."""
        self._check_open()
        with self._session.reading():
            return self._reader.get(slot.position, slot.subkey, now)

    def get_all(self, namespace: str, key: bytes, *, now: int) -> list[Record]:
        """The records held for a key, ordered by subkey."""
        self._check_open()
        with self._session.reading():
            return self._reader.get_all(position(namespace, key), now)

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        """Walk a range of the key space, one page at a time."""
        self._check_open()
        with self._session.reading():
            return self._reader.scan(low, high, now, after, limit)

    @property
    def usage(self) -> Usage:
        """What is held, counted for the limits."""
        self._check_open()
        with self._session.reading():
            return self._reader.usage()

    async def close(self) -> None:
        """Commit what was begun. The storage, and whatever else is in it, stays open."""
        self._closed = True
        await self._session.commits.flush()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the record store is closed")

    def _submit(self, job: Job[list[Outcome]] | Job[int] | Job[Swept]) -> None:
        self._check_open()
        self._session.submit(job)


class SqliteSideTable:
    """A `peerstack.dht.store.SideTable` in a storage's file."""

    def __init__(self, session: Session, name: str) -> None:
        """Used by `SqliteStorage.side_table`."""
        self._session = session
        self._name = name

    def get(self, key: bytes) -> bytes | None:
        """What `key` holds."""
        with self._session.reading() as connection:
            row = connection.execute("SELECT value FROM side WHERE name = ? AND key = ?", (self._name, key)).fetchone()
        return None if row is None else bytes(row[0])

    def items(self) -> list[tuple[bytes, bytes]]:
        """Everything, ordered by key."""
        with self._session.reading() as connection:
            return connection.execute("SELECT key, value FROM side WHERE name = ? ORDER BY key", (self._name,)).fetchall()

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold `value`."""
        statement = "INSERT INTO side (name, key, value) VALUES (?,?,?) ON CONFLICT DO UPDATE SET value = excluded.value"
        self._session.execute(statement, (self._name, key, value), len(key) + len(value), done)

    def delete(self, key: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let `key` hold nothing."""
        self._session.execute("DELETE FROM side WHERE name = ? AND key = ?", (self._name, key), len(key), done)
