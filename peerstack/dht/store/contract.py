"""What a record store is.

Reading is a plain call. Writing takes a callback, called once what was asked for is *committed*, from the loop's thread and perhaps before
the call returns: the memory store answers at once, a store on disk answers a whole group of callers after one commit, and neither needs a
task per request. A holder acknowledges from inside that callback, never before.

Stores keep records, never judge them: the decisions are `peerstack.dht.store.decision`'s, the same for every store.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.records import Record, Slot
from peerstack.errors import ConfigError
from peerstack.identity import PeerId

__all__ = [
    "MAX_SET_BYTES",
    "MAX_SUBKEYS",
    "Cursor",
    "Outcome",
    "RecordStore",
    "Source",
    "SourceKind",
    "Status",
    "StoreLimits",
    "Swept",
    "Usage",
]

MAX_SUBKEYS: Final = 256
"""Records of one key, remembered headers included."""
MAX_SET_BYTES: Final = 256 * 1024
"""Bytes of all records of one key, remembered headers included."""

Cursor = tuple[bytes, bytes]
"""``(position, subkey)`` of a record: stores are walked in this order."""


class SourceKind(enum.StrEnum):
    """Why somebody sends a record."""

    LOCAL = "local"
    """This node's own application puts it."""
    CLIENT = "client"
    """Somebody puts it: counted against the sender."""
    REPAIR = "repair"
    """A responsible node found this one stale or missing it."""
    HANDOFF = "handoff"
    """It became this node's responsibility."""
    LEAVE = "leave"
    """Its holder leaves."""
    PULL = "pull"
    """This node asked for it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends records, and why."""

    kind: SourceKind
    peer: PeerId
    ip_group: bytes = b""
    """Its network (a /24 or /48), or empty where that is not known."""

    @property
    def owed(self) -> bool:
        """Whether the rules oblige this node to take it: never charged, never refused for a set's size."""
        return self.kind not in (SourceKind.LOCAL, SourceKind.CLIENT)


class Status(enum.StrEnum):
    """What became of one record."""

    STORED = "stored"
    EQUAL = "equal"
    """It was held already."""
    SUPERSEDED = "superseded"
    """A greater one is held."""
    FULL = "full"
    INVALID = "invalid"
    CLOCK = "clock"
    """A time in it is too far ahead."""
    FORGOTTEN = "forgotten"
    """Even its header need not be kept any more."""
    FAILED = "failed"
    """The store could not commit."""


_REASONS: Final = {
    Status.SUPERSEDED: RefusalReason.SUPERSEDED,
    Status.FULL: RefusalReason.FULL,
    Status.INVALID: RefusalReason.INVALID,
    Status.CLOCK: RefusalReason.CLOCK,
    Status.FORGOTTEN: RefusalReason.CLOCK,
    Status.FAILED: RefusalReason.FAILED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record, and what is held instead."""

    status: Status
    record: Record | None = None
    """What is held now (for `Status.SUPERSEDED` the greater one); None where nothing was kept."""
    message: str = ""

    @property
    def holds(self) -> bool:
        """Whether this very record is held: a put may be acknowledged."""
        return self.status in (Status.STORED, Status.EQUAL)

    @property
    def covers(self) -> bool:
        """Whether an equal or greater record is held, or none has to be: a displaced copy elsewhere may be dropped."""
        return self.holds or self.status in (Status.SUPERSEDED, Status.FORGOTTEN)

    def refusal(self) -> Refusal | None:
        """What to answer a put with; None acknowledges it."""
        return None if self.holds else Refusal(_REASONS[self.status], self.message, self.record)


class Usage(NamedTuple):
    """Records and bytes (see `Record.size`)."""

    records: int = 0
    bytes: int = 0

    def changed(self, records: int, size: int) -> Usage:
        """With so much more, or less."""
        return Usage(self.records + records, self.bytes + size)

    def within(self, limit: Usage, share: float = 1.0) -> bool:
        """Whether it stays within a share of a limit."""
        return self.records <= limit.records * share and self.bytes <= limit.bytes * share


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreLimits:
    """Bounds of a store."""

    max_records: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    client_share: float = 0.75
    """Of the store, for what applications put; the rest is kept for what other holders hand over."""
    group_share: float = 0.5
    """Of the store, for what the peers of one IP group put."""
    sender_share: float = 0.25
    """Of the store, for what one peer puts."""

    def __post_init__(self) -> None:
        if self.max_records < 1 or self.max_bytes < 1:
            raise ConfigError("a store has room for at least one record and one byte")
        if not 0 < self.sender_share <= self.group_share <= self.client_share <= 1:
            raise ConfigError("a store's shares must be 0 < sender_share <= group_share <= client_share <= 1")

    @property
    def total(self) -> Usage:
        """The whole store."""
        return Usage(self.max_records, self.max_bytes)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found due."""

    expired: int
    """Values dropped, their headers kept."""
    forgotten: int
    """Records dropped altogether."""


class RecordStore(Protocol):
    """Keeps at most one record per slot: the merge of all it was given and could take.

    Every reading call says what time it is, and never sees the value of a record that is dead by then, nor a record that is forgotten by
    then; it sees whatever `done` was called for. Writes take effect in the order of the calls. A store on disk raises
    `peerstack.errors.StoreError` where it cannot read. After `close` every call raises `peerstack.errors.Closed`.
    """

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        """Merge records into what is held: atomic, and the one way to write.

        Args:
            records: Any number, of any slots; those of one slot are merged in order.
            source: Who sends them, and why.
            now: The wall clock, microseconds.
            done: Called with one outcome per record, in order, once all that was stored is committed. Where committing fails, nothing of it
                is stored and every outcome is `Status.FAILED`.
        """

    def drop(self, records: Sequence[Record], *, done: Callable[[int], None]) -> None:
        """Forget records that others hold: each is dropped only if it is still the one held.

        Args:
            records: What to drop; values do not matter.
            done: Called with the number of records dropped, once committed; 0 where committing fails.
        """

    def sweep(self, now: int, *, done: Callable[[Swept], None]) -> None:
        """Drop the values of the dead and what is to be forgotten; `done` is called once committed, or with zeros where that fails."""

    def get(self, slot: Slot, *, now: int) -> Record | None:
        """The record held for a slot."""

    def get_all(self, namespace: str, key: bytes, *, now: int) -> list[Record]:
        """The records held for a key, the dead included, ordered by subkey."""

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        """Walk a range of the key space.

        Args:
            low: The first position (32 bytes).
            high: The first position past the range; None is the end of the key space.
            now: The wall clock, microseconds.
            after: Continue behind this one, usually the last of the page before.
            limit: The page's size. A shorter page is the last one.

        Returns:
            Records ordered by `Cursor`.
        """

    @property
    def usage(self) -> Usage:
        """What is held, counted for the limits."""

    async def close(self) -> None:
        """Finish what was begun and release everything. Idempotent."""
