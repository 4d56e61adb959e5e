from __future__ import annotations

import pytest

from peerstack.dht.store import MemoryStore, RecordStore, Rules
from peerstack.testing.store_conformance import StoreConformance


@pytest.mark.asyncio
class TestMemoryStore(StoreConformance):
    async def make_store(self, rules: Rules) -> RecordStore:
        return MemoryStore(rules)
