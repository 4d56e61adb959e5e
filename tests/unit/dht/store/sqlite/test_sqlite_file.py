# ruff: noqa: ASYNC221, ASYNC240 - nothing else runs in these loops
"""Opening: a file that cannot be used is kept, a file that can be is never moved, and the error says which it was."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Slot
from peerstack.dht.store import Outcome, Rules, SourceKind, Status
from peerstack.dht.store.sqlite import SqliteStorage
from peerstack.dht.store.sqlite.file import SCHEMA_VERSION
from peerstack.errors import StoreError
from peerstack.testing.store_conformance import NOW, RecordMaker, source_of

ALICE = RecordMaker.from_number(1)
RULES = Rules(namespaces=Namespaces(), parameters=KADEMLIA_PRESETS["wan"])
RECORDS = [ALICE.put(Slot("kv", b"%d" % n), bytes(1000)) for n in range(100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder #1?" / "peerstack.db"


async def fill(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    storage = await SqliteStorage.open(path)
    outcomes: list[Outcome] = []
    storage.record_store("store", RULES).merge(RECORDS, source=source_of(SourceKind.REPAIR), now=NOW, done=outcomes.extend)
    await storage.close()
    assert {outcome.status for outcome in outcomes} == {Status.STORED}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 4096] = random.Random(page).randbytes(4096)
    path.write_bytes(data)


def overwrite_everything(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))


def change_a_type(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE records SET record = 7 WHERE id = 5")


def become_foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE places (url TEXT)")


def lose_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE side")


def become_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("spoil", "label", "said"),
    [
        (truncate, "torn", "damaged"),
        (overwrite_pages, "torn", "damaged"),
        (overwrite_everything, "torn", "damaged"),
        (change_a_type, "torn", "damaged"),
        (become_foreign, "foreign", "some other program's"),
        (lose_a_table, "foreign", "not this version's"),
        (become_newer, "newer", "a newer version"),
    ],
)
async def test_a_file_that_cannot_be_used_is_kept_and_the_next_start_begins_an_empty_one(
    path: Path, spoil: Callable[[Path], None], label: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        await fill(path)
        spoil(path)
        spoilt = path.read_bytes()
        with caplog.at_level(logging.ERROR), pytest.raises(StoreError, match=said) as caught:
            await SqliteStorage.open(path)
        kept = path.with_name(f"peerstack.db.{label}-{number}")
        assert caught.value.kept_as == str(kept)
        assert caught.value.code == "store"
        assert str(kept) in caplog.text
        assert kept.read_bytes() == spoilt
        assert not path.exists()
    storage = await SqliteStorage.open(path)
    assert storage.record_store("store", RULES).usage.records == 0
    await storage.close()


@pytest.mark.asyncio
async def test_a_newer_file_is_of_use_again_under_its_own_name(path: Path) -> None:
    await fill(path)
    become_newer(path)
    with pytest.raises(StoreError) as caught:
        await SqliteStorage.open(path)
    kept = Path(caught.value.kept_as)
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # what the newer version would find
    kept.rename(path)
    storage = await SqliteStorage.open(path)
    assert storage.record_store("store", RULES).usage.records == len(RECORDS)
    await storage.close()


@pytest.mark.asyncio
async def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    await (await SqliteStorage.open(path)).close()
    await fill(path)


@pytest.mark.asyncio
async def test_a_file_is_opened_once(path: Path) -> None:
    path.parent.mkdir()
    storage = await SqliteStorage.open(path)
    with pytest.raises(StoreError, match="in use"):
        await SqliteStorage.open(path)
    script = "import asyncio, sys; from peerstack.dht.store.sqlite import SqliteStorage; asyncio.run(SqliteStorage.open(sys.argv[1]))"
    elsewhere = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert elsewhere.returncode == 1
    assert "StoreError" in elsewhere.stderr
    assert "in use" in elsewhere.stderr
    await storage.close()
    await (await SqliteStorage.open(path)).close()


@pytest.mark.asyncio
async def test_a_file_that_somebody_else_has_locked_is_left_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peerstack.dht.store.sqlite.file._WRITER_PATIENCE_S", 0.01)
    await fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="another process has locked it") as caught:
            await SqliteStorage.open(path)
        assert caught.value.kept_as == ""
    storage = await SqliteStorage.open(path)
    assert storage.record_store("store", RULES).usage.records == len(RECORDS)
    await storage.close()


@pytest.mark.asyncio
async def test_a_folder_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(StoreError, match=r"a folder #1\?/peerstack\.db cannot be opened: No such file") as caught:
        await SqliteStorage.open(path)
    assert isinstance(caught.value, OSError)


@pytest.mark.asyncio
async def test_a_folder_that_may_not_be_written_is_an_error_and_moves_nothing(path: Path) -> None:
    await fill(path)
    path.parent.chmod(0o500)
    root = os.geteuid() == 0
    if root:
        os.chown(path.parent, 65534, -1)
        for each in path.parent.iterdir():
            os.chown(each, 65534, -1)
        path.parent.parent.chmod(0o755)
        path.parent.parent.parent.chmod(0o755)
        path.parent.parent.parent.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match=r"cannot be opened|read-only"):
            await SqliteStorage.open(path)
    finally:
        if root:
            os.seteuid(0)
        path.parent.chmod(0o700)
    assert sorted(each.name for each in path.parent.iterdir()) == ["peerstack.db", "peerstack.db.lock"]


@pytest.mark.asyncio
async def test_nobody_else_may_read_it(path: Path) -> None:
    path.parent.mkdir()
    storage = await SqliteStorage.open(path)
    storage.side_table("table").put(b"key", b"value")
    await storage.record_store("store", RULES).close()
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes) == {"peerstack.db", "peerstack.db.lock", "peerstack.db-wal", "peerstack.db-shm"}
    assert set(modes.values()) == {0o600}
    await storage.close()


def test_what_needs_no_disk_loads_no_sqlite() -> None:
    script = "import sys, peerstack, peerstack.dht.store, peerstack_kad; sys.exit('sqlite3' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
