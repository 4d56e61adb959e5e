"""Record stores: the contract, its decisions, and the store in memory."""

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

__all__ = [
    "MAX_SET_BYTES",
    "MAX_SUBKEYS",
    "Cursor",
    "MemoryStore",
    "Occupancy",
    "Outcome",
    "RecordStore",
    "Rules",
    "Source",
    "SourceKind",
    "Status",
    "StoreLimits",
    "Swept",
    "Usage",
    "current",
    "decide",
    "due_at",
]
