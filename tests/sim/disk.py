"""Record stores that are not as they should be: commits that take a moment and are lost in a power cut; commits that never were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MemorySideTable, MemoryStore, Rules
from peerstack.dht.store.contract import Cursor, Outcome, Source, Swept, Usage
from peerstack.dht.store.storage import ignore

__all__ = ["Forgetful", "SlowDisk", "SlowTable"]


class Forgetful(MemoryStore):
    """Says that it stored what it does not keep.

    Attributes:
        forgets: Whether it still does.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.forgets = True

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        """Merge, and lose it again."""

        def merged(outcomes: list[Outcome]) -> None:
            if self.forgets:
                self.drop(records, done=lambda _count: None)
            done(outcomes)

        super().merge(records, source=source, now=now, done=merged)


class SlowDisk:
    """A `peerstack.dht.store.RecordStore` in virtual time: what it is asked to write is there, and answered, `commit_s` later.

    Args:
        rules: Namespaces, network parameters and limits.
        commit_s: How long a commit takes.
        platter: The records that were committed before.
        tables: The side tables, likewise.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        commit_s: float = 0.01,
        platter: MemoryStore | None = None,
        tables: dict[str, MemorySideTable] | None = None,
    ) -> None:
        self.torn = 0
        self.under_way = 0
        """Commits begun and not finished."""
        self._rules = rules
        self._commit_s = commit_s
        self._platter = platter or MemoryStore(rules)
        self._tables = {} if tables is None else tables
        self._powered = True

    def power_off(self) -> None:
        """Lose every commit under way."""
        self._powered = False

    def power_on(self) -> SlowDisk:
        """The same disk in a new run."""
        return SlowDisk(self._rules, commit_s=self._commit_s, platter=self._platter, tables=self._tables)

    def side_table(self, name: str) -> SlowTable:
        """A side table on this disk."""
        return SlowTable(self._tables.setdefault(name, MemorySideTable()), self.commit)

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        """Merge a moment later."""
        self.commit(lambda: self._platter.merge(records, source=source, now=now, done=done))

    def drop(self, records: Sequence[Record], *, done: Callable[[int], None]) -> None:
        """Drop a moment later."""
        self.commit(lambda: self._platter.drop(records, done=done))

    def sweep(self, now: int, *, done: Callable[[Swept], None]) -> None:
        """Sweep a moment later."""
        self.commit(lambda: self._platter.sweep(now, done=done))

    def get(self, slot: Slot, *, now: int) -> Record | None:
        """What was committed."""
        return self._platter.get(slot, now=now)

    def get_all(self, namespace: str, key: bytes, *, now: int) -> list[Record]:
        """What was committed."""
        return self._platter.get_all(namespace, key, now=now)

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        """What was committed."""
        return self._platter.scan(low, high, now=now, after=after, limit=limit)

    @property
    def usage(self) -> Usage:
        """Of what was committed."""
        return self._platter.usage

    async def close(self) -> None:
        """Nothing to do: the platter stays."""

    def commit(self, write: Callable[[], None]) -> None:
        """Write a moment later, if there is power then."""
        self.under_way += 1

        def finish() -> None:
            self.under_way -= 1
            if self._powered:
                write()
            else:
                self.torn += 1

        asyncio.get_running_loop().call_later(self._commit_s, finish)


class SlowTable:
    """A `peerstack.dht.store.SideTable` on a slow disk."""

    def __init__(self, committed: MemorySideTable, commit: Callable[[Callable[[], None]], None]) -> None:
        """Used by `SlowDisk.side_table`."""
        self._committed = committed
        self._commit = commit

    def get(self, key: bytes) -> bytes | None:
        """What was committed."""
        return self._committed.get(key)

    def items(self) -> list[tuple[bytes, bytes]]:
        """What was committed."""
        return self._committed.items()

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Put a moment later."""
        self._commit(lambda: self._committed.put(key, value, done=done))

    def delete(self, key: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Delete a moment later."""
        self._commit(lambda: self._committed.delete(key, done=done))
