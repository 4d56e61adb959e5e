"""The store on disk, against the one in memory: the same schedule has the same answers, restarts and all."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.policy import DELETED, Lifetime, draft_record
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MemoryStore, Outcome, RecordStore, Rules, SourceKind, StoreLimits, Swept
from peerstack.dht.store.sqlite import SqliteStorage
from peerstack.testing import virtual_time
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

PARAMETERS = KADEMLIA_PRESETS["wan"]
LIMITS = StoreLimits(max_records=12, max_bytes=4000, client_share=0.8, group_share=0.6, sender_share=0.4)
RULES = Rules(namespaces=Namespaces(), parameters=PARAMETERS, limits=LIMITS)
WRITERS = [RecordMaker.from_number(n).signer for n in (1, 2)]
SLOTS = [Slot("kv", b"key %d" % n, b"%d" % m) for n in range(4) for m in range(3)]
SOURCES = [source_of(SourceKind.CLIENT, n, group) for n, group in enumerate((b"a", b"a", b"b", b""))]
SOURCES += [source_of(SourceKind.LOCAL, 4), source_of(SourceKind.REPAIR, 5), source_of(SourceKind.HANDOFF, 0, b"a")]

Answer = list[Outcome] | int | Swept
Step = Callable[[RecordStore, Callable[[Answer], None]], None]


def draw_record(rng: random.Random, now: int) -> Record:
    slot, time = rng.choice(SLOTS), now - rng.randrange(3) * HOUR + rng.randrange(-1, 2)
    life = rng.choice([DELETED, Lifetime(time + HOUR, False), Lifetime(time + 48 * HOUR, True)])
    value = b"" if life is DELETED else bytes(rng.choice([0, 10, 400]))
    record = Record.sign(draft_record(slot, value, time, life, 0, PARAMETERS), rng.choice(WRITERS))
    return record.without_value() if rng.random() < 0.1 else record


def draw_step(rng: random.Random, now: int, sent: list[Record]) -> Step:
    """One call of a store."""
    match rng.choice(["merge", "merge", "merge", "again", "drop", "sweep"]):
        case "drop" if sent:
            dropped = rng.sample(sent, min(len(sent), 3))
            return lambda store, done: store.drop(dropped, done=done)
        case "sweep":
            return lambda store, done: store.sweep(now, done=done)
        case "again" if sent:
            records = rng.sample(sent, min(len(sent), 3))
        case _:
            records = [draw_record(rng, now) for _ in range(rng.choice([0, 1, 1, 4]))]
            sent += records
    source = rng.choice(SOURCES)
    return lambda store, done: store.merge(records, source=source, now=now, done=done)


def compare(disk: RecordStore, memory: RecordStore, rng: random.Random, now: int) -> None:
    assert disk.usage == memory.usage
    for slot in SLOTS:
        assert disk.get(slot, now=now) == memory.get(slot, now=now)
        assert disk.get_all(slot.namespace, slot.key, now=now) == memory.get_all(slot.namespace, slot.key, now=now)
    low, high = sorted((rng.randbytes(32), rng.choice([rng.randbytes(32), rng.choice(SLOTS).position])))
    after = rng.choice([None, (rng.choice([low, rng.choice(SLOTS).position]), rng.choice(SLOTS).subkey)])
    for start, end in ((low, high), (low, None), (bytes(32), None)):
        limit = rng.choice([0, 1, 3, 100])
        assert disk.scan(start, end, now=now, after=after, limit=limit) == memory.scan(start, end, now=now, after=after, limit=limit)


async def run_schedule(rng: random.Random, path: Path) -> None:
    storage = await SqliteStorage.open(path)
    disk, memory, now = storage.record_store("store", RULES), MemoryStore(RULES), NOW
    sent: list[Record] = []
    for _ in range(12):
        from_disk: list[Answer] = []
        from_memory: list[Answer] = []
        for _ in range(rng.randrange(8)):
            step = draw_step(rng, now, sent)
            step(disk, from_disk.append)
            step(memory, from_memory.append)
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        if rng.random() < 0.3:
            await storage.close()
            storage = await SqliteStorage.open(path)
            disk = storage.record_store("store", RULES)
        else:
            await storage._session.commits.flush()
        assert from_disk == from_memory
        now += int(rng.choice([0, 0.01, 1, 100]) * HOUR * rng.random())
        compare(disk, memory, rng, now)
    await storage.close()
    assert storage.invalid_records == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 64), st.booleans())
def test_on_disk_and_in_memory_the_same_schedule_has_the_same_answers(seed: int, virtual: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (virtual_time.run if virtual else asyncio.run)(run_schedule(random.Random(seed), Path(folder) / "peerstack.db"))
