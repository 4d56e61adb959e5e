"""A process that writes is killed (SIGKILL) at a random moment, again and again, on one file.

What the file holds then must be what it held before and a whole number of further operations, in their order: at least all that were
acknowledged. So nothing acknowledged is missing, nothing is rolled back, no operation is there by half, and the books are right.

``PEERSTACK_KILLS`` says how often (``make kill-test`` runs 1,000).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

from peerstack.dht.records import Record
from peerstack.dht.store import MemorySideTable, MemoryStore, Usage
from peerstack.dht.store.sqlite import SqliteStorage
from peerstack.testing.store_conformance import NOW
from tests.integration.store_writer import MAX_UNDER_WAY, RULES, STORE, TABLE, operations

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("PEERSTACK_KILLS", "5"))
State = tuple[list[Record], list[tuple[bytes, bytes]], Usage]


def write_and_kill(path: Path, number: int, rng: random.Random) -> list[str]:
    """Let a process write, and kill it; what it acknowledged."""
    command = [sys.executable, "-m", "tests.integration.store_writer", str(path), str(number)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(rng.choice([0, 1, 30, 100]))]
        try:  # not just after an acknowledgement; and while the file is being opened, where none was waited for
            process.wait(timeout=rng.random() * (0.01 if acknowledged else 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
        acknowledged += process.stdout.readlines()
        assert process.wait() == -9, "it ended by itself"
    return [line.rstrip("\n") for line in acknowledged]


async def read(path: Path) -> State:
    storage = await SqliteStorage.open(path)
    store = storage.record_store(STORE, RULES)
    state = store.scan(bytes(32), None, now=NOW, limit=10_000), storage.side_table(TABLE).items(), store.usage
    await storage.close()
    assert storage.invalid_records == 0
    return state


class Model:
    """What the file must hold."""

    def __init__(self) -> None:
        self.store, self.table = MemoryStore(RULES), MemorySideTable()

    @property
    def state(self) -> State:
        return self.store.scan(bytes(32), None, now=NOW, limit=10_000), self.table.items(), self.store.usage

    def advance(self, number: int, acknowledged: list[str], found: State) -> int:
        """Do what was acknowledged, and as much more as makes the state the one that was found; how much more."""
        rest = operations(number)
        for line in acknowledged:
            answers: list[object] = []
            next(rest)(self.store, self.table, answers.append)
            assert [line] == [str(answer) for answer in answers]
        for more in range(MAX_UNDER_WAY + 1):
            if self.state == found:
                return more
            next(rest)(self.store, self.table, _ignore)
        raise AssertionError("the file holds what no number of the operations leads to, or lacks one that was acknowledged")


def test_nothing_acknowledged_is_missing_after_a_kill(tmp_path: Path) -> None:
    path, model, rng = tmp_path / "peerstack.db", Model(), random.Random()
    acknowledged = unacknowledged = 0
    for number in range(KILLS):
        lines = write_and_kill(path, number, rng)
        unacknowledged += model.advance(number, lines, asyncio.run(read(path)))
        acknowledged += len(lines)
    print(f"{KILLS} kills: {acknowledged} operations acknowledged, {unacknowledged} more committed")  # noqa: T201
    assert sorted(each.name for each in tmp_path.iterdir()) == ["peerstack.db", "peerstack.db.lock"], "a file was kept aside"


def _ignore(_: object) -> None:
    pass
