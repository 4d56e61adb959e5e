"""The storage: one file, one writer thread, any number of record stores and side tables."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peerstack.dht.store.decision import Rules
from peerstack.dht.store.sqlite.file import Files, open_files
from peerstack.dht.store.sqlite.session import Session
from peerstack.dht.store.sqlite.stores import SqliteRecordStore, SqliteSideTable
from peerstack.errors import StoreError

__all__ = ["SqliteStorage"]


class SqliteStorage:
    """A `peerstack.dht.store.Storage` in one file. Open it with `open`.

    Reads use a connection of their own, which sees what is committed and waits for no writer. Records of earlier runs are verified again:
    in the background after opening, and before that whenever one is read.
    """

    def __init__(self, session: Session, executor: ThreadPoolExecutor) -> None:
        """Used by `open`."""
        self._session = session
        self._executor = executor
        self._releasing: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, path: str | Path) -> SqliteStorage:
        """Open a storage's file, or begin one.

        Raises:
            StoreError: It cannot be opened, is open already, or cannot be used: then it was moved aside (`StoreError.kept_as`), and the
                next attempt begins a new one.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="peerstack-storage")
        opening = asyncio.get_running_loop().run_in_executor(executor, open_files, Path(path))
        try:
            files = await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(_close_unclaimed)
            executor.shutdown(wait=False)
            raise
        return cls(Session(files, executor), executor)

    @property
    def path(self) -> Path:
        """The file."""
        return self._session.files.path

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be written at present; None: all is well."""
        return self._session.commits.failure

    @property
    def invalid_records(self) -> int:
        """Records found in the file that were not what was stored, and deleted."""
        return self._session.invalid_records

    def record_store(self, name: str, rules: Rules) -> SqliteRecordStore:
        """The record store of that name, as it was left.

        Records of namespaces that `rules` do not know are not served, but stay in the file, and count, until their `remember_until`: they
        are served again once their namespace is.
        """
        self._session.check_open()
        return SqliteRecordStore(self._session, name, rules)

    def side_table(self, name: str) -> SqliteSideTable:
        """The side table of that name, as it was left."""
        self._session.check_open()
        return SqliteSideTable(self._session, name)

    async def close(self) -> None:
        """Commit what was begun, and let go of the file. Idempotent."""
        self._session.closed = True
        await self._session.commits.flush()
        if self._releasing is None:
            self._releasing = asyncio.get_running_loop().run_in_executor(self._executor, self._session.files.close)
        await asyncio.shield(self._releasing)
        self._executor.shutdown()


def _close_unclaimed(opening: asyncio.Future[Files]) -> None:
    """Opening was cancelled, yet went on."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
