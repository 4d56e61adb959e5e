"""Group commit: one writer thread, one transaction at a time, shared by everything that waited for it.

Under `peerstack.testing.virtual_time` there is no thread: the loop's `run_in_executor` runs a group at once, and its callbacks come a turn
later, as they always do.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from peerstack.dht.store.sqlite.file import store_error
from peerstack.errors import StoreError

__all__ = ["GroupCommit", "Job"]

T = TypeVar("T")

_log = logging.getLogger("peerstack.storage")

_MAX_QUEUED_BYTES: Final = 32 * 1024 * 1024
_JOB_BYTES: Final = 512  # what a job takes beside its content


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something to do in a transaction. Exactly one of its callbacks is called, on the loop's thread, never before `submit` returned."""

    run: Callable[[], T]
    """Called on the writer's thread, inside the transaction."""
    committed: Callable[[T], None]
    """Gets what `run` returned, once it is committed."""
    failed: Callable[[StoreError], None]
    """Nothing of it was committed."""
    size: int = 0
    """Bytes it brings."""


class GroupCommit:
    """Runs jobs in the order they came: all that wait while a transaction is under way share the next one, and its fate.

    Args:
        connection: Used on the writer's thread only.
        executor: The writer's thread.
        path: How errors name the file.
    """

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor, path: Path) -> None:
        self._connection = connection
        self._executor = executor
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Job[Any]] = []
        self._waiting_bytes = 0
        self._busy = False
        self.failure: StoreError | None = None
        """Why the latest transaction failed; None: it did not."""

    def submit(self, job: Job[Any]) -> None:
        """Run a job in the next transaction. Where too much waits already it fails: the disk is slower than what comes."""
        size = job.size + _JOB_BYTES
        if self._waiting_bytes + size > _MAX_QUEUED_BYTES:
            self._loop.call_soon(job.failed, StoreError(f"{self._path}: too much waits to be written already"))
            return
        self._waiting.append(job)
        self._waiting_bytes += size
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._begin)  # a turn later: whatever else this turn brings shares the commit

    async def flush(self) -> None:
        """Wait until everything submitted so far is committed, or failed."""
        flushed: asyncio.Future[None] = self._loop.create_future()

        def finish(_: object) -> None:
            if not flushed.done():
                flushed.set_result(None)

        if not self._busy:
            await asyncio.sleep(0)  # callbacks may be under way
            return
        self._waiting.append(Job(run=_nothing, committed=finish, failed=finish))
        await flushed

    def _begin(self) -> None:
        group, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not group:
            self._busy = False
            return
        transaction = self._loop.run_in_executor(self._executor, self._transact, [job.run for job in group])
        transaction.add_done_callback(partial(self._end, group))

    def _transact(self, runs: Sequence[Callable[[], Any]]) -> list[Any]:
        """On the writer's thread: all of it, or nothing."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [run() for run in runs]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise store_error(self._path, error) from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return results

    def _end(self, group: Sequence[Job[Any]], transaction: asyncio.Future[list[Any]]) -> None:
        # Each callback is a call of its own: one that raises is reported by the loop and keeps nobody from the rest.
        error = transaction.exception()
        if error is None:
            self._note(None)
            for job, result in zip(group, transaction.result(), strict=True):
                self._loop.call_soon(job.committed, result)
        else:
            if not isinstance(error, StoreError):
                self._loop.call_exception_handler({"message": f"writing to {self._path} failed by a defect", "exception": error})
                error = StoreError(f"{self._path}: {type(error).__name__}: {error}")
            self._note(error)
            for job in group:
                self._loop.call_soon(job.failed, error)
        self._begin()

    def _note(self, failure: StoreError | None) -> None:
        if failure is not None and self.failure is None:
            _log.error("%s. Writes are refused until it works again; reads go on", failure)
        elif failure is None and self.failure is not None:
            _log.warning("%s: writing works again", self._path)
        self.failure = failure


def _nothing() -> None:
    pass
