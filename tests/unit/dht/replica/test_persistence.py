from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from peerstack.dht.records import Slot
from peerstack.dht.replica.acquaintances import Acquaintances
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.persistence import NodeState, OwnRecord, Remembered
from peerstack.dht.store.storage import MemorySideTable, ignore
from peerstack.errors import KeyNotFound, StoreError, Unavailable
from peerstack.identity import PeerId
from peerstack.testing import virtual_time
from peerstack.testing.dht_conformance import raises
from peerstack.testing.store_conformance import RecordMaker
from tests.sim.kad_network import NodeOptions, SimulatedKademlia, SimulatedNode

ALICE = RecordMaker.from_number(1)
SLOT = Slot("kv", b"key", b"sub")


def contact(number: int) -> Contact:
    return Contact.of(PeerId(b"\x00\x02" + number.to_bytes(2, "big")), (b"\x04\x7f\x00\x00\x01\x06\x10\x00",))


def shown(remembered: list[Remembered]) -> list[tuple[PeerId, tuple[bytes, ...], int | None]]:
    return [(each.contact.peer_id, each.contact.addresses, each.heard_at_us) for each in remembered]


class FailingTable(MemorySideTable):
    """A disk that is full."""

    failing = False

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        if self.failing:
            done(False)
        else:
            super().put(key, value, done=done)


def test_what_was_saved_is_there_in_the_next_run() -> None:
    table = MemorySideTable()
    state = NodeState(table)
    assert (state.clock(), state.own_records(), state.servers()) == (0, [], [])
    kept: list[bool] = []
    state.save_clock(1_700_000_000_000_001, kept.append)
    record = ALICE.put(SLOT, b"value")
    state.save_own(SLOT, OwnRecord(record, record.expires_at))
    state.save_own(Slot("kv", b"other"), OwnRecord(ALICE.put(Slot("kv", b"other")), 7))
    state.save_own(Slot("kv", b"other"), None)
    counted, others = [(contact(1), 2.5), (contact(2), 0.0)], [contact(3)]
    state.save_servers(counted, others, 10_000_000)

    again = NodeState(table)
    assert kept == [True]
    assert again.clock() == 1_700_000_000_000_001
    assert again.own_records() == [OwnRecord(record, record.expires_at)]
    expected = [Remembered(contact(1), 7_500_000), Remembered(contact(2), 10_000_000), Remembered(contact(3))]
    assert shown(again.servers()) == shown(expected)


def test_what_is_damaged_is_said_not_taken_for_nothing() -> None:
    table = MemorySideTable()
    state = NodeState(table)
    state.save_own(SLOT, OwnRecord(ALICE.put(SLOT), 1))
    state.save_servers([(contact(1), 0.0)], [], 1)
    for name, data in table.items():
        table.put(name, data[:-5])
    with pytest.raises(StoreError):
        state.own_records()
    with pytest.raises(StoreError):
        state.servers()


def test_the_clock_never_repeats_a_version_over_a_restart() -> None:
    async def main() -> None:
        table = MemorySideTable()
        network = SimulatedKademlia()
        ahead = NodeOptions(state=NodeState(table), skew_s=600)
        await network.add(ahead)
        first = await network.dht(0).put("key", b"one", ttl=3000)
        await network.crash(0)
        # Its clock was set back by ten minutes meanwhile, and its records are gone.
        await founded_again(network, NodeOptions(state=NodeState(table)))
        second = await network.dht(0).put("key", b"two", ttl=3000)
        assert second.version > first.version
        await network.close()

    virtual_time.run(main())


async def founded_again(network: SimulatedKademlia, options: NodeOptions) -> SimulatedNode:
    """Start server 0 again as the founder it was."""
    node = network.nodes[0] = SimulatedNode(network, 0, options)
    network.by_peer[node.contact.peer_id] = node
    node.node.start()
    await asyncio.sleep(1)
    return node


def test_a_version_that_could_not_be_saved_is_never_sent() -> None:
    async def main() -> None:
        table = FailingTable()
        network = SimulatedKademlia()
        await network.add(NodeOptions(state=NodeState(table)))
        await network.add()
        table.failing = True
        await raises(StoreError, network.dht(0).put("key", b"value", ttl=600))
        assert network.nodes[0].store.usage.records == network.nodes[1].store.usage.records == 0
        table.failing = False
        assert (await network.dht(0).put("key", b"value", ttl=600)).promised
        await network.close()

    virtual_time.run(main())


