"""What the stores and tables of one open file share. Runs on the event loop's thread, but where it says otherwise."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from peerstack.dht.store.decision import Rules
from peerstack.dht.store.sqlite.commits import GroupCommit, Job
from peerstack.dht.store.sqlite.file import Files, store_error
from peerstack.dht.store.sqlite.rows import RecordReader, Row, Trust
from peerstack.dht.store.sqlite.table import RecordWriter, check_next, check_one
from peerstack.errors import Closed, InvalidRecord

__all__ = ["Session"]

_log = logging.getLogger("peerstack.storage")

_CHECKED_AT_ONCE: Final = 64
_MAX_INVALID_LOGGED: Final = 10


class Session:
    """An open file, its writer, and how far its records are verified.

    Attributes:
        files: The connections.
        commits: The writer.
        closed: Whether to refuse everything.
        invalid_records: Records found in the file that were not what was stored, and deleted.
    """

    def __init__(self, files: Files, executor: ThreadPoolExecutor) -> None:
        self.files = files
        self.commits = GroupCommit(files.writer, executor, files.path)
        self.closed = False
        self.invalid_records = 0
        self._trust = Trust(files.last_id)
        self._check_next()

    def record_reader(self, name: str, rules: Rules) -> RecordReader:
        """Reads a store's records, inside `reading`."""
        return RecordReader(self.files.reader, name, rules, self._trust, self._recheck)

    def record_writer(self, name: str, rules: Rules) -> RecordWriter:
        """Writes a store's records, inside jobs."""
        return RecordWriter(self.files.writer, name, rules, self._trust, self._discarded)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read by the reader's connection; what goes wrong is a `StoreError`."""
        self.check_open()
        try:
            yield self.files.reader
        except sqlite3.Error as error:
            raise store_error(self.files.path, error) from error

    def submit(self, job: Job[Any]) -> None:
        """Run a job in the next transaction."""
        self.check_open()
        self.commits.submit(job)

    def execute(self, statement: str, values: Sequence[object], size: int, done: Callable[[bool], None]) -> None:
        """Execute one statement in the next transaction, and tell whether it was committed."""

        def run() -> None:
            self.files.writer.execute(statement, values)

        self.submit(Job(run=run, committed=lambda _: done(True), failed=lambda _: done(False), size=size))

    def check_open(self) -> None:
        """Refuse what comes after closing."""
        if self.closed:
            raise Closed("the storage is closed")

    def _check_next(self) -> None:
        """Verify what earlier runs left, a few records per transaction."""
        if self.closed or self._trust.checked_id >= self._trust.last_id:
            return

        def checked(row_id: int) -> None:
            self._trust.checked_id = row_id
            self._check_next()

        run = partial(check_next, self.files.writer, self._trust, self._discarded, _CHECKED_AT_ONCE)
        self.commits.submit(Job(run=run, committed=checked, failed=_ignore))  # whoever reads on verifies for itself

    def _recheck(self, row: Row, _error: InvalidRecord) -> None:
        """A reader met a row that is not what was stored: let the writer look again, and delete it."""
        run = partial(check_one, self.files.writer, self._trust, self._discarded, row.id)
        self.commits.submit(Job(run=run, committed=_ignore, failed=_ignore))

    def _discarded(self, row: Row, error: InvalidRecord) -> None:
        """On the writer's thread: a row was deleted for its content."""
        self.invalid_records += 1
        if self.invalid_records <= _MAX_INVALID_LOGGED:
            more = "; further ones are only counted" if self.invalid_records == _MAX_INVALID_LOGGED else ""
            _log.warning("%s: a record of store %r was not what was stored: deleted (%s)%s", self.files.path, row.store, error, more)


def _ignore(_: object) -> None:
    pass
