"""The file: its schema, who may open it, and what becomes of one that cannot be used.

The file is SQLite's, in write-ahead-log mode. Every commit is synced (``synchronous=FULL``), so that what was acknowledged survives the
loss of the process, of the kernel and of power, as far as the disk tells the truth about having written.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from peerstack.errors import StoreError

__all__ = ["SCHEMA_VERSION", "Files", "open_files", "store_error"]

_log = logging.getLogger("peerstack.storage")

_APPLICATION_ID: Final = 0x50535452  # "PSTR", at offset 68 of the file: https://www.sqlite.org/fileformat2.html
SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE records (
  id INTEGER PRIMARY KEY,
  store TEXT NOT NULL CHECK (typeof(store) = 'text'),
  position BLOB NOT NULL CHECK (typeof(position) = 'blob'),
  subkey BLOB NOT NULL CHECK (typeof(subkey) = 'blob'),
  digest BLOB NOT NULL CHECK (typeof(digest) = 'blob'),
  due_at INTEGER NOT NULL CHECK (typeof(due_at) = 'integer'),
  size INTEGER NOT NULL CHECK (typeof(size) = 'integer'),
  payer BLOB CHECK (payer IS NULL OR typeof(payer) = 'blob'),
  payer_group BLOB CHECK (payer_group IS NULL OR typeof(payer_group) = 'blob'),
  record BLOB NOT NULL CHECK (typeof(record) = 'blob'),
  UNIQUE (store, position, subkey)
)""",
    "CREATE INDEX records_due ON records (store, due_at)",
    """CREATE TABLE books (
  store TEXT NOT NULL,
  account BLOB NOT NULL,
  records INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (store, account)
) WITHOUT ROWID""",
    """CREATE TABLE side (
  name TEXT NOT NULL,
  key BLOB NOT NULL CHECK (typeof(key) = 'blob'),
  value BLOB NOT NULL CHECK (typeof(value) = 'blob'),
  PRIMARY KEY (name, key)
) WITHOUT ROWID""",
)

_WRITER_PATIENCE_S: Final = 5.0  # for somebody else who has the file locked
_READER_PATIENCE_S: Final = 0.1  # readers wait on the event loop's thread
_MAX_IDLE_LOG_BYTES: Final = 16 * 1024 * 1024
_MAX_KEPT: Final = 1000

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "it is read-only: check its permissions and its file system",
    sqlite3.SQLITE_PERM: "permission is denied: check whose it is",
    sqlite3.SQLITE_BUSY: "another process has locked it",
    sqlite3.SQLITE_LOCKED: "another process has locked it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and is writable",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no database",
    sqlite3.SQLITE_IOERR: "the disk failed",
}
_TORN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Unusable(Exception):
    """A file to be kept aside: how to call it, and what is wrong with it."""

    def __init__(self, label: str, problem: str) -> None:
        super().__init__(problem)
        self.label = label


@dataclass(frozen=True, slots=True)
class Files:
    """What one storage has open. The writer's connection belongs to the writer's thread, the reader's to the event loop's."""

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    lock: IO[bytes]
    last_id: int
    """The greatest row id of a record when the file was opened."""

    def close(self) -> None:
        """Close everything; the last connection moves the log's content into the file."""
        self.reader.close()
        self.writer.close()
        self.lock.close()


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """What SQLite said, as our own error with advice."""
    advice = _ADVICE.get(_primary_code(error))
    return StoreError(f"{path}: {advice} ({error})" if advice else f"{path}: {error}")


def open_files(path: Path) -> Files:
    """Open a storage's file, or begin one.

    Raises:
        StoreError: It cannot be opened, is open already, or cannot be used: then it was moved aside (`StoreError.kept_as`), and the next
            attempt begins a new one.
    """
    path = path.absolute()
    lock = _lock(path)
    try:
        with closing(_connect(path, _WRITER_PATIENCE_S)) as connection:
            _examine(connection, path)
        return _open_examined(path, lock)
    except sqlite3.Error as error:
        lock.close()
        raise store_error(path, error) from error
    except _Unusable as problem:
        kept = _keep_aside(path, problem.label)
        lock.close()
        _log.error("%s: %s; it was kept as %s", path, problem, kept)
        message = f"{path}: {problem}. It was kept as {kept}; started again, the node begins an empty store"
        raise StoreError(message, kept_as=str(kept)) from problem
    except BaseException:
        lock.close()
        raise


def _lock(path: Path) -> IO[bytes]:
    """Be the only storage on this file. The lock ends with the process, however that ends.

    It is a file of its own: closing any descriptor of the database's file would give up SQLite's own locks.
    """
    try:
        for each in (path, beside := path.with_name(path.name + ".lock")):
            each.touch(mode=0o600)
        lock = beside.open("r+b")
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{path} is in use by another process, or opened twice by this one") from error
    return lock


def _connect(path: Path, patience_s: float, *, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=patience_s, isolation_level=None, check_same_thread=False)


def _examine(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that the file is whole and ours; before anything is written to it.

    Raises:
        _Unusable: It is to be kept aside.
        sqlite3.Error: It may be fine, but cannot be read now.
    """
    try:
        identity, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        schema = _schema_of(connection)
        if (identity, version, schema) == (0, 0, []):
            return  # a new one
        if identity != _APPLICATION_ID:
            raise _Unusable("foreign", "it is some other program's database")
        if version > SCHEMA_VERSION:
            raise _Unusable("newer", f"it was written by a newer version (schema {version}, this one reads {SCHEMA_VERSION})")
        with closing(sqlite3.connect(":memory:")) as expected:
            _create_tables(expected)
            if schema != _schema_of(expected):
                raise _Unusable("foreign", "its tables are not this version's")
        (report,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if report != "ok":
            raise _Unusable("torn", f"it is damaged ({' '.join(report.split())})")
    except sqlite3.Error as error:
        if _primary_code(error) not in _TORN:
            raise
        raise _Unusable("torn", f"it is damaged ({error})") from error


def _open_examined(path: Path, lock: IO[bytes]) -> Files:
    writer = _connect(path, _WRITER_PATIENCE_S)
    try:
        (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{path}: its file system cannot hold a write-ahead log (it offers {mode!r}): choose a local one")
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute(f"PRAGMA journal_size_limit = {_MAX_IDLE_LOG_BYTES}")
        if not _schema_of(writer):
            writer.execute("BEGIN IMMEDIATE")
            _create_tables(writer)
            writer.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            writer.execute("COMMIT")
        (last_id,) = writer.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
        return Files(path, writer, _connect(path, _READER_PATIENCE_S, mode="ro"), lock, last_id)
    except BaseException:
        writer.close()
        raise


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)


def _schema_of(connection: sqlite3.Connection) -> list[str]:
    return [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]


def _keep_aside(path: Path, label: str) -> Path:
    for number in range(1, _MAX_KEPT):
        kept = path.with_name(f"{path.name}.{label}-{number}")
        if kept.exists():
            continue
        try:
            path.rename(kept)
            for suffix in ("-wal", "-shm"):
                log = path.with_name(path.name + suffix)
                if log.exists():
                    log.rename(kept.with_name(kept.name + suffix))
        except OSError as error:
            raise StoreError(f"{path} cannot be used, and cannot be moved aside: {error.strerror or error}") from error
        return kept
    raise StoreError(f"{path} cannot be used, and {_MAX_KEPT - 1} such files are kept beside it: look at them")


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension, -1 where the error is of Python's module."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code if code < 0 else code & 0xFF
