"""A disk that cannot be read or written: nothing is acknowledged for it, nothing hangs, and it is made good afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

import pytest

from peerstack.dht.contract import PutResult, RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MemoryStore, Rules
from peerstack.dht.store.contract import Cursor, Outcome, Source, Status
from peerstack.errors import QuorumNotMet, StoreError
from peerstack.testing import virtual_time
from peerstack.testing.dht_conformance import raises
from tests.sim.kad_network import NodeOptions, SimulatedKademlia


class BadDisk(MemoryStore):
    """Fails while it is told to."""

    def __init__(self) -> None:
        super().__init__(Rules(namespaces=Namespaces(), parameters=KADEMLIA_PRESETS["local"]))
        self.broken = False

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        if self.broken:
            done([Outcome(Status.FAILED, None, "the disk is broken") for _ in records])
        else:
            super().merge(records, source=source, now=now, done=done)

    def get_all(self, namespace: str, key: bytes, *, now: int) -> list[Record]:
        return self._fail() if self.broken else super().get_all(namespace, key, now=now)

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        return self._fail() if self.broken else super().scan(low, high, now=now, after=after, limit=limit)

    def _fail(self) -> NoReturn:
        raise StoreError("the disk is broken")


async def network_with(disk: BadDisk) -> SimulatedKademlia:
    network = await SimulatedKademlia.open(2)
    await network.add(NodeOptions(store=disk))
    return network


def test_a_holder_whose_disk_fails_acknowledges_nothing_and_holds_nobody_up() -> None:
    async def main() -> None:
        disk = BadDisk()
        network = await network_with(disk)
        disk.broken = True
        put = await network.dht(0).put("key", b"value", ttl=3000)
        assert put.promised
        assert network.peer_id(2) not in put.stored
        error = await raises(QuorumNotMet, network.dht(0).put("key", b"value", ttl=3000, ack="all"))
        assert isinstance(error.result, PutResult)
        assert {peer: refusal.reason for peer, refusal in error.result.refused.items()} == {network.peer_id(2): RefusalReason.FAILED}
        found = await network.dht(2).get("key")
        assert (found.value, found.confirmed, found.local) == (b"value", True, False)
        disk.broken = False
        await asyncio.sleep(3 * network.parameters.repair_s)
        assert disk.get(Slot("kv", b"key"), now=network.nodes[2].outside.wall_us()) is not None
        await network.close()

    virtual_time.run(main())


def test_nobody_takes_over_from_a_disk_that_cannot_be_read() -> None:
    async def main() -> None:
        disk = BadDisk()
        network = await network_with(disk)
        await network.dht(0).put("key", b"value", ttl=3000, ack="all")
        disk.broken = True
        newcomer = network.start()
        ready = []
        for broken in (True, False):
            disk.broken = broken
            await asyncio.sleep(30)
            ready.append(newcomer.node.ready)
        assert ready == [False, True]
        await network.close()

    virtual_time.run(main())


def test_leaving_with_a_broken_disk_says_so_and_ends() -> None:
    async def main() -> None:
        disk = BadDisk()
        network = await network_with(disk)
        await network.dht(0).put("key", b"value", ttl=3000, ack="all")
        disk.broken = True
        report = await network.dht(2).leave(timeout=20)
        assert not report.complete
        assert network.peer_id(2) in report.failed
        network.go(2)
        assert (await network.dht(1).get("key")).value == b"value"
        await network.close()

    virtual_time.run(main())


@pytest.mark.parametrize("broken_for_s", [1, 60])
def test_repair_goes_on_when_the_disk_does(broken_for_s: float) -> None:
    async def main() -> None:
        disk = BadDisk()
        network = await network_with(disk)
        await network.dht(0).put("key", b"value", ttl=3000, ack="all")
        disk.broken = True
        await asyncio.sleep(broken_for_s)
        disk.broken = False
        lost = network.nodes[1]
        record = lost.store.get(Slot("kv", b"key"), now=lost.outside.wall_us())
        assert record is not None
        for node in network.nodes[:2]:
            node.store.drop([record], done=lambda _count: None)
        await asyncio.sleep(3 * network.parameters.repair_s)
        assert lost.store.get(Slot("kv", b"key"), now=lost.outside.wall_us()) is not None
        await network.close()

    virtual_time.run(main())
