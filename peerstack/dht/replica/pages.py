"""Pages of what is handed over: cutting one, and seeing that all of it has arrived. Pure.

A page stands for a *stretch* of the region asked for: from behind the cursor in the request to the cursor in the answer, or to the region's
end. Its digest is made from a second look at just this stretch, which knows nothing of how pages are cut. Stretches follow one another
without a gap, so pages that were all verified are together the whole region.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import KEY_BITS, key_bytes
from peerstack.dht.replica.geometry import KeyRange
from peerstack.dht.replica.limits import MAX_PAGE_BYTES, MAX_PAGE_RECORDS
from peerstack.dht.replica.messages import Pull
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.store.contract import MAX_SUBKEYS, Cursor, Outcome, RecordStore, Status

__all__ = ["Page", "cut_page", "page_digest", "shortfall"]

_OPEN: Final = bytes(32)
_STRETCH: Final = MAX_PAGE_RECORDS + 2 * MAX_SUBKEYS  # a page, and what its first and last key have beyond it


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a region."""

    records: tuple[Record, ...]
    next: Cursor | None
    """Where it ends; None: with the region."""
    digest: bytes


def page_digest(after: Cursor | None, until: Cursor | None, records: Iterable[Record]) -> bytes:
    """What a page says it holds: its stretch, and its records by their headers, in order."""
    parts = (_bound(after), _bound(until), *(record.digest for record in records))
    return hashlib.sha256(b"".join(parts)).digest()


def cut_page(hood: Neighbourhood, store: RecordStore, asker: int, request: Pull, wall_us: int) -> Page:
    """The page of a region that a server at `asker` asks for: what it is, by our count, among the 2 x `replicas` closest to.

    Raises:
        PeerstackError: The store cannot be read.
    """
    owed = cache(lambda where: hood.rank_of(asker, int.from_bytes(where, "big")) < 2 * hood.replicas)
    ranges = hood.geometry.ranges(asker, request.region)
    held = _scan(store, ranges, request.after, wall_us)
    following = (held[-1].position, held[-1].subkey) if len(held) == MAX_PAGE_RECORDS else None
    page: list[Record] = []
    size = 0
    for index, record in enumerate(held):
        if size >= MAX_PAGE_BYTES:
            following = (held[index - 1].position, held[index - 1].subkey)
            break
        if owed(record.position):
            page.append(record)
            size += record.size
    stretch = _stretch(store, ranges, request.after, following, wall_us)
    digest = page_digest(request.after, following, (record for record in stretch if owed(record.position)))
    return Page(tuple(page), following, digest)


def shortfall(store: RecordStore, namespaces: Namespaces, records: Sequence[Record], outcomes: Sequence[Outcome], now: int) -> str | None:
    """What keeps merged records from being held, each equal or greater; None: nothing.

    A store is not taken at its word: what it says it stored is read back. Where it holds an equal or a greater record it has read that just
    now. A whole record that our own rules refuse need not be held, since by the same rules no reader takes it.

    Args:
        store: Where they were merged.
        namespaces: Say which of two records is greater.
        records: What was merged.
        outcomes: What became of each.
        now: The wall clock when they were merged.

    Raises:
        PeerstackError: The store cannot be read.
    """
    for record, outcome in zip(records, outcomes, strict=True):
        if outcome.status is Status.STORED:
            held = store.get(record.slot, now=now)
            if held is None or not _covers(held, record, namespaces, now):
                return "our own store does not hold what it said it stored"
        elif not outcome.covers and (outcome.status is not Status.INVALID or record.value is None):
            return f"our own store refuses a record of it ({outcome.status.value}): {outcome.message}"
    return None


def _covers(held: Record, record: Record, namespaces: Namespaces, now: int) -> bool:
    if held.digest == record.digest:
        return held.value is not None or record.value is None or record.is_dead(now)
    return namespaces[record.namespace].merge(held, record).digest == held.digest


def _scan(store: RecordStore, ranges: Sequence[KeyRange], after: Cursor | None, wall_us: int) -> list[Record]:
    records: list[Record] = []
    for low, high in ranges:
        room = MAX_PAGE_RECORDS - len(records)
        if room and (high is None or after is None or after[0] < high):
            records += store.scan(low, high, now=wall_us, after=after, limit=room)
    return records


def _stretch(store: RecordStore, ranges: Sequence[KeyRange], after: Cursor | None, until: Cursor | None, wall_us: int) -> Iterator[Record]:
    """Everything behind `after` up to `until`, by whole keys and without a cursor."""
    first = ranges[0][0] if after is None else after[0]
    beyond = None if until is None else _next_position(until[0])
    for low, high in ranges:
        begin, end = max(low, first), high if beyond is None else beyond if high is None else min(high, beyond)
        if end is not None and begin >= end:
            continue
        for record in store.scan(begin, end, now=wall_us, limit=_STRETCH):
            cursor = record.position, record.subkey
            if (after is None or cursor > after) and (until is None or cursor <= until):
                yield record


def _next_position(where: bytes) -> bytes | None:
    beyond = int.from_bytes(where, "big") + 1
    return None if beyond >> KEY_BITS else key_bytes(beyond)


def _bound(cursor: Cursor | None) -> bytes:
    return _OPEN if cursor is None else hashlib.sha256(b"".join(cursor)).digest()
