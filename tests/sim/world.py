"""One network under test: what it is asked and what befalls it goes into a history, for the oracle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from peerstack.dht.clock import to_microseconds
from peerstack.dht.contract import Ack, PutResult
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Record, wire_key
from peerstack.dht.replica.contacts import position_of
from peerstack.errors import Closed, DeadlineExceeded, KeyNotFound, PeerstackError, QuorumNotMet, Unavailable
from peerstack.identity import PeerId
from peerstack.testing.message_network import LinkModel
from peerstack.testing.virtual_time import EPOCH, wall_clock
from tests.sim.disk import SlowDisk
from tests.sim.history import (
    Absence,
    Back,
    Copy,
    Crash,
    Cut,
    Found,
    Healed,
    History,
    Left,
    Load,
    Outcome,
    Quiet,
    Read,
    Slot,
    Snapshot,
    Table,
    Write,
)
from tests.sim.kad_network import NodeOptions, SimulatedKademlia
from tests.sim.oracle import Bounds, Oracle

__all__ = ["SMALL", "World"]

ResultT = TypeVar("ResultT")

SMALL = NetworkParameters(
    k=4, replicas=3, r=3, max_ttl_s=3600, stabilise_s=2, rpc_timeout_s=1, repair_s=60, authority_loss_s=150, forget_s=180
)
"""The `local` preset with smaller buckets, so that in sixty nodes routing and placement matter, and a calmer upkeep."""

_ORIGIN_US = to_microseconds(EPOCH)
_TIMEOUT_S = 20.0
_TTL_S = 3500.0


@dataclass(slots=True)
class World:
    """A network, its history, and dice."""

    network: SimulatedKademlia
    dice: random.Random
    history: History = field(default_factory=History)
    figures: dict[str, float] = field(default_factory=dict)
    """What a scenario measured."""
    max_skew_s: float = 0.0
    judged: bool = True
    """Whether the promises hold in this scenario at all (they do not among liars)."""
    _values: int = 0

    @classmethod
    def make(cls, seed: int, size: int, *, links: LinkModel | None = None, parameters: NetworkParameters = SMALL) -> World:
        """Assemble a network."""
        network = SimulatedKademlia(seed, parameters=parameters, links=links, trace=True)
        network.assemble(size)
        return cls(network, random.Random(f"world {seed}"))

    @property
    def parameters(self) -> NetworkParameters:
        """The network's."""
        return self.network.parameters

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def oracle(self) -> Oracle:
        """The judge of this world."""
        return Oracle(
            lambda slot, servers, count: self.network.responsible(_position(slot), servers, count),
            replicas=self.parameters.replicas,
            remember_s=self.parameters.max_ttl_s,
            skew_s=2 * self.max_skew_s,
            bounds=Bounds(contacts=50 * self.parameters.k + 200),
        )

    def anyone(self) -> int:
        """A server that runs."""
        return self.dice.choice(self.network.up())

    def guardians(self, slot: Slot) -> list[int]:
        """The responsible servers that run."""
        return self.network.responsible(_position(slot), self.network.up(), self.parameters.replicas)

    # -- operations

    async def put(
        self,
        name: str,
        *,
        node: int | None = None,
        ttl: float | None = _TTL_S,
        ack: Ack = "majority",
        delete: bool = False,
        subkey: str = "",
    ) -> Write:
        """Write a value nobody ever wrote before, or delete."""
        self._values += 1
        value = None if delete else b"value %d of %s" % (self._values, name.encode())
        node = self.anyone() if node is None else node
        slot = (name.encode(), subkey.encode())
        write = Write(
            slot=slot, node=node, start=self.now, end=self.now, value=value, outcome=Outcome.VANISHED, renewable=ttl is None and not delete
        )
        self.history.writes.append(write)
        dht = self.network.dht(node)
        try:
            if value is None:
                result = await self._unless_dead(node, dht.delete(name, subkey=subkey, timeout=_TIMEOUT_S))
            else:
                result = await self._unless_dead(node, dht.put(name, value, subkey=subkey, ttl=ttl, ack=ack, timeout=_TIMEOUT_S))
        except QuorumNotMet as error:
            write.outcome = Outcome.UNDECIDED
            self._take(write, error.result)
        except Closed:
            write.outcome = Outcome.VANISHED
        except PeerstackError:
            write.outcome = Outcome.NOT_WRITTEN
        else:
            write.outcome = Outcome.OK if result.promised else Outcome.UNDECIDED
            self._take(write, result)
        write.end = self.now
        return write

    async def delete(self, name: str, *, node: int | None = None) -> Write:
        """Delete."""
        return await self.put(name, node=node, delete=True)

    async def get(self, name: str, *, node: int | None = None, quiescent: bool = False, subkey: str = "") -> Read:
        """Read."""
        node = self.anyone() if node is None else node
        slot = (name.encode(), subkey.encode())
        skew = self.network.dht(node).options.skew_s
        read = Read(slot=slot, node=node, start=self.now, end=self.now, result=Absence.UNAVAILABLE, quiescent=quiescent, skew_s=skew)
        try:
            found = await self._unless_dead(node, self.network.dht(node).get(name, subkey=subkey, timeout=_TIMEOUT_S))
        except KeyNotFound:
            read.result = Absence.NOT_FOUND
        except (Unavailable, DeadlineExceeded):
            read.result = Absence.UNAVAILABLE
        except Closed:
            return read
        else:
            record = found.record
            read.result = Found(found.value, record.version, _seconds(record.expires_at), found.confirmed)
        read.end = self.now
        read.holders = tuple(number for number in self.guardians(slot) if self._holds_live(number, slot))
        self.history.reads.append(read)
        return read

    async def read_all(self, names: Iterable[str], *, quiescent: bool = False, readers: int = 1) -> list[Read]:
        """Read many keys, a few at a time."""
        reads = [(name, self.anyone()) for name in names for _ in range(readers)]
        return await together([partial(self.get, name, node=node, quiescent=quiescent) for name, node in reads])

    async def put_all(self, names: Iterable[str], *, ttl: float | None = _TTL_S, ack: Ack = "majority") -> list[Write]:
        """Write many keys, a few at a time."""
        puts = [(name, self.anyone()) for name in names]
        return await together([partial(self.put, name, node=node, ttl=ttl, ack=ack) for name, node in puts])

    # -- what befalls it

    async def crash(self, number: int, *, disk_lost: bool = True) -> None:
        """Kill a server."""
        store = self.network.nodes[number].store
        if isinstance(store, SlowDisk):
            store.power_off()
        await self.network.crash(number)
        self.history.events.append(Crash(self.now, number, disk_lost))

    async def back(self, number: int, *, with_disk: bool, wait: bool = True) -> None:
        """Start a killed server again."""
        old = self.network.nodes[number]
        options = old.options
        if with_disk:
            self.history.events.append(Back(self.now, number))
            store = old.store.power_on() if isinstance(old.store, SlowDisk) else old.store
            options = replace(options, store=store)
        await self.network.revive(number, options, wait=wait)

    async def leave(self, number: int) -> bool:
        """Let a server leave; whether it handed over every record."""
        report = await self.network.nodes[number].leave()
        self.network.go(number)
        complete = report.handed_over == report.records
        self.history.events.append(Left(self.now, number, complete, tuple(self.network.up())))
        return complete

    async def cut_off(self, away: Iterable[int]) -> None:
        """Let the network fall in two."""
        side = frozenset(away)
        await self.network.partition(set(self.network.up()) - side, set(side))
        self.history.events.append(Cut(self.now, side))

    async def heal(self) -> None:
        """Make it one again."""
        await self.network.heal()
        self.history.events.append(Healed(self.now))

    async def join(self, options: NodeOptions | None = None) -> int | None:
        """Let a server join; None where it could not finish."""
        try:
            return await self.network.add(options)
        except (DeadlineExceeded, Closed):
            return None

    async def quiet(self, seconds: float | None = None) -> None:
        """Let the silent be forgotten, the rest exchange, and a whole repair round pass."""
        parameters = self.parameters
        await asyncio.sleep(2 * parameters.forget_s + 2 * parameters.repair_s if seconds is None else seconds)
        self.history.events.append(Quiet(self.now, tuple(self.network.up())))

    def look(self) -> Snapshot:
        """Take down all stores, tables and loads."""
        network = self.network
        numbers = {peer: node.number for peer, node in network.by_peer.items()}
        up = [network.nodes[number] for number in network.up()]
        snapshot = Snapshot(
            time=self.now,
            servers={node.number: node.contact.key for node in up},
            clients=frozenset(client.number for client in network.clients),
        )
        for node in up:
            table = node.node.table
            buckets = {index: tuple(numbers[each.contact.peer_id] for each in table.bucket(index)) for index in range(table.depth)}
            snapshot.tables.append(Table(node.number, node.contact.key, buckets))
            hood = node.node.engine.hood
            load = Load(node.number, node.rpc.open, node.outside.timers, len(table), len(hood.members))
            snapshot.loads.append(load)
            for record in node.store.scan(bytes(32), None, now=node.outside.wall_us(), limit=100_000):
                if record.namespace == "kv":
                    snapshot.copies.append(
                        Copy(
                            node.number,
                            (record.key, record.subkey),
                            record.version,
                            _seconds(record.expires_at),
                            record.value is not None,
                        )
                    )
        self.history.snapshots.append(snapshot)
        return snapshot

    # -- evidence

    def _take(self, write: Write, result: PutResult) -> None:
        numbers = {node.contact.peer_id: node.number for node in self.network.nodes}
        write.version = result.version
        write.expires_at = _seconds(result.expires_at)
        write.acked = tuple(_numbers(result.acknowledged, numbers))
        write.held = tuple(number for number in write.acked if self.holds(number, write))

    def holds(self, number: int, write: Write) -> bool:
        """Whether a server has what was written, or something greater."""
        record = self._record(number, write.slot)
        return record is not None and write.version is not None and record.version >= write.version

    def _holds_live(self, number: int, slot: Slot) -> bool:
        record = self._record(number, slot)
        return record is not None and record.value is not None and not record.is_dead(to_microseconds(wall_clock()))

    def _record(self, number: int, slot: Slot) -> Record | None:
        node = self.network.nodes[number]
        if not node.is_up:
            return None
        records = node.store.get_all("kv", slot[0], now=node.outside.wall_us())
        return next((record for record in records if record.subkey == slot[1]), None)

    async def _unless_dead(self, node: int, call: Awaitable[ResultT]) -> ResultT:
        """Await a call whose node may die under it: then nobody hears of it again."""
        task = asyncio.ensure_future(call)
        simulated = self.network.dht(node)
        while not task.done():
            await asyncio.wait([task], timeout=1.0)
            if not simulated.is_up and not task.done():
                task.cancel()
                await asyncio.wait([task])
                raise Closed("its node died")
        return task.result()


async def together(calls: list[Callable[[], Awaitable[ResultT]]], parallel: int = 8) -> list[ResultT]:
    """Run calls a few at a time; results in the order of the calls."""
    results: list[ResultT | None] = [None] * len(calls)
    left = iter(range(len(calls)))

    async def worker() -> None:
        for index in left:
            results[index] = await calls[index]()

    await asyncio.gather(*(worker() for _ in range(min(parallel, len(calls)))))
    return [result for result in results if result is not None]


def _position(slot: Slot) -> int:
    return position_of(wire_key("kv", slot[0]))


def _seconds(time_us: int) -> float:
    return (time_us - _ORIGIN_US) / 1e6


def _numbers(peers: Iterable[PeerId], numbers: dict[PeerId, int]) -> Iterable[int]:
    return (numbers[peer] for peer in peers if peer in numbers)
