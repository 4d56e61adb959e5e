"""When the disk fails: nothing is acknowledged, nothing is lost, reads go on, and so do writes once it works again."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from peerstack.dht.namespaces import LatestVersion, Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import Outcome, Rules, SourceKind, Status, Swept
from peerstack.dht.store.sqlite import SqliteRecordStore, SqliteStorage
from peerstack.errors import InvalidRecord, StoreError
from peerstack.testing.store_conformance import NOW, RecordMaker, source_of

ALICE = RecordMaker.from_number(1)
CLIENT = source_of(SourceKind.CLIENT)
HELD = ALICE.put(Slot("kv", b"held"), bytes(1000))
RULES = Rules(namespaces=Namespaces(), parameters=KADEMLIA_PRESETS["wan"])


@pytest_asyncio.fixture
async def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStorage]:
    monkeypatch.setattr("peerstack.dht.store.sqlite.file._WRITER_PATIENCE_S", 0.01)
    storage = await SqliteStorage.open(tmp_path / "peerstack.db")
    yield storage
    await storage.close()


@pytest_asyncio.fixture
async def store(storage: SqliteStorage) -> SqliteRecordStore:
    store = storage.record_store("store", RULES)
    assert (await merge(store, HELD)).status is Status.STORED
    return store


async def merge(store: SqliteRecordStore, record: Record) -> Outcome:
    outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.merge([record], source=CLIENT, now=NOW, done=outcomes.set_result)
    return (await outcomes)[0]


def failure_of(storage: SqliteStorage) -> StoreError | None:
    return storage.failure


@contextmanager
def full_disk(storage: SqliteStorage) -> Iterator[None]:
    writer = storage._session.files.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    yield
    writer.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(storage: SqliteStorage) -> Iterator[None]:
    writer = storage._session.files.writer
    writer.execute("PRAGMA query_only = ON")
    yield
    writer.execute("PRAGMA query_only = OFF")


@contextmanager
def locked_by_somebody_else(storage: SqliteStorage) -> Iterator[None]:
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("trouble", "said"),
    [(full_disk, "the disk is full"), (read_only, "read-only"), (locked_by_somebody_else, "another process has locked it")],
)
async def test_a_transaction_that_fails_answers_everyone_in_it_with_failure_and_changes_nothing(
    storage: SqliteStorage,
    store: SqliteRecordStore,
    trouble: Callable[[SqliteStorage], AbstractContextManager[None]],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = storage.side_table("table")
    usage = store.usage
    records = [ALICE.put(Slot("kv", b"%d" % n), bytes(60_000)) for n in range(20)]
    answers: list[object] = []
    with trouble(storage):
        for record in [*records, records[0], HELD]:
            store.merge([record], source=CLIENT, now=NOW, done=lambda outcomes: answers.append(outcomes[0]))
        store.drop([HELD], done=answers.append)
        store.sweep(HELD.remember_until, done=answers.append)
        table.put(b"key", b"value", done=answers.append)
        await storage._session.commits.flush()
        *outcomes, dropped, swept, put = answers
        assert {outcome.status for outcome in outcomes if isinstance(outcome, Outcome)} == {Status.FAILED}
        assert all(said in outcome.message for outcome in outcomes if isinstance(outcome, Outcome))
        assert (len(outcomes), dropped, swept, put) == (22, 0, Swept(0, 0), False)
        assert said in str(failure_of(storage))
        assert (await merge(store, ALICE.put(HELD.slot, bytes(50_000), at=NOW + 1))).status is Status.FAILED
        assert store.get(HELD.slot, now=NOW) == HELD
        assert store.scan(bytes(32), None, now=NOW) == [HELD]
        assert table.items() == []
        assert store.usage == usage
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1, "said once, not for every write"
    assert (await merge(store, records[0])).status is Status.STORED
    assert failure_of(storage) is None
    assert "works again" in caplog.text
    assert store.usage == usage.changed(1, records[0].size)


@pytest.mark.asyncio
async def test_more_than_the_disk_can_take_is_refused_and_not_piled_up(store: SqliteRecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peerstack.dht.store.sqlite.commits._MAX_QUEUED_BYTES", 100_000)
    statuses: list[Status] = []
    for n in range(20):
        record = ALICE.put(Slot("kv", b"%d" % n), bytes(10_000))
        store.merge([record], source=CLIENT, now=NOW, done=lambda outcomes: statuses.append(outcomes[0].status))
    assert statuses == [], "answered a turn later, like everybody"
    await store._session.commits.flush()
    assert sorted(statuses) == [Status.FAILED] * 11 + [Status.STORED] * 9
    assert (await merge(store, ALICE.put(Slot("kv", b"later")))).status is Status.STORED


class Crumbling(LatestVersion):
    """A namespace with a defect."""

    def validate(self, record: Record, now: int) -> None:
        if record.key == b"bad":
            raise ZeroDivisionError("a defect")
        if record.key == b"invalid":
            raise InvalidRecord("no")


@pytest.mark.asyncio
async def test_a_defect_in_a_namespace_fails_its_group_is_reported_and_ends_nothing(storage: SqliteStorage) -> None:
    reported: list[BaseException] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    store = storage.record_store("store", Rules(namespaces=Namespaces([Crumbling("app")]), parameters=KADEMLIA_PRESETS["wan"]))
    outcome = await merge(store, ALICE.put(Slot("app", b"bad")))
    loop.set_exception_handler(handler)
    assert outcome.status is Status.FAILED
    assert "a defect" in outcome.message
    assert [type(error) for error in reported] == [ZeroDivisionError]
    assert (await merge(store, ALICE.put(Slot("app", b"invalid")))).status is Status.INVALID
    assert (await merge(store, ALICE.put(Slot("app", b"good")))).status is Status.STORED


@pytest.mark.asyncio
async def test_a_callback_that_raises_keeps_nobody_from_an_answer(store: SqliteRecordStore) -> None:
    reported: list[BaseException] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    def fall_over(_: object) -> None:
        raise ZeroDivisionError

    store.merge([HELD], source=CLIENT, now=NOW, done=fall_over)
    assert (await merge(store, HELD)).status is Status.EQUAL
    loop.set_exception_handler(handler)
    assert [type(error) for error in reported] == [ZeroDivisionError]


@pytest.mark.asyncio
async def test_what_waits_while_a_commit_is_under_way_shares_the_next_one(store: SqliteRecordStore) -> None:
    commits: list[str] = []
    store._session.files.writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    outcomes: list[Outcome] = []
    for n in range(50):
        store.merge([ALICE.put(Slot("kv", b"%d" % n))], source=CLIENT, now=NOW, done=outcomes.extend)
    await asyncio.sleep(0)  # the first group is on its way to the disk
    for n in range(50, 100):
        store.merge([ALICE.put(Slot("kv", b"%d" % n))], source=CLIENT, now=NOW, done=outcomes.extend)
    await store._session.commits.flush()
    assert [outcome.status for outcome in outcomes] == [Status.STORED] * 100
    assert len(commits) == 2


@pytest.mark.asyncio
async def test_every_commit_is_synced(storage: SqliteStorage) -> None:
    writer = storage._session.files.writer
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: a loss of power is not survived otherwise"


@pytest.mark.asyncio
async def test_opening_that_was_cancelled_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "peerstack.db"
    opening = asyncio.ensure_future(SqliteStorage.open(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(30):
        while True:
            try:
                storage = await SqliteStorage.open(path)
                break
            except StoreError:
                await asyncio.sleep(0)
    await storage.close()
