"""Random schedules of writes, reads, joins, leaves, crashes, restarts and partitions, watched by an oracle that knows every promise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest

from peerstack.errors import DeadlineExceeded, KeyNotFound, QuorumNotMet, Unavailable
from peerstack.testing import virtual_time
from peerstack.testing.message_network import LinkModel
from tests.sim.chord_network import SimulatedChord
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.node_network import SimulatedNetwork

Network = SimulatedNetwork[Any]
NETWORKS: list[type[Network]] = [SimulatedKademlia, SimulatedChord]

_KEYS = 6
_TTL_S = 3500.0
_MAX_SERVERS = 9


@dataclass
class Truth:
    """What may be read of one key: the acknowledged value, or one of the undecided ones since."""

    acknowledged: bytes | None = None
    undecided: set[bytes | None] = field(default_factory=set)
    written_at: float = 0.0

    def allows(self, value: bytes | None) -> bool:
        return value == self.acknowledged or value in self.undecided


class Schedule:
    """One run."""

    def __init__(self, seed: int, network: Network) -> None:
        self.network = network
        self.random = random.Random(f"schedule {seed}")
        self.truth = [Truth() for _ in range(_KEYS)]
        self.log: list[str] = []
        self.writes = 0
        self.reads = 0
        self.confirmed = 0

    @property
    def up(self) -> list[int]:
        return [number for number, node in enumerate(self.network.nodes) if node.is_up and not node.node.engine.holder.leaving]

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            actions = [self.write] * 4 + [self.read] * 6 + [self.join, self.leave, self.crash, self.bounce, self.cut_off]
            await self.random.choice(actions)()
        for key in range(_KEYS):
            await self.read(key)

    async def write(self) -> None:
        key = self.random.randrange(_KEYS)
        truth = self.truth[key]
        self.writes += 1
        value = b"%d" % self.writes if self.random.random() < 0.8 else None
        dht = self.network.dht(self.random.choice(self.up))
        try:
            if value is None:
                await dht.delete(f"key {key}", timeout=20)
            else:
                await dht.put(f"key {key}", value, ttl=_TTL_S, timeout=20)
        except QuorumNotMet as error:
            self.note(f"undecided {key}={value!r}: {error}")
            truth.undecided.add(value)
        except (Unavailable, DeadlineExceeded) as error:
            self.note(f"not written {key}={value!r}: {error}")
        else:
            self.note(f"wrote {key}={value!r}")
            # An undecided write may still beat this one within the clocks' difference; these clocks agree.
            truth.acknowledged, truth.undecided, truth.written_at = value, set(), asyncio.get_running_loop().time()

    async def read(self, key: int | None = None) -> None:
        key = self.random.randrange(_KEYS) if key is None else key
        reader = self.random.choice(self.up)
        truth = self.truth[key]
        self.reads += 1
        try:
            found = await self.network.dht(reader).get(f"key {key}", timeout=20)
        except KeyNotFound as error:
            expired = asyncio.get_running_loop().time() - truth.written_at > _TTL_S - 60
            if not expired and not truth.allows(None):
                pytest.fail(self.story(f"{reader} reads nothing at key {key}: {error}"))
            self.confirmed += 1
        except Unavailable as error:
            self.note(f"unavailable {key}: {error}")
        else:
            if found.confirmed:
                self.confirmed += 1
                assert truth.allows(found.value), self.story(f"{reader} reads {found.value!r} at key {key}")

    async def join(self) -> None:
        if len(self.up) < _MAX_SERVERS:
            self.note("somebody joins")
            await self.meanwhile(self.network.add())
            if self.random.random() < 0.2 and len(self.up) < _MAX_SERVERS - 1:
                await self.meanwhile(asyncio.gather(self.network.add(), self.network.add()))

    async def leave(self) -> None:
        if len(self.up) > 2:
            number = self.random.choice(self.up)
            self.note(f"{number} leaves")
            await self.meanwhile(self.network.leave(number))

    async def crash(self) -> None:
        if len(self.up) > 2:
            number = self.random.choice(self.up)
            self.note(f"{number} crashes")
            await self.network.crash(number)
            for _ in range(self.random.randrange(4)):
                await self.random.choice([self.read, self.write])()
            await self.quiet()

    async def bounce(self) -> None:
        if len(self.up) > 3:
            number = self.random.choice(self.up)
            self.note(f"{number} crashes and comes back empty")
            await self.network.crash(number)
            for _ in range(self.random.randrange(3)):
                await self.random.choice([self.read, self.write])()
            await self.meanwhile(self.network.restart(number))

    async def cut_off(self) -> None:
        if len(self.up) > 3:
            alone = self.random.choice(self.up)
            self.note(f"{alone} is cut off")
            await self.network.partition({n for n in range(self.network.size) if n != alone}, {alone})
            for _ in range(self.random.randrange(5)):
                await self.random.choice([self.read, self.write])()
            await asyncio.sleep(self.random.choice([5, 100, 400]))
            await self.network.heal()
            if self.random.random() < 0.5:
                await self.quiet()

    async def meanwhile(self, change: Awaitable[object]) -> None:
        """Read and write while the network changes."""
        task = asyncio.ensure_future(change)
        while not task.done():
            await asyncio.sleep(self.random.choice([0, 0.01, 0.03, 0.1]))
            await self.random.choice([self.read, self.read, self.write])()
        await task
        self.note("... done")

    async def quiet(self) -> None:
        """Long enough for a silent server to be forgotten and the rest to have exchanged."""
        await asyncio.sleep(2 * self.network.parameters.forget_s)

    def note(self, text: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():9.3f} {text}")

    def story(self, failure: str) -> str:
        return "\n".join([*self.log[-60:], failure])


async def play(kind: type[Network], seed: int, *, steps: int, links: LinkModel) -> Schedule:
    network = await kind.open(4, seed=seed, links=links)
    schedule = Schedule(seed, network)
    try:
        await schedule.run(steps)
    finally:
        await network.close()
    return schedule


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("seed", range(12))
def test_no_acknowledged_write_is_lost_or_rolled_back(seed: int, kind: type[Network]) -> None:
    links = LinkModel(loss=(0.0, 0.03, 0.15)[seed % 3], duplication=0.02 * (seed % 2))
    schedule = virtual_time.run(play(kind, seed, steps=80, links=links))
    assert schedule.confirmed > schedule.reads / 2, schedule.story("too little was confirmed for this to prove anything")


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_same_seed_gives_the_same_run(kind: type[Network]) -> None:
    stories = [virtual_time.run(play(kind, 3, steps=40, links=LinkModel(loss=0.01))) for _ in range(2)]
    assert stories[0].log == stories[1].log
    assert stories[0].network.messages.messages == stories[1].network.messages.messages
