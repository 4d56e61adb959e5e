"""Records in memory: for tests, simulations, and nodes that need to survive nothing."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from peerstack.dht.records import Record, Slot, position
from peerstack.dht.store.contract import Cursor, Outcome, Source, SourceKind, Status, Swept, Usage
from peerstack.dht.store.decision import Occupancy, Rules, current, decide, due_at
from peerstack.errors import Closed

__all__ = ["MemoryStore"]

_NOTHING = Usage()


@dataclass(slots=True)
class _Entry:
    record: Record
    payer: Source | None
    """The client that put it."""


@dataclass(slots=True)
class _KeySet:
    entries: dict[bytes, _Entry] = field(default_factory=dict)  # by subkey
    usage: Usage = _NOTHING


class MemoryStore:
    """A `peerstack.dht.store.RecordStore` without disk. What it is asked is done when the call returns.

    Args:
        rules: Namespaces, network parameters and limits.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._sets: dict[bytes, _KeySet] = {}  # by position
        self._positions: list[bytes] = []  # the keys of _sets, sorted
        self._usage = _NOTHING
        self._charged: dict[Hashable, Usage] = {}
        self._due: list[tuple[int, bytes, bytes]] = []  # a heap; entries of records that were replaced are passed over
        self._closed = False

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        """Merge records into what is held; `done` is called before this returns."""
        self._check_open()
        if self._due and self._due[0][0] <= now:
            self._expire(now)
        done([self._merge_one(record, source, now) for record in records])

    def drop(self, records: Sequence[Record], *, done: Callable[[int], None]) -> None:
        """Drop those of the records that are still held; `done` is called before this returns."""
        self._check_open()
        dropped = 0
        for record in records:
            entry = self._find(record.position, record.subkey)
            if entry is not None and entry.record.digest == record.digest:
                self._put(record.position, record.subkey, None)
                dropped += 1
        done(dropped)

    def sweep(self, now: int, *, done: Callable[[Swept], None]) -> None:
        """Drop what is due; `done` is called before this returns."""
        self._check_open()
        done(self._expire(now))

    def get(self, slot: Slot, *, now: int) -> Record | None:
        """The record held for a slot."""
        self._check_open()
        entry = self._find(slot.position, slot.subkey)
        return None if entry is None else current(entry.record, now, self._rules)

    def get_all(self, namespace: str, key: bytes, *, now: int) -> list[Record]:
        """The records held for a key, ordered by subkey."""
        self._check_open()
        return self._page(position(namespace, key), now, None)

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        """Walk a range of the key space, one page at a time."""
        self._check_open()
        first = low if after is None else max(low, after[0])
        page: list[Record] = []
        for index in range(bisect_left(self._positions, first), len(self._positions)):
            where = self._positions[index]
            if len(page) >= limit or (high is not None and where >= high):
                break
            page += self._page(where, now, after)
        return page[:limit]

    @property
    def usage(self) -> Usage:
        """What is held, counted for the limits."""
        return self._usage

    async def close(self) -> None:
        """Let everything go."""
        self._closed = True
        self._sets.clear()
        self._positions.clear()
        self._due.clear()
        self._charged.clear()
        self._usage = _NOTHING

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the record store is closed")

    def _find(self, where: bytes, subkey: bytes) -> _Entry | None:
        key_set = self._sets.get(where)
        return None if key_set is None else key_set.entries.get(subkey)

    def _page(self, where: bytes, now: int, after: Cursor | None) -> list[Record]:
        key_set = self._sets.get(where)
        if key_set is None:
            return []
        left = (current(key_set.entries[subkey].record, now, self._rules) for subkey in sorted(key_set.entries))
        return [record for record in left if record is not None and (after is None or (where, record.subkey) > after)]

    def _merge_one(self, record: Record, source: Source, now: int) -> Outcome:
        where = record.position
        key_set = self._sets.get(where)
        entry = None if key_set is None else key_set.entries.get(record.subkey)
        held = None if entry is None else current(entry.record, now, self._rules)
        occupancy = Occupancy(
            key_set=_NOTHING if key_set is None else key_set.usage,
            total=self._usage,
            sender=self._charged.get(source.peer, _NOTHING),
            group=self._charged.get(source.ip_group, _NOTHING),
        )
        outcome = decide(record, held, occupancy, source, now, self._rules)
        if outcome.status is Status.STORED and outcome.record is not None:
            payer = source if source.kind is SourceKind.CLIENT else None if entry is None else entry.payer
            self._put(where, record.subkey, _Entry(outcome.record, payer))
        return outcome

    def _put(self, where: bytes, subkey: bytes, entry: _Entry | None) -> None:
        """Replace what is held for a slot (None: nothing any more), and keep all the books."""
        key_set = self._sets.get(where)
        if key_set is None:
            key_set = self._sets[where] = _KeySet()
            insort(self._positions, where)
        before = key_set.entries.pop(subkey, None)
        if before is not None:
            self._book(key_set, before, -1)
        if entry is not None:
            key_set.entries[subkey] = entry
            self._book(key_set, entry, 1)
            self._schedule(where, subkey, entry.record)
        elif not key_set.entries:
            del self._sets[where]
            del self._positions[bisect_left(self._positions, where)]

    def _book(self, key_set: _KeySet, entry: _Entry, sign: int) -> None:
        size = sign * entry.record.size
        self._usage = self._usage.changed(sign, size)
        key_set.usage = key_set.usage.changed(sign, size)
        if entry.payer is None:
            return
        for payer in (entry.payer.peer, entry.payer.ip_group):
            charged = self._charged.get(payer, _NOTHING).changed(sign, size)
            if charged.records:
                self._charged[payer] = charged
            else:
                del self._charged[payer]

    def _schedule(self, where: bytes, subkey: bytes, record: Record) -> None:
        if len(self._due) > 2 * self._usage.records + 64:
            self._due = [
                (due_at(entry.record, self._rules), each, name)
                for each, key_set in self._sets.items()
                for name, entry in key_set.entries.items()
            ]
            heapq.heapify(self._due)
        else:
            heapq.heappush(self._due, (due_at(record, self._rules), where, subkey))

    def _expire(self, now: int) -> Swept:
        expired = forgotten = 0
        while self._due and self._due[0][0] <= now:
            _, where, subkey = heapq.heappop(self._due)
            entry = self._find(where, subkey)
            if entry is None:
                continue
            left = current(entry.record, now, self._rules)
            if left is None:
                self._put(where, subkey, None)
                forgotten += 1
            elif left is not entry.record:
                self._put(where, subkey, _Entry(left, entry.payer))
                expired += 1
        return Swept(expired, forgotten)
