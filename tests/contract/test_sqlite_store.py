"""The store on disk keeps every promise of a store, on the real clock and in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from peerstack.dht.store import RecordStore, Rules, Storage
from peerstack.dht.store.sqlite import SqliteStorage
from peerstack.testing.storage_conformance import DurableStorageConformance
from peerstack.testing.store_conformance import StoreConformance


@pytest.mark.asyncio(loop_factories=["ordinary", "virtual"])
class TestSqliteStore(StoreConformance):
    storage: SqliteStorage

    @pytest_asyncio.fixture(autouse=True)
    async def _open(self, tmp_path: Path) -> AsyncIterator[None]:
        self.storage = await SqliteStorage.open(tmp_path / "peerstack.db")
        yield
        await self.storage.close()

    async def make_store(self, rules: Rules) -> RecordStore:
        return self.storage.record_store("store", rules)


@pytest.mark.asyncio(loop_factories=["ordinary", "virtual"])
class TestSqliteStorage(DurableStorageConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "peerstack.db"

    async def open_storage(self) -> Storage:
        return await SqliteStorage.open(self.path)
