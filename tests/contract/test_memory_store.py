from __future__ import annotations

import pytest

from peerstack.dht.store import MemoryStorage, MemoryStore, RecordStore, Rules, Storage
from peerstack.testing.storage_conformance import StorageConformance
from peerstack.testing.store_conformance import StoreConformance


@pytest.mark.asyncio
class TestMemoryStore(StoreConformance):
    async def make_store(self, rules: Rules) -> RecordStore:
        return MemoryStore(rules)


@pytest.mark.asyncio
class TestMemoryStorage(StorageConformance):
    async def open_storage(self) -> Storage:
        return MemoryStorage()