def test_own_records_are_renewed_by_the_next_run() -> None:
    async def main() -> None:
        table = MemorySideTable()
        network = await SimulatedKademlia.open(3)
        writer = await network.add(NodeOptions(state=NodeState(table)))
        put = await network.dht(writer).put("key", b"value")
        await network.crash(writer)
        await network.revive(writer, NodeOptions(state=NodeState(table)))
        await asyncio.sleep(2 * 3600)
        found = await network.dht(0).get("key")
        assert (found.value, found.record.version) == (b"value", put.version)
        await network.dht(0).put("key", b"other", ttl=3600)
        await asyncio.sleep(2400)
        assert NodeState(table).own_records() == []
        await network.close()

    virtual_time.run(main())


def test_a_founder_that_knew_others_does_not_found_again_but_finds_them() -> None:
    async def main() -> None:
        table = MemorySideTable()
        network = SimulatedKademlia()
        await network.add(NodeOptions(state=NodeState(table)))
        for _ in range(3):
            await network.add()
        await network.dht(1).put("key", b"value", ttl=3000, ack="all")
        await network.crash(0)
        node = await founded_again(network, NodeOptions(state=NodeState(table)))
        assert node.node.ready
        found = await node.get("key")
        assert (found.value, found.confirmed) == (b"value", True)
        await network.close()

    virtual_time.run(main())


def test_a_founder_whose_others_are_all_gone_acknowledges_nothing_until_it_is_told_to_forget_them() -> None:
    async def main() -> None:
        table, network = MemorySideTable(), SimulatedKademlia()
        await network.add(NodeOptions(state=NodeState(table)))
        disk = network.nodes[0].store
        await network.add()
        await network.dht(0).put("key", b"value", ttl=3000, ack="all")
        await network.crash(0)
        await network.crash(1)
        node = await founded_again(network, NodeOptions(state=NodeState(table), store=disk))
        await asyncio.sleep(2 * network.parameters.forget_s)
        await raises(Unavailable, node.put("key", b"new", ttl=600))
        found = await node.get("key")
        assert (found.value, found.confirmed) == (b"value", False)
        assert await node.forget() == (network.peer_id(1),)
        assert (await node.get("key")).confirmed
        assert (await node.put("key", b"new", ttl=600)).promised
        await network.close()

    virtual_time.run(main())


def test_all_servers_may_restart_at_once_with_their_disks() -> None:
    async def main() -> None:
        size = 6
        tables = [MemorySideTable() for _ in range(size)]
        network = SimulatedKademlia()
        for table in tables:
            await network.add(NodeOptions(state=NodeState(table)))
        keys = [f"key {index}" for index in range(10)]
        for index, key in enumerate(keys):
            await network.dht(index % size).put(key, key.encode(), ttl=3000)
        disks = [node.store for node in network.nodes]
        for number in range(size):
            await network.crash(number)
        for number in range(size):
            options = NodeOptions(state=NodeState(tables[number]), store=disks[number])
            if number == 0:
                await founded_again(network, options)
            else:
                await network.revive(number, options, wait=False)
            if number < size - 1:
                for key in keys:
                    absent = await absent_surely(network, number, key)
                    assert not absent, f"{key} is said not to exist while {size - 1 - number} servers are not back"
        await asyncio.sleep(network.parameters.forget_s)
        for key in keys:
            found = await network.dht(0).get(key)
            assert (found.value, found.confirmed) == (key.encode(), True)
        await network.close()

    virtual_time.run(main())


async def absent_surely(network: SimulatedKademlia, number: int, key: str) -> bool:
    try:
        await network.dht(number).get(key, timeout=3)
    except KeyNotFound:
        return True
    except Unavailable:
        return False
    return False


