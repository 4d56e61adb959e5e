"""Record stores and storage: the contracts, the decisions, and both in memory. On disk: `peerstack.dht.store.sqlite`."""

from peerstack.dht.store.contract import (
    MAX_SET_BYTES,
    MAX_SUBKEYS,
    Cursor,
    Outcome,
    RecordStore,
    Source,
    SourceKind,
    Status,
    StoreLimits,
    Swept,
    Usage,
)
from peerstack.dht.store.decision import Occupancy, Rules, current, decide, due_at
from peerstack.dht.store.memory import MemoryStore
from peerstack.dht.store.storage import MemorySideTable, MemoryStorage, SideTable, Storage

__all__ = [
    "MAX_SET_BYTES",
    "MAX_SUBKEYS",
    "Cursor",
    "MemorySideTable",
    "MemoryStorage",
    "MemoryStore",
    "Occupancy",
    "Outcome",
    "RecordStore",
    "Rules",
    "SideTable",
    "Source",
    "SourceKind",
    "Status",
    "Storage",
    "StoreLimits",
    "Swept",
    "Usage",
    "current",
    "decide",
    "due_at",
]
