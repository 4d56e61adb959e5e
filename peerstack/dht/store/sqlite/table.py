"""Writing records, inside the writer's transactions: the decisions are `peerstack.dht.store.decision`'s, the books are rows like the rest.

Raises `sqlite3.Error`; the transaction is then rolled back, books included.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from peerstack.dht.records import Record
from peerstack.dht.store.contract import Outcome, Source, SourceKind, Status, Swept, Usage
from peerstack.dht.store.decision import Occupancy, Rules, current, decide, due_at
from peerstack.dht.store.sqlite.rows import COLUMNS, TOTAL, RecordReader, Row, Trust, read_record
from peerstack.errors import InvalidRecord

__all__ = ["RecordWriter", "check_next", "check_one"]

_NOTHING: Final = Usage()
_SWEPT_AT_ONCE: Final = 256
_Payer = tuple[bytes, bytes]  # a client's peer id and IP group
Discarded = Callable[[Row, InvalidRecord], None]


class RecordWriter(RecordReader):
    """One store's records, on the writer's thread. A row that is not what was stored is deleted as it is met.

    Args:
        connection: The writer's.
        store: The store's name.
        rules: The store's.
        trust: Of the file.
        discarded: Told of each row deleted because of its content.
    """

    def __init__(self, connection: sqlite3.Connection, store: str, rules: Rules, trust: Trust, discarded: Discarded) -> None:
        def discard(row: Row, error: InvalidRecord) -> None:
            _replace(connection, row, None)
            discarded(row, error)

        super().__init__(connection, store, rules, trust, discard)

    def merge(self, records: Sequence[Record], source: Source, now: int) -> list[Outcome]:
        """Merge records into what is held."""
        self.sweep(now)
        return [self._merge_one(record, source, now) for record in records]

    def drop(self, records: Sequence[Record]) -> int:
        """Drop those of the records that are still held."""
        dropped = 0
        for record in records:
            row = self._row(record.position, record.subkey)
            if row is not None and row.digest == record.digest:
                _replace(self._connection, row, None)
                dropped += 1
        return dropped

    def sweep(self, now: int) -> Swept:
        """Drop the values of the dead and what is to be forgotten."""
        swept = Swept(0, 0)
        while rows := self._due(now):
            for row in rows:
                swept = self._expire(row, now, swept)
        return swept

    def _due(self, now: int) -> list[Row]:
        query = f"SELECT {COLUMNS} FROM records WHERE store = ? AND due_at <= ? ORDER BY due_at LIMIT ?"  # noqa: S608  (constants)
        return [Row(*row) for row in self._connection.execute(query, (self._store, now, _SWEPT_AT_ONCE)).fetchall()]

    def _expire(self, row: Row, now: int, swept: Swept) -> Swept:
        record = self._record(row)
        if record is None:
            return swept
        left = self._left(record, now)
        if left is None:
            _replace(self._connection, row, None)
            return Swept(swept.expired, swept.forgotten + 1)
        if left is not record:
            self._put(row, left, _payer_of(row))
            return Swept(swept.expired + 1, swept.forgotten)
        # Its namespace's rules, or whether it is served at all, have changed since it was stored.
        self._connection.execute("UPDATE records SET due_at = ? WHERE id = ?", (self._due_at(record), row.id))
        return swept

    def _merge_one(self, record: Record, source: Source, now: int) -> Outcome:
        found = self._find(record.position, record.subkey)
        held = None if found is None else self._current(found[1], now)
        outcome = decide(record, held, self._occupancy(record.position, source), source, now, self._rules)
        if outcome.status is Status.STORED and outcome.record is not None:
            row = None if found is None else found[0]
            charged = (source.peer.to_bytes(), source.ip_group) if source.kind is SourceKind.CLIENT else _payer_of(row)
            self._put(row, outcome.record, charged)
        return outcome

    def _occupancy(self, position: bytes, source: Source) -> Occupancy:
        query = "SELECT count(*), coalesce(sum(size), 0) FROM records WHERE store = ? AND position = ?"
        charged = source.kind is SourceKind.CLIENT
        return Occupancy(
            key_set=Usage(*self._connection.execute(query, (self._store, position)).fetchone()),
            total=self.usage(TOTAL),
            sender=self.usage(_sender(source.peer.to_bytes())) if charged else _NOTHING,
            group=self.usage(_group(source.ip_group)) if charged else _NOTHING,
        )

    def _left(self, record: Record, now: int) -> Record | None:
        """What is left of a record; one whose namespace is not served is kept whole while its writer asks for it."""
        if record.namespace in self._rules.namespaces:
            return current(record, now, self._rules)
        return record if record.remember_until > now else None

    def _due_at(self, record: Record) -> int:
        return due_at(record, self._rules) if record.namespace in self._rules.namespaces else record.remember_until

    def _put(self, before: Row | None, record: Record, payer: _Payer | None) -> None:
        peer, group = payer or (None, None)
        after = Row(0, self._store, record.position, record.subkey, record.digest, record.size, peer, group, record.encode())
        _replace(self._connection, before, after, self._due_at(record))


def check_next(connection: sqlite3.Connection, trust: Trust, discarded: Discarded, limit: int) -> int:
    """Check the next rows of earlier runs, whichever store's they are, and delete those that are not what was stored.

    Returns:
        What `Trust.checked_id` may be set to, once this is committed.
    """
    query = f"SELECT {COLUMNS} FROM records WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608  (constants)
    rows = [Row(*row) for row in connection.execute(query, (trust.checked_id, trust.last_id, limit)).fetchall()]
    _check(connection, rows, trust, discarded)
    return rows[-1].id if len(rows) == limit else trust.last_id


def check_one(connection: sqlite3.Connection, trust: Trust, discarded: Discarded, row_id: int) -> None:
    """Check a row that a reader found to be unsound, and delete it if it still is."""
    query = f"SELECT {COLUMNS} FROM records WHERE id = ?"  # noqa: S608  (constants)
    _check(connection, [Row(*row) for row in connection.execute(query, (row_id,))], trust, discarded)


def _check(connection: sqlite3.Connection, rows: Iterable[Row], trust: Trust, discarded: Discarded) -> None:
    for row in rows:
        try:
            read_record(row, trust)
        except InvalidRecord as error:
            _replace(connection, row, None)
            discarded(row, error)


def _replace(connection: sqlite3.Connection, before: Row | None, after: Row | None, due: int = 0) -> None:
    """Replace a row by another of its slot, or by none, and keep the books."""
    books: dict[tuple[str, bytes], Usage] = {}
    for row, sign in ((before, -1), (after, 1)):
        if row is not None:
            for account in _accounts(row):
                books[row.store, account] = books.get((row.store, account), _NOTHING).changed(sign, sign * row.size)
    if before is not None:
        connection.execute("DELETE FROM records WHERE id = ?", (before.id,))
    if after is not None:
        connection.execute(
            "INSERT INTO records (store, position, subkey, digest, size, payer, payer_group, record, due_at) VALUES (?,?,?,?,?,?,?,?,?)",
            (*after[1:], due),
        )
    for (store, account), change in books.items():
        _book(connection, store, account, change)


def _book(connection: sqlite3.Connection, store: str, account: bytes, change: Usage) -> None:
    if change == _NOTHING:
        return
    connection.execute(
        "INSERT INTO books (store, account, records, bytes) VALUES (?,?,?,?)"
        " ON CONFLICT DO UPDATE SET records = records + excluded.records, bytes = bytes + excluded.bytes",
        (store, account, change.records, change.bytes),
    )
    if change.records < 0:
        connection.execute("DELETE FROM books WHERE store = ? AND account = ? AND records = 0", (store, account))


def _accounts(row: Row) -> Iterable[bytes]:
    return (TOTAL,) if row.payer is None else (TOTAL, _sender(row.payer), _group(row.payer_group or b""))


def _sender(peer: bytes) -> bytes:
    return b"s" + peer


def _group(ip_group: bytes) -> bytes:
    return b"g" + ip_group


def _payer_of(row: Row | None) -> _Payer | None:
    return None if row is None or row.payer is None else (row.payer, row.payer_group or b"")