def test_who_left_while_a_server_was_down_is_not_waited_for() -> None:
    async def main() -> None:
        table, network = MemorySideTable(), await SimulatedKademlia.open(3)
        number = await network.add(NodeOptions(state=NodeState(table)))
        await network.dht(0).put("key", b"value", ttl=3000, ack="all")
        await asyncio.sleep(10)
        await network.crash(number)
        await network.leave(2)
        began = asyncio.get_running_loop().time()
        await network.revive(number, NodeOptions(state=NodeState(table)))
        assert asyncio.get_running_loop().time() - began < network.parameters.authority_loss_s
        assert (await network.dht(number).get("key")).confirmed
        await network.close()

    virtual_time.run(main())


def test_a_partition_without_a_common_contact_finds_itself_again() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(7)
        await network.partition({0, 1, 2, 3, 4}, {5, 6})
        await asyncio.sleep(5 * network.parameters.forget_s)
        assert network.peer_id(5) not in [entry.contact.peer_id for entry in network.dht(0).node.table]
        await network.dht(0).put("key", b"value", ttl=3000)
        await network.heal()
        await asyncio.sleep(4 * network.parameters.repair_s + 10)
        for number in range(7):
            found = await network.dht(number).get("key")
            assert (found.value, found.confirmed) == (b"value", True)
        await network.close()

    virtual_time.run(main())


def test_known_servers_are_saved_soon_after_they_change_and_now_and_then() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(3)
        node = network.nodes[0].node
        known = {each.contact.peer_id for each in node.engine.state.servers()}
        await asyncio.sleep(2 * network.parameters.stabilise_s)
        known = {each.contact.peer_id for each in node.engine.state.servers()}
        assert known == {network.peer_id(1), network.peer_id(2)}
        before = node.engine.state.servers()[0].heard_at_us
        await asyncio.sleep(400)
        after = node.engine.state.servers()[0].heard_at_us
        assert before is not None
        assert after is not None
        assert after > before
        await network.close()

    virtual_time.run(main())


def test_nobody_is_handed_a_page_who_would_not_be_counted_by_the_next_run() -> None:
    async def main() -> None:
        table, network = FailingTable(), SimulatedKademlia()
        await network.add(NodeOptions(state=NodeState(table)))
        newcomer = network.start()
        ready = []
        for failing in (True, False):
            table.failing = failing
            await asyncio.sleep(30)
            ready.append(newcomer.node.ready)
        assert ready == [False, True]
        assert [each.contact.peer_id for each in NodeState(table).servers() if each.heard_at_us is not None] == [network.peer_id(1)]
        await network.close()

    virtual_time.run(main())


class HeldTable(MemorySideTable):
    """A disk whose commits are held up once they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.holding = False
        self.held: list[Callable[[], None]] = []

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        write = partial(super().put, key, value, done=done)
        if self.holding:
            self.held.append(write)
        else:
            write()


def test_who_is_counted_is_kept_once_it_is_in_all_that_the_disk_may_hold() -> None:
    async def main() -> None:
        table, network = HeldTable(), SimulatedKademlia()
        await network.add(NodeOptions(state=NodeState(table)))
        await network.add()
        node, other = network.nodes[0].node, network.nodes[1].contact
        kept: list[bool] = []
        table.holding = True
        node.acquaintances.keep(other, kept.append)
        assert (kept, table.held) == ([True], [])
        member = node.engine.hood.members.pop(other.key)
        node.acquaintances.keep(other, kept.append)  # who is not counted need not be
        node.acquaintances.save_now()
        node.engine.hood.members[other.key] = member
        node.acquaintances.keep(other, kept.append)
        assert kept == [True, True]
        without, within = table.held
        without()
        assert kept == [True, True]
        within()
        node.acquaintances.keep(other, kept.append)
        assert (kept, len(table.held)) == ([True] * 4, 2)
        await network.close()

    virtual_time.run(main())


def test_acquaintances_ask_nobody_after_they_stopped() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(2)
        met: list[Contact] = []
        acquaintances = Acquaintances(network.nodes[0].node.engine, met.append, lambda _text: None)
        acquaintances.lost(network.nodes[1].contact)
        acquaintances.stop()
        await asyncio.sleep(60)
        acquaintances.knock()
        await asyncio.sleep(5)
        assert met == []
        await network.close()

    virtual_time.run(main())
