"""Storage in one SQLite file: record stores and side tables that survive ``kill -9``.

Loading this package loads `sqlite3`; nothing else of PeerStack does.
"""

from peerstack.dht.store.sqlite.storage import SqliteStorage
from peerstack.dht.store.sqlite.stores import SqliteRecordStore, SqliteSideTable

__all__ = ["SqliteRecordStore", "SqliteSideTable", "SqliteStorage"]
