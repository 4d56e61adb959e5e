"""One network under test: what it is asked and what befalls it goes into a history, for the oracle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from peerstack.dht.clock import to_microseconds
from peerstack.dht.contract import Ack, PutResult
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Record, wire_key
from peerstack.dht.replica.contacts import position_of
from peerstack.errors import Closed, DeadlineExceeded, KeyNotFound, PeerstackError, QuorumNotMet, Unavailable
from peerstack.identity import PeerId
from peerstack.testing.message_network import LinkModel
from peerstack.testing.virtual_time import EPOCH, wall_clock
from tests.sim.chord_network import SimulatedChord
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
    Operation,
    Outcome,
    Quiet,
    Read,
    Slot,
    Snapshot,
    Write,
)
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.networks import AnyNetwork
from tests.sim.node_network import NodeOptions, ScenarioNetwork
from tests.sim.oracle import Bounds, Oracle

__all__ = ["DHTS", "PATIENCE_S", "SMALL", "AnyWorld", "World", "together"]

ResultT = TypeVar("ResultT")
NetworkT = TypeVar("NetworkT", bound=AnyNetwork)

SMALL = NetworkParameters(
    k=4, replicas=3, r=3, max_ttl_s=3600, stabilise_s=2, rpc_timeout_s=1, repair_s=60, authority_loss_s=150, forget_s=180
)
"""The `local` preset with smaller buckets, so that in sixty nodes routing and placement matter, and a calmer upkeep."""

DHTS: Final[Mapping[str, type[ScenarioNetwork[Any]]]] = {"kad": SimulatedKademlia, "chord": SimulatedChord}
"""The networks there are, by the names of their plugins."""

_ORIGIN_US = to_microseconds(EPOCH)
_TIMEOUT_S = 20.0
PATIENCE_S: Final = 5.0
"""Within which an operation has to succeed, one retry included."""
_TTL_S = 3500.0


@dataclass(slots=True)
class AnyWorld(Generic[NetworkT]):
    """A network, its history, and dice."""

    network: NetworkT
    dice: random.Random
    history: History = field(default_factory=History)
    figures: dict[str, float] = field(default_factory=dict)
    """What a scenario measured."""
    max_skew_s: float = 0.0
    promises: frozenset[str] | None = None
    """The invariants that hold in this scenario; None: all (among liars some cannot)."""
    _values: int = 0
    _fallen: dict[int, float] = field(default_factory=dict)  # who crashed, and when
    _away: frozenset[int] = frozenset()

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
            r=self.parameters.r,
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

    def counted_by(self, number: int) -> set[int]:
        """Whom a server counts, but for those given up already."""
        hood = self.network.nodes[number].node.engine.hood
        return {self.network.by_peer[member.contact.peer_id].number for member in hood.members.values() if not member.gone}

    def spares(self, *victims: int) -> bool:
        """Whether all who stay keep their voice should these crash: nobody then misses half of the servers that it counts.

        Who does forgets nobody until they return or an operator says that they will not: there is no promise that its reads are sure.
        """
        left = set(self.network.up()) - set(victims)
        for number in left:
            counted = self.counted_by(number)
            if 2 * len(counted - left) > len(counted):
                return False
        return True

    # -- operations

    async def write(self, name: str, *, node: int | None = None, delete: bool = False, **how: Any) -> Write:
        """As `put`, once more where it failed; what its caller saw of it goes into the history as one operation."""
        node = self.anyone() if node is None else node
        operation = self._begin(name, node, is_read=False)
        write = await self.put(name, node=node, delete=delete, timeout=PATIENCE_S, **how)
        if write.outcome is not Outcome.OK and (left := self._left(operation)):
            write = await self.put(name, node=node, delete=delete, timeout=left, **how)
        self._end(operation, found=write.outcome is Outcome.OK, sure=write.outcome is Outcome.OK)
        return write

    async def read(self, name: str, *, node: int | None = None, quiescent: bool = False) -> Read:
        """As `get`, once more where it failed; what its caller saw of it goes into the history as one operation."""
        node = self.anyone() if node is None else node
        operation = self._begin(name, node, is_read=True)
        read = await self.get(name, node=node, quiescent=quiescent, timeout=PATIENCE_S)
        if not _is_sure(read) and (left := self._left(operation)):
            again = await self.get(name, node=node, quiescent=quiescent, timeout=left)
            read = read if again.result is Absence.UNAVAILABLE else again
        self._end(operation, found=read.result is not Absence.UNAVAILABLE, sure=_is_sure(read))
        return read

    def down(self, slot: Slot, node: int) -> int:
        """Of those responsible for a slot, the silent ones still counted, how many are down, not ready, or out of the reach of a node."""
        fallen = {number for number, since in self._fallen.items() if self.now - since < 2 * self.parameters.forget_s}
        fallen = {number for number in fallen if not (self.network.nodes[number].is_up and self.network.nodes[number].node.ready)}
        counted = self.network.responsible(_position(slot), {*self.network.up(), *fallen}, self.parameters.replicas)
        return sum(number in fallen or (number in self._away) != (node in self._away) for number in counted)

    def _begin(self, name: str, node: int, *, is_read: bool) -> Operation:
        slot = (name.encode(), b"")
        return Operation(slot=slot, node=node, start=self.now, end=self.now, is_read=is_read, down=self.down(slot, node))

    def _left(self, operation: Operation) -> float:
        """Seconds of the caller's patience; none if it is down."""
        left = operation.start + PATIENCE_S - self.now
        return left if left >= 0.1 and self.network.dht(operation.node).is_up else 0.0

    def _end(self, operation: Operation, *, found: bool, sure: bool) -> None:
        operation.end = self.now
        operation.down = max(operation.down, self.down(operation.slot, operation.node))
        in_time = operation.end - operation.start <= PATIENCE_S + 0.1
        operation.found, operation.sure = found and in_time, sure and in_time
        if self.network.dht(operation.node).is_up:  # else nobody saw how it ended
            self.history.operations.append(operation)

    async def put(
        self,
        name: str,
        *,
        node: int | None = None,
        ttl: float | None = _TTL_S,
        ack: Ack = "majority",
        delete: bool = False,
        subkey: str = "",
        timeout: float = _TIMEOUT_S,
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
                result = await self._unless_dead(node, dht.delete(name, subkey=subkey, timeout=timeout))
            else:
                result = await self._unless_dead(node, dht.put(name, value, subkey=subkey, ttl=ttl, ack=ack, timeout=timeout))
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

    async def get(
        self, name: str, *, node: int | None = None, quiescent: bool = False, subkey: str = "", timeout: float = _TIMEOUT_S
    ) -> Read:
        """Read."""
        node = self.anyone() if node is None else node
        slot = (name.encode(), subkey.encode())
        skew = self.network.dht(node).options.skew_s
        read = Read(slot=slot, node=node, start=self.now, end=self.now, result=Absence.UNAVAILABLE, quiescent=quiescent, skew_s=skew)
        try:
            found = await self._unless_dead(node, self.network.dht(node).get(name, subkey=subkey, timeout=timeout))
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
        if read.result is Absence.NOT_FOUND:
            read.holders = tuple(number for number in self.guardians(slot) if self._holds_live(number, slot))
        self.history.reads.append(read)
        return read

    async def read_all(self, names: Iterable[str], *, quiescent: bool = False, readers: int = 1) -> list[Read]:
        """Read many keys, a few at a time."""
        reads = [(name, self.anyone()) for name in names for _ in range(readers)]
        return await together([partial(self.read, name, node=node, quiescent=quiescent) for name, node in reads])

    async def put_all(self, names: Iterable[str], *, ttl: float | None = _TTL_S, ack: Ack = "majority") -> list[Write]:
        """Write many keys, a few at a time."""
        puts = [(name, self.anyone()) for name in names]
        return await together([partial(self.write, name, node=node, ttl=ttl, ack=ack) for name, node in puts])

    # -- what befalls it

    async def crash(self, number: int, *, disk_lost: bool = True) -> None:
        """Kill a server."""
        store = self.network.nodes[number].store
        if isinstance(store, SlowDisk):
            store.power_off()
        await self.network.crash(number)
        self._fallen[number] = self.now
        self.history.events.append(Crash(self.now, number, disk_lost))

    async def back(self, number: int, *, with_disk: bool, wait: bool = True) -> None:
        """Start a killed server again."""
        old = self.network.nodes[number]
        options = old.options
        self.history.events.append(Back(self.now, number, with_disk))
        if with_disk:
            if isinstance(old.store, SlowDisk):
                options = replace(options, store=old.store.power_on())  # which has its state, too
            else:
                options = replace(options, store=old.store, state=old.state)
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
        self._away = side
        self.history.events.append(Cut(self.now, side))

    async def heal(self) -> None:
        """Make it one again."""
        await self.network.heal()
        self._away = frozenset()
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
        """Take down all stores, all loads, and what everybody knows of the others."""
        network = self.network
        up = [network.nodes[number] for number in network.up()]
        snapshot = Snapshot(
            time=self.now,
            servers={node.number: node.contact.key for node in up},
            clients=frozenset(client.number for client in network.clients),
        )
        for node in up:
            engine = node.node.engine
            load = Load(node.number, node.rpc.open, node.outside.timers, len(engine.routing), len(engine.hood.members))
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
        network.take_down(snapshot)
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


class World(AnyWorld[ScenarioNetwork[Any]]):
    """A world above the RPC seam."""

    @classmethod
    def make(
        cls,
        seed: int,
        size: int,
        *,
        dht: str = "kad",
        links: LinkModel | None = None,
        parameters: NetworkParameters = SMALL,
        options: Callable[[random.Random, int], NodeOptions] = lambda _dice, _number: NodeOptions(),
    ) -> World:
        """Assemble a network.

        Args:
            seed: Same seed, same run.
            size: Servers.
            dht: Of `DHTS`.
            links: How messages travel.
            parameters: The network's.
            options: ``(dice, number)`` -> what a server has of its own.
        """
        dice = random.Random(f"world {seed}")
        network = DHTS[dht](seed, parameters=parameters, links=links, trace=True)
        network.assemble(size, options=lambda number: options(dice, number))
        return cls(network, dice)


async def together(calls: list[Callable[[], Awaitable[ResultT]]], parallel: int = 8) -> list[ResultT]:
    """Run calls a few at a time; results in the order of the calls."""
    results: list[ResultT | None] = [None] * len(calls)
    left = iter(range(len(calls)))

    async def worker() -> None:
        for index in left:
            results[index] = await calls[index]()

    await asyncio.gather(*(worker() for _ in range(min(parallel, len(calls)))))
    return [result for result in results if result is not None]


def _is_sure(read: Read) -> bool:
    return read.result is Absence.NOT_FOUND or (isinstance(read.result, Found) and read.result.confirmed)


def _position(slot: Slot) -> int:
    return position_of(wire_key("kv", slot[0]))


def _seconds(time_us: int) -> float:
    return (time_us - _ORIGIN_US) / 1e6


def _numbers(peers: Iterable[PeerId], numbers: dict[PeerId, int]) -> Iterable[int]:
    return (numbers[peer] for peer in peers if peer in numbers)
