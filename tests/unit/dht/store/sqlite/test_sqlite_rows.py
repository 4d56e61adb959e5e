"""Records are verified again when they are loaded: what is not what was stored is never served, and goes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import Outcome, Rules, SourceKind, Status, Swept, Usage
from peerstack.dht.store.sqlite import SqliteRecordStore, SqliteStorage
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

ALICE, BOB = RecordMaker.from_number(1), RecordMaker.from_number(2)
RULES = Rules(namespaces=Namespaces(), parameters=KADEMLIA_PRESETS["wan"])
RECORDS = [ALICE.put(Slot("kv", b"%d" % n)) for n in range(200)]
VICTIM = RECORDS[-1]
Tamper = Callable[[sqlite3.Connection], object]
CLIENT = source_of(SourceKind.CLIENT)


async def fill(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    outcomes: list[Outcome] = []
    storage.record_store("store", RULES).merge(RECORDS, source=CLIENT, now=NOW, done=outcomes.extend)
    await storage.close()
    assert {outcome.status for outcome in outcomes} == {Status.STORED}


async def merge(store: SqliteRecordStore, record: Record) -> Status:
    outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.merge([record], source=source_of(SourceKind.REPAIR), now=NOW, done=outcomes.set_result)
    return (await outcomes)[0].status


def tamper(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount >= 1


def resigned() -> Record:
    """The victim's header under the signature of another record."""
    return replace(VICTIM, signature=BOB.put(VICTIM.slot).signature)


WHERE = "WHERE digest = x'" + VICTIM.digest.hex() + "'"
TAMPERINGS = [
    ("UPDATE records SET record = ? " + WHERE, resigned().encode()),
    ("UPDATE records SET record = ? " + WHERE, b"\xffgarbage"),
    ("UPDATE records SET record = ? " + WHERE, b""),
    ("UPDATE records SET record = ? " + WHERE, RECORDS[0].encode()),
    ("UPDATE records SET record = ? " + WHERE, VICTIM.encode()[:-1] + b"!"),
    ("UPDATE records SET subkey = ? " + WHERE, b"elsewhere"),
    ("UPDATE records SET position = ? " + WHERE, bytes(32)),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("statement", "value"), TAMPERINGS)
async def test_a_record_that_was_tampered_with_is_found_after_opening_dropped_counted_and_logged(
    tmp_path: Path, statement: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peerstack.db"
    await fill(path)
    tamper(path, statement, value)
    storage = await SqliteStorage.open(path)
    store = storage.record_store("store", RULES)
    while storage._session._trust.checked_id < storage._session._trust.last_id:
        await merge(store, RECORDS[0])
    left = [record for record in RECORDS if record is not VICTIM]
    assert storage.invalid_records == 1
    assert "was not what was stored" in caplog.text
    assert store.usage == Usage(len(left), sum(record.size for record in left))
    assert set(store.scan(bytes(32), None, now=NOW, limit=1000)) == set(left)
    await storage.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(("statement", "value"), TAMPERINGS)
async def test_a_record_that_was_tampered_with_is_not_served_even_before_it_is_found(tmp_path: Path, statement: str, value: bytes) -> None:
    path = tmp_path / "peerstack.db"
    await fill(path)
    tamper(path, statement, value)
    storage = await SqliteStorage.open(path)
    store = storage.record_store("store", RULES)
    assert store.get(VICTIM.slot, now=NOW) is None
    assert store.get_all("kv", VICTIM.key, now=NOW) == []
    assert VICTIM.slot not in {record.slot for record in store.scan(bytes(32), None, now=NOW, limit=1000)}
    assert await merge(store, VICTIM) is Status.STORED
    assert store.get(VICTIM.slot, now=NOW) == VICTIM
    await storage.close()


@pytest.mark.asyncio
async def test_a_record_that_decays_while_the_store_is_open_is_not_served_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "peerstack.db"
    storage = await SqliteStorage.open(path)
    store = storage.record_store("store", RULES)
    await merge(store, VICTIM)
    await merge(store, RECORDS[0])
    tamper(path, "UPDATE records SET record = ? " + WHERE, ALICE.put(VICTIM.slot, at=NOW + 1).encode())
    assert store.get(VICTIM.slot, now=NOW) is None
    await storage._session.commits.flush()
    assert (storage.invalid_records, store.usage) == (1, Usage(1, RECORDS[0].size))
    await storage.close()


@pytest.mark.asyncio
async def test_the_books_forget_senders_that_are_charged_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peerstack.db"
    await fill(path)
    storage = await SqliteStorage.open(path)
    store = storage.record_store("store", RULES)
    store.drop(RECORDS, done=lambda _: None)
    await storage.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM books").fetchall() == []


@pytest.mark.asyncio
async def test_only_some_of_many_invalid_records_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peerstack.db"
    await fill(path)
    tamper(path, "UPDATE records SET digest = ?", bytes(32))
    storage = await SqliteStorage.open(path)
    store = storage.record_store("store", RULES)
    assert store.scan(bytes(32), None, now=NOW, limit=1000) == []
    await storage._session.commits.flush()
    await storage.close()
    assert storage.invalid_records == len(RECORDS)
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 10


@pytest.mark.asyncio
async def test_a_namespace_whose_rules_changed_is_swept_by_the_new_ones(tmp_path: Path) -> None:
    record = ALICE.put(Slot("kv", b"key"))
    storage = await SqliteStorage.open(tmp_path / "peerstack.db")
    store = storage.record_store("store", RULES)
    await merge(store, record)
    await storage.close()
    tamper(tmp_path / "peerstack.db", "UPDATE records SET due_at = 0")  # as other rules would have it
    storage = await SqliteStorage.open(tmp_path / "peerstack.db")
    store = storage.record_store("store", RULES)
    swept: list[Swept] = []
    store.sweep(NOW + HOUR // 2, done=swept.append)
    store.sweep(NOW + HOUR, done=swept.append)
    await storage.close()
    assert swept == [Swept(expired=0, forgotten=0), Swept(expired=1, forgotten=0)]
