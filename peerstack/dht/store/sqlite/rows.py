"""Reading records from the file: which rows to trust, and what is left of them by now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

from peerstack.dht.records import Record, verify_signature
from peerstack.dht.store.contract import Cursor, Usage
from peerstack.dht.store.decision import Rules, current
from peerstack.errors import InvalidRecord
from peerstack.identity import PublicKey

__all__ = ["COLUMNS", "TOTAL", "RecordReader", "Row", "Trust", "read_record"]

COLUMNS: Final = "id, store, position, subkey, digest, size, payer, payer_group, record"
TOTAL: Final = b""
"""The account of a whole store; the others are of senders and IP groups."""


class Row(NamedTuple):
    """One row of the table of records."""

    id: int
    store: str
    position: bytes
    subkey: bytes
    digest: bytes
    size: int
    payer: bytes | None
    """The client that put it: its peer id."""
    payer_group: bytes | None
    record: bytes


@dataclass(slots=True)
class Trust:
    """Which rows need no verifying any more: those this run wrote, and those it checked already. Shared by both threads."""

    last_id: int
    """The last row of earlier runs."""
    checked_id: int = 0
    """Rows up to this one were checked."""

    def covers(self, row_id: int) -> bool:
        """Whether a row's signature was checked in this run."""
        return row_id <= self.checked_id or row_id > self.last_id


def read_record(row: Row, trust: Trust) -> Record:
    """The record of a row, its signature checked once per run.

    Raises:
        InvalidRecord: It is not what was stored.
    """
    record = Record.decode(row.record, _was_verified if trust.covers(row.id) else verify_signature)
    if (record.position, record.subkey, record.digest, record.size) != (row.position, row.subkey, row.digest, row.size):
        raise InvalidRecord("the record is not that of its row")
    return record


def _was_verified(_writer: PublicKey, _message: bytes, _signature: bytes) -> bool:
    return True


class RecordReader:
    """Reads one store's records by one connection, on that connection's thread. Raises `sqlite3.Error`.

    Args:
        connection: What to read by.
        store: The store's name.
        rules: The store's.
        trust: Of the file.
        unsound: Told of each row that is not what was stored; such a row is passed over.
    """

    def __init__(
        self, connection: sqlite3.Connection, store: str, rules: Rules, trust: Trust, unsound: Callable[[Row, InvalidRecord], None]
    ) -> None:
        self._connection = connection
        self._store = store
        self._rules = rules
        self._trust = trust
        self._unsound = unsound

    def get(self, position: bytes, subkey: bytes, now: int) -> Record | None:
        """The record of a slot, as far as it is left."""
        found = self._find(position, subkey)
        return None if found is None else self._current(found[1], now)

    def get_all(self, position: bytes, now: int) -> list[Record]:
        """The records of a key, ordered by subkey."""
        return list(self._walk("position = ?", (position,), now))

    def scan(self, low: bytes, high: bytes | None, now: int, after: Cursor | None, limit: int) -> list[Record]:
        """One page of a range."""
        if limit < 1:
            return []
        where, values = ("position >= ?", [low]) if after is None or after[0] < low else ("(position, subkey) > (?, ?)", list(after))
        if high is not None:
            where, values = f"{where} AND position < ?", [*values, high]
        page: list[Record] = []
        with closing(self._walk(where, tuple(values), now)) as walk:
            for record in walk:
                page.append(record)
                if len(page) == limit:
                    break
        return page

    def usage(self, account: bytes = TOTAL) -> Usage:
        """What an account stands at."""
        row = self._connection.execute(
            "SELECT records, bytes FROM books WHERE store = ? AND account = ?", (self._store, account)
        ).fetchone()
        return Usage() if row is None else Usage(*row)

    def _find(self, position: bytes, subkey: bytes) -> tuple[Row, Record] | None:
        row = self._row(position, subkey)
        record = None if row is None else self._record(row)
        return None if row is None or record is None else (row, record)

    def _row(self, position: bytes, subkey: bytes) -> Row | None:
        query = f"SELECT {COLUMNS} FROM records WHERE store = ? AND position = ? AND subkey = ?"  # noqa: S608  (constants)
        row = self._connection.execute(query, (self._store, position, subkey)).fetchone()
        return None if row is None else Row(*row)

    def _walk(self, where: str, values: tuple[bytes, ...], now: int) -> Generator[Record]:
        query = f"SELECT {COLUMNS} FROM records WHERE store = ? AND {where} ORDER BY position, subkey"  # noqa: S608  (constants)
        with closing(self._connection.execute(query, (self._store, *values))) as rows:
            for row in rows:
                record = self._record(Row(*row))
                left = None if record is None else self._current(record, now)
                if left is not None:
                    yield left

    def _current(self, record: Record, now: int) -> Record | None:
        return current(record, now, self._rules) if record.namespace in self._rules.namespaces else None

    def _record(self, row: Row) -> Record | None:
        try:
            return read_record(row, self._trust)
        except InvalidRecord as error:
            self._unsound(row, error)
            return None
