# ruff: noqa: D102 - a test's name says what it promises
"""What every storage must do, whoever wrote it; its record stores must pass `peerstack.testing.store_conformance` besides.

Subclass `StorageConformance`, or `DurableStorageConformance` for one that keeps its content, and let pytest collect it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from peerstack.dht.namespaces import LatestVersion, Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import Outcome, RecordStore, Rules, Source, SourceKind, Status, Storage, StoreLimits
from peerstack.errors import Closed
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

__all__ = ["DurableStorageConformance", "StorageConformance"]

_ALICE: Final = RecordMaker.from_number(1)
_SLOT: Final = Slot("kv", b"key")
_CLIENT: Final = source_of(SourceKind.CLIENT)
_REPAIR: Final = source_of(SourceKind.REPAIR, 1)


def _rules(limits: StoreLimits | None = None, namespaces: Namespaces | None = None) -> Rules:
    return Rules(namespaces=namespaces or Namespaces(), parameters=KADEMLIA_PRESETS["wan"], limits=limits or StoreLimits())


class StorageConformance:
    """The promises of `peerstack.dht.store.Storage`. Every test is a coroutine."""

    async def open_storage(self) -> Storage:
        """Open the storage of this test: the same one each time, if it is durable."""
        raise NotImplementedError

    async def test_a_side_table_keeps_what_was_put_last(self) -> None:
        async with self._opened() as storage:
            table = storage.side_table("table")
            assert table.get(b"key") is None
            for value in (b"first", b"", b"\x00last"):
                assert await _committed(lambda done, value=value: table.put(b"key", value, done=done))  # type: ignore[misc]
                assert table.get(b"key") == value

    async def test_a_side_table_lists_what_it_holds_ordered_by_key(self) -> None:
        async with self._opened() as storage:
            table = storage.side_table("table")
            for key in (b"b", b"", b"a\x00", b"gone", b"a"):
                table.put(key, b"value of " + key)
            assert await _committed(lambda done: table.delete(b"gone", done=done))
            assert await _committed(lambda done: table.delete(b"never", done=done))
            assert table.items() == [(key, b"value of " + key) for key in (b"", b"a", b"a\x00", b"b")]

    async def test_tables_and_stores_of_other_names_are_others(self) -> None:
        async with self._opened() as storage:
            assert await _committed(lambda done: storage.side_table("one").put(b"key", b"value", done=done))
            one, other = storage.record_store("one", _rules()), storage.record_store("other", _rules())
            record = _ALICE.put(_SLOT)
            assert await _merge(one, record) is Status.STORED
            assert storage.side_table("other").items() == []
            assert other.get(_SLOT, now=NOW) is None
            assert (one.usage.records, other.usage.records) == (1, 0)

    async def test_closing_answers_whatever_was_asked_before(self) -> None:
        async with self._opened() as storage:
            answers: list[bool] = []
            for n in range(20):
                storage.side_table("table").put(b"key", b"%d" % n, done=answers.append)
            await storage.close()
            assert answers == [True] * 20

    async def test_a_closed_storage_says_so(self) -> None:
        async with self._opened() as storage:
            store, table = storage.record_store("store", _rules()), storage.side_table("table")
            await storage.close()
            await storage.close()
            attempts: tuple[Callable[[], object], ...] = (
                lambda: storage.record_store("store", _rules()),
                lambda: storage.side_table("table"),
                lambda: store.get(_SLOT, now=NOW),
                lambda: store.merge([], source=_CLIENT, now=NOW, done=_ignore),
                lambda: table.get(b"key"),
                lambda: table.items(),
                lambda: table.put(b"key", b"value"),
            )
            for attempt in attempts:
                try:
                    attempt()
                except Closed:
                    continue
                raise AssertionError("a closed storage answered")
            await store.close()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Storage]:
        storage = await self.open_storage()
        try:
            yield storage
        finally:
            await storage.close()


class DurableStorageConformance(StorageConformance):
    """The promises of a `peerstack.dht.store.Storage` that keeps its content."""

    async def test_records_are_there_again_after_a_restart(self) -> None:
        live, delete = _ALICE.put(_SLOT, bytes(1000)), _ALICE.delete(Slot("kv", b"deleted"))
        dead = _ALICE.put(Slot("kv", b"dead"), ttl=HOUR // 2)
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            for record in (live, delete, dead):
                assert await _merge(store, record) is Status.STORED
            usage = store.usage
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            assert store.usage == usage
            assert store.get(_SLOT, now=NOW) == live
            assert store.get_all("kv", b"deleted", now=NOW) == [delete]
            assert store.get(dead.slot, now=dead.expires_at) == dead.without_value()
            assert {record.digest for record in store.scan(bytes(32), None, now=NOW)} == {live.digest, delete.digest, dead.digest}

    async def test_nothing_older_comes_back_after_a_restart(self) -> None:
        old, dropped = _ALICE.put(_SLOT, b"old", ttl=24 * HOUR), _ALICE.put(Slot("kv", b"dropped"))
        delete = _ALICE.delete(_SLOT, at=NOW + 1, seen=old.remember_until)
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            for record in (old, delete, dropped):
                await _merge(store, record)
            store.drop([dropped], done=_ignore)
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            assert store.get(dropped.slot, now=NOW) is None
            assert await _merge(store, old) is Status.SUPERSEDED
            assert store.get(_SLOT, now=NOW) == delete

    async def test_what_was_charged_to_whom_survives_a_restart(self) -> None:
        rules = _rules(StoreLimits(max_records=8, client_share=0.75, group_share=0.5, sender_share=0.25))
        other, stranger = source_of(SourceKind.CLIENT, 5), source_of(SourceKind.CLIENT, 6, b"elsewhere")
        async with self._opened() as storage:
            store = storage.record_store("store", rules)
            for n, source in enumerate((_CLIENT, _CLIENT, other, other, _REPAIR)):
                assert await _merge(store, _ALICE.put(Slot("kv", b"%d" % n)), source) is Status.STORED
        async with self._opened() as storage:
            store = storage.record_store("store", rules)
            more = _ALICE.put(Slot("kv", b"more"))
            assert await _merge(store, more, _CLIENT) is Status.FULL, "the sender's share is used up"
            assert await _merge(store, more, source_of(SourceKind.CLIENT, 7)) is Status.FULL, "its network's share is used up"
            store.drop([_ALICE.put(Slot("kv", b"0"))], done=_ignore)
            assert await _merge(store, more, _CLIENT) is Status.STORED
            assert await _merge(store, _ALICE.put(Slot("kv", b"last")), stranger) is Status.STORED

    async def test_what_fell_due_while_it_was_closed_is_swept(self) -> None:
        records = [_ALICE.put(Slot("kv", b"%d" % n), ttl=HOUR) for n in range(300)]
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            for record in records:
                store.merge([record], source=_REPAIR, now=NOW, done=_ignore)
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            later = NOW + 2 * HOUR
            assert await _merge(store, _ALICE.put(_SLOT, at=later), now=later) is Status.STORED
            assert store.usage.bytes == sum(record.without_value().size for record in records) + _ALICE.put(_SLOT, at=later).size

    async def test_a_namespace_that_is_not_served_any_more_is_kept_for_when_it_is(self) -> None:
        rules = _rules(namespaces=Namespaces([LatestVersion("app")]))
        record = _ALICE.put(Slot("app", b"key"))
        async with self._opened() as storage:
            assert await _merge(storage.record_store("store", rules), record) is Status.STORED
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            assert await _merge(store, record) is Status.INVALID
            assert store.get(record.slot, now=NOW) is None
            assert store.get_all("app", b"key", now=NOW) == []
            assert store.scan(bytes(32), None, now=NOW) == []
            store.sweep(record.remember_until - 1, done=_ignore)
            assert await _merge(store, _ALICE.put(_SLOT)) is Status.STORED
            assert store.usage.records == 2
        async with self._opened() as storage:
            store = storage.record_store("store", rules)
            assert store.get(record.slot, now=NOW) == record
        async with self._opened() as storage:
            store = storage.record_store("store", _rules())
            store.sweep(record.remember_until, done=_ignore)
            await store.close()
            assert storage.record_store("store", rules).get(record.slot, now=NOW) is None

    async def test_side_tables_are_there_again_after_a_restart(self) -> None:
        async with self._opened() as storage:
            table = storage.side_table("clock")
            for n in range(10):
                table.put(b"clock", b"%d" % n)
            table.put(b"gone", b"")
            table.delete(b"gone")
        async with self._opened() as storage:
            assert storage.side_table("clock").items() == [(b"clock", b"9")]


async def _merge(store: RecordStore, record: Record, source: Source = _CLIENT, now: int = NOW) -> Status:
    future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.merge([record], source=source, now=now, done=future.set_result)
    (outcome,) = await future
    return outcome.status


async def _committed(ask: Callable[[Callable[[bool], None]], None]) -> bool:
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ask(future.set_result)
    return await future


def _ignore(_: object) -> None:
    pass
