"""What happened in a simulation, as plain data: the oracle's only input.

Times are virtual seconds. `Write.expires_at` and its kin are wall-clock seconds on the same axis: a clock without skew shows the virtual
time. Nodes are numbers, a slot is a key and a subkey, a version is what the record carries.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "Absence",
    "Back",
    "Copy",
    "Crash",
    "Cut",
    "Event",
    "Found",
    "Healed",
    "History",
    "Left",
    "Load",
    "Operation",
    "Outcome",
    "Quiet",
    "Read",
    "Slot",
    "Snapshot",
    "Stand",
    "Table",
    "Version",
    "Write",
]

Slot = tuple[bytes, bytes]
Version = tuple[int, bytes]


class Outcome(enum.Enum):
    """How a write ended."""

    OK = "acknowledged"
    UNDECIDED = "undecided"
    NOT_WRITTEN = "not written"
    VANISHED = "its writer died"


@dataclass(slots=True, kw_only=True)
class Write:
    """A put, or (without a value) a delete."""

    slot: Slot
    node: int
    start: float
    end: float
    value: bytes | None
    outcome: Outcome
    version: Version | None = None
    expires_at: float = math.inf
    renewable: bool = False
    acked: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    """Of `acked`, those whose store had this record or a greater one when the call returned."""


@dataclass(slots=True)
class Found:
    """A value that was read."""

    value: bytes
    version: Version
    expires_at: float
    confirmed: bool


class Absence(enum.Enum):
    """A read that gave no value."""

    NOT_FOUND = "confirmed: there is none"
    UNAVAILABLE = "too few answered"


@dataclass(slots=True, kw_only=True)
class Read:
    """A get."""

    slot: Slot
    node: int
    start: float
    end: float
    result: Found | Absence
    quiescent: bool = False
    """Whether nothing had gone wrong for long enough that the value has to be readable."""
    skew_s: float = 0.0
    """How far the reader's wall clock is ahead."""
    holders: tuple[int, ...] = ()
    """Where absence was confirmed: responsible live servers that held a live value when the call returned."""


@dataclass(slots=True, kw_only=True)
class Operation:
    """A read or a write as its caller sees it: tried once more where it failed at first, within the caller's patience."""

    slot: Slot
    node: int
    start: float
    end: float
    is_read: bool
    down: int
    """Of the servers responsible for the slot, how many were down or out of the caller's reach when it began, or when it ended."""
    found: bool = False
    """Whether it succeeded in time: a value was read, or its absence confirmed; a write was acknowledged."""
    sure: bool = False
    """As `found`, and confirmed."""


@dataclass(slots=True)
class Crash:
    """A server died at once."""

    time: float
    node: int
    disk_lost: bool = True


@dataclass(slots=True)
class Back:
    """A server came back."""

    time: float
    node: int
    with_disk: bool = True


@dataclass(slots=True)
class Left:
    """A server left gracefully."""

    time: float
    node: int
    complete: bool
    """Whether it reported that every record was handed over."""
    live: tuple[int, ...]
    """Servers that remain."""


@dataclass(slots=True)
class Cut:
    """The network fell in two."""

    time: float
    away: frozenset[int]
    """Servers on the other side."""


@dataclass(slots=True)
class Healed:
    """It is one again."""

    time: float


@dataclass(slots=True)
class Quiet:
    """A whole repair round without a fault has ended."""

    time: float
    live: tuple[int, ...]


Event = Crash | Back | Left | Cut | Healed | Quiet


@dataclass(slots=True)
class Copy:
    """One record in one store."""

    node: int
    slot: Slot
    version: Version
    expires_at: float
    has_value: bool


@dataclass(slots=True)
class Table:
    """One routing table: for each bucket the nodes in it."""

    node: int
    position: int
    buckets: Mapping[int, tuple[int, ...]]


@dataclass(slots=True)
class Stand:
    """Where one server stands on a ring."""

    node: int
    mode: str
    """``outside``: it is no member; ``forming``: its ring is so small that everybody knows everybody; ``ring``."""
    predecessor: int | None
    successors: tuple[int, ...]
    known: frozenset[int]
    """Every node that it would name to others."""


@dataclass(slots=True)
class Load:
    """What one node keeps open."""

    node: int
    requests: int
    timers: int
    contacts: int
    counted: int


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """Everything at one quiet moment."""

    time: float
    servers: Mapping[int, int]
    """Live servers and their positions."""
    clients: frozenset[int] = frozenset()
    copies: list[Copy] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    """Of a DHT with buckets."""
    stands: list[Stand] = field(default_factory=list)
    """Of a DHT with a ring."""
    loads: list[Load] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """One run."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
