"""A process that writes to a store until it is killed, and tells of each acknowledgement: see ``test_store_kill.py``.

``python -m tests.integration.store_writer FILE ROUND``
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Final

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import RecordStore, Rules, SideTable, SourceKind, StoreLimits
from peerstack.dht.store.sqlite import SqliteStorage
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

__all__ = ["MAX_UNDER_WAY", "RULES", "STORE", "TABLE", "Operation", "operations"]

MAX_UNDER_WAY: Final = 32
"""Operations that were begun and not acknowledged, at most."""
STORE, TABLE = "store", "table"
RULES: Final = Rules(
    namespaces=Namespaces(),
    parameters=KADEMLIA_PRESETS["wan"],
    limits=StoreLimits(max_records=150, max_bytes=200_000, sender_share=0.2, group_share=0.4, client_share=0.8),
)

Operation = Callable[[RecordStore, SideTable, Callable[[object], None]], None]
"""Does something, and calls back with what came of it."""

_WRITERS: Final = [RecordMaker.from_number(n) for n in range(2)]
_SOURCES: Final = [source_of(SourceKind.CLIENT, n, b"%d" % (n // 2)) for n in range(4)] + [source_of(SourceKind.REPAIR, 4)]


def operations(number: int) -> Iterator[Operation]:
    """What is written in one round, without end: always the same in the same round."""
    rng = random.Random(f"round {number}")
    now = NOW + number * 60 * MICROSECONDS
    written: list[Record] = []
    for n in range(1_000_000):
        yield _draw(rng, now, n, written)
        del written[:-100]


def _draw(rng: random.Random, now: int, n: int, written: list[Record]) -> Operation:
    kind = rng.choice(["put", "put", "put", "batch", "delete", "drop", "sweep", "side", "side"])
    if kind == "side":
        return lambda _store, table, done: table.put(b"%d" % (n % 3), b"%d" % n, done=done)
    if kind == "sweep":
        return lambda store, _table, done: store.sweep(now, done=done)
    if kind == "drop" and written:
        dropped = rng.sample(written, min(3, len(written)))
        return lambda store, _table, done: store.drop(dropped, done=done)
    records = [_record(rng, now + n, delete=kind == "delete") for _ in range(6 if kind == "batch" else 1)]
    written += records
    source = rng.choice(_SOURCES)
    return lambda store, _table, done: store.merge(records, source=source, now=now, done=lambda all_: done([each.status for each in all_]))


def _record(rng: random.Random, version: int, *, delete: bool) -> Record:
    slot, writer = Slot("kv", b"%d" % rng.randrange(60), b"%d" % rng.randrange(3)), rng.choice(_WRITERS)
    if delete:
        return writer.delete(slot, at=version)
    return writer.put(slot, rng.randbytes(rng.choice([0, 20, 500, 6000])), at=version, ttl=rng.choice([HOUR // 60, HOUR, 24 * HOUR]))


async def _write(path: str, number: int) -> None:
    storage = await SqliteStorage.open(path)
    store, table = storage.record_store(STORE, RULES), storage.side_table(TABLE)
    room = asyncio.Semaphore(MAX_UNDER_WAY)

    def acknowledge(answer: object) -> None:
        os.write(1, f"{answer}\n".encode())  # at once: what is in a pipe outlives its writer
        room.release()

    for operation in operations(number):
        await room.acquire()
        operation(store, table, acknowledge)


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2])))
