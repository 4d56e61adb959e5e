"""``python -m tests.sim churn``: a day of steady churn. Servers come as a Poisson stream, stay for sessions of Weibull lengths, and crash.

The sessions are those that Stutzbach and Rejaie (IMC 2006) measured: of shape 0.4, most of them short and some very long. At the start the
network looks as if it had gone on like this for ever: the servers there are in the middle of sessions, drawn from the distribution's
equilibrium. Who crashes never comes back, nor does its disk; the machine does not answer any more. Values are written all the time, and not
renewed by anybody: each has to outlive its holders.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from peerstack_kad.keys import closest

from peerstack.dht.parameters import KADEMLIA_PRESETS, NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.testing import virtual_time
from tests.sim.garbage import few_collections
from tests.sim.history import Found, Outcome, Slot, Version, Write
from tests.sim.kad_network import SimulatedKademlia, SimulatedNode
from tests.sim.oracle import availability
from tests.sim.world import World

__all__ = ["Churn", "ChurnPlan", "ChurnReport", "Sessions", "main", "run_churn"]

_HOUR_S = 3600.0
_TTL_S = 48 * _HOUR_S
_NEAR = 20  # whose knowledge is the measure of a table's health, as in RFM19
_ENOUGH = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class ChurnPlan:
    """What to simulate."""

    nodes: int = 1000
    """Servers on average."""
    hours: float = 24.0
    seed: int = 0
    shape: float = 0.4
    """Of the Weibull distribution of sessions."""
    median_session_s: float = 2 * _HOUR_S
    graceful: float = 0.0
    """The share of sessions that end with a leave instead of a crash."""
    write_every_s: float = 30.0
    """Seconds between two writes anywhere in the network."""
    overwritten: float = 0.25
    """The share of writes that replace a value."""
    read_every_s: float = 10.0
    """Seconds between two reads anywhere in the network."""
    look_every_s: float = 0.5 * _HOUR_S
    """Seconds between two looks at all routing tables."""
    parameters: NetworkParameters = field(default_factory=lambda: replace(KADEMLIA_PRESETS["wan"], replicas=8))
    """With 20 replicas it takes longer: a server counts five times as many others, and asks whether they are there."""


@dataclass(slots=True)
class ChurnReport:
    """What came of it."""

    plan: ChurnPlan
    joins: int = 0
    crashes: int = 0
    leaves: int = 0
    acknowledged: int = 0
    """Writes."""
    not_acknowledged: int = 0
    values: int = 0
    """Slots with an acknowledged value at the end."""
    lost: int = 0
    """Of those, held by no server that runs, or found by neither of two readers at the end."""
    fewest_copies: int = 0
    """On servers that run, of any acknowledged value at the end."""
    violations: list[str] = field(default_factory=list)
    """What the oracle found."""
    reads: int = 0
    confirmed: float = 1.0
    """The share of reads that were certain."""
    found: float = 1.0
    """The share of reads that returned a value."""
    near_known: dict[int, int] = field(default_factory=dict)
    """How many of its 20 closest a server knows -> how often it was so, over all looks."""
    health: list[dict[str, float]] = field(default_factory=list)
    """One look each: the hour, servers that ran, the share of them that knew 18 of their 20 closest, and that knew all of them."""
    requests: dict[str, float] = field(default_factory=dict)
    """Per node and hour, by kind."""
    messages: float = 0.0
    """Requests and replies per node and hour."""
    cpu_s: float = 0.0

    @property
    def healthy(self) -> float:
        """The share of servers that knew at least 18 of their 20 closest, over all looks."""
        looks = sum(self.near_known.values())
        return sum(count for known, count in self.near_known.items() if known >= _ENOUGH) / looks if looks else 1.0

    def as_json(self) -> dict[str, Any]:
        """Plain data for a file, to six digits."""
        plain: dict[str, Any] = json.loads(
            json.dumps({**asdict(self), "healthy": self.healthy}), parse_float=lambda text: float(f"{float(text):.6g}")
        )
        return plain


class Sessions:
    """How long servers stay: a Weibull distribution, and its equilibrium."""

    def __init__(self, shape: float, median_s: float) -> None:
        self.shape = shape
        self.scale_s: float = median_s / math.log(2) ** (1 / shape)
        self.mean_s: float = self.scale_s * math.gamma(1 + 1 / shape)

    def whole(self, dice: random.Random) -> float:
        """A session from its start, in seconds."""
        return dice.weibullvariate(self.scale_s, self.shape)

    def rest(self, dice: random.Random) -> float:
        """What is left, in seconds, of a session that is under way: the longer one is, the likelier it is met."""
        met = self.scale_s * math.pow(dice.gammavariate(1 + 1 / self.shape, 1.0), 1 / self.shape)
        return dice.random() * met


class CountedKademlia(SimulatedKademlia):
    """Counts requests by kind."""

    def __init__(self, seed: int, *, parameters: NetworkParameters) -> None:
        super().__init__(seed, parameters=parameters)
        self.requests: Counter[str] = Counter()

    @property
    def watch(self) -> Callable[[SimulatedNode, Contact, Request], None]:
        return self._count

    def _count(self, _node: SimulatedNode, _peer: Contact, message: Request) -> None:
        self.requests[type(message).__name__] += 1


class Churn:
    """One run.

    Args:
        plan: What to simulate.
        world: Where; nobody is there yet.

    Attributes:
        report: What came of it.
        server_hours: How long all servers ran, together.
    """

    def __init__(self, plan: ChurnPlan, world: World) -> None:
        self.plan = plan
        self.report = ChurnReport(plan)
        self.server_hours = 0.0
        self.network = world.network
        self.world = world
        self._sessions = Sessions(plan.shape, plan.median_session_s)
        self._fate = random.Random(f"sessions {plan.seed}")
        self._born: dict[int, float] = {}
        self._server_s = 0.0  # that ended sessions lasted, together
        self._names: list[str] = []
        self._written: list[str] = []  # of those, the ones with an acknowledged value
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Take a look at the network: called every `ChurnPlan.look_every_s`."""

    async def play(self) -> None:
        """Let the time pass."""
        self.network.assemble(self.plan.nodes)
        with few_collections():
            await self._let_pass()
            self.sum_up()
            await self._judge()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.network.close()

    # -- what happens

    async def _let_pass(self) -> None:
        plan, world = self.plan, self.world
        end = world.now + plan.hours * _HOUR_S
        for number in range(plan.nodes):
            self._spawn(self._live(number, self._sessions.rest(self._fate)))
        pauses_s = {self._arrive: self._sessions.mean_s / plan.nodes, self._write: plan.write_every_s, self._read: plan.read_every_s}
        for step, pause_s in pauses_s.items():
            self._spawn(self._again(step, pause_s))
        while world.now < end:
            await asyncio.sleep(min(plan.look_every_s, end - world.now))
            self.look()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, step: Callable[[], Coroutine[Any, Any, None]], pause_s: float) -> None:
        """Do something as a Poisson process."""
        while True:
            await asyncio.sleep(self._fate.expovariate(1 / pause_s))
            self._spawn(step())

    async def _arrive(self) -> None:
        self.report.joins += 1
        await self._live(self.network.start().number, self._sessions.whole(self._fate))

    async def _live(self, number: int, session_s: float) -> None:
        began = self._born[number] = self.world.now
        leaves = self._fate.random() < self.plan.graceful
        await asyncio.sleep(session_s)
        if leaves:
            await self.world.leave(number)
        else:
            await self.world.crash(number)
        self.report.leaves += leaves
        self.report.crashes += not leaves
        del self._born[number]
        self._server_s += self.world.now - began

    async def _write(self) -> None:
        dice = self.world.dice
        if not self._names or dice.random() >= self.plan.overwritten:
            self._names.append(f"value {len(self._names)}")
            name = self._names[-1]
        else:
            name = dice.choice(self._names)
        write = await self.world.put(name, ttl=_TTL_S)
        if write.outcome is Outcome.OK and name not in self._written:
            self._written.append(name)

    async def _read(self) -> None:
        if self._written:
            await self.world.get(self.world.dice.choice(self._written))

    # -- what is measured

    def sum_up(self) -> None:
        """See what it cost, before the judgement reads."""
        running_s = sum(self.world.now - began for began in self._born.values())
        hours = self.server_hours = (self._server_s + running_s) / _HOUR_S
        self.report.requests = {kind: count / hours for kind, count in sorted(self.network.requests.items())}
        self.report.messages = self.network.messages.messages / hours

    async def _judge(self) -> None:
        report, world = self.report, self.world
        reads = len(world.history.reads)
        outcomes = Counter(write.outcome for write in world.history.writes)
        report.reads, report.confirmed = reads, availability(world.history)
        report.found = sum(isinstance(read.result, Found) for read in world.history.reads) / max(1, reads)
        report.acknowledged = outcomes.pop(Outcome.OK, 0)
        report.not_acknowledged = outcomes.total()
        latest: dict[Slot, Write] = {}
        for write in world.history.writes:
            if write.outcome is Outcome.OK and (write.slot not in latest or _version(latest[write.slot]) < _version(write)):
                latest[write.slot] = write
        report.values = len(latest)
        copies = {slot: sum(world.holds(number, write) for number in world.network.up()) for slot, write in latest.items()}
        report.fewest_copies = min(copies.values(), default=0)
        readings = await world.read_all([slot[0].decode() for slot in latest], readers=2)
        found = {read.slot for read in readings if isinstance(read.result, Found) and read.result.version >= _version(latest[read.slot])}
        report.lost = sum(not copies[slot] or slot not in found for slot in latest)
        report.violations = [str(violation) for violation in world.oracle().judge(world.history)]


class _KademliaChurn(Churn):
    """Churn of Kademlia nodes, whose routing tables are looked at."""

    def __init__(self, plan: ChurnPlan, tell: Callable[[str], None]) -> None:
        network = CountedKademlia(plan.seed, parameters=plan.parameters)
        super().__init__(plan, World(network, random.Random(f"churn {plan.seed}")))
        self._tell = tell

    def look(self) -> None:
        """See whom every server knows of its closest."""
        up = [self.network.nodes[number] for number in self.network.up()]
        keys = [node.contact.key for node in up]
        near = min(_NEAR, len(keys) - 1)
        known: list[int] = []
        for node in up:
            own, table = node.contact.key, node.node.table
            found = sum((entry := table.get(key)) is not None and not entry.stale for key in closest(keys, own, near + 1)[1:])
            known.append(found + _NEAR - near)
        self.report.near_known = dict(sorted((Counter(self.report.near_known) + Counter(known)).items()))
        self.report.health.append(
            {
                "hour": self.world.now / _HOUR_S,
                "nodes": len(up),
                "know_18": sum(count >= _ENOUGH for count in known) / len(up),
                "know_20": sum(count >= _NEAR for count in known) / len(up),
            }
        )
        told = {name: round(value, 4) for name, value in self.report.health[-1].items()}
        self._tell(f"{told}, {self.network.messages.messages} messages, {time.process_time():.0f} s of CPU")


def _version(write: Write) -> Version:
    assert write.version is not None
    return write.version


def run_churn(plan: ChurnPlan, tell: Callable[[str], None] = lambda _text: None) -> ChurnReport:
    """Simulate.

    Args:
        plan: What.
        tell: Told at every look how far it is.
    """
    began = time.process_time()

    async def play() -> ChurnReport:
        churn = _KademliaChurn(plan, tell)
        await churn.play()
        return churn.report

    report = virtual_time.run(play())
    report.cpu_s = time.process_time() - began
    return report


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim churn``."""
    default = ChurnPlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim churn", description="A day of churn; JSON goes to stdout.")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--hours", type=float, default=default.hours)
    parser.add_argument("--median", type=float, default=default.median_session_s, metavar="SECONDS", help="of the sessions")
    parser.add_argument("--replicas", type=int, default=default.parameters.replicas)
    parser.add_argument("--graceful", type=float, default=default.graceful, metavar="SHARE", help="of sessions that end with a leave")
    parser.add_argument("--seed", type=int, default=default.seed)
    given = parser.parse_args(arguments)
    plan = ChurnPlan(
        nodes=given.nodes,
        hours=given.hours,
        median_session_s=given.median,
        graceful=given.graceful,
        seed=given.seed,
        parameters=replace(default.parameters, replicas=given.replicas),
    )
    report = run_churn(plan, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    print(json.dumps(report.as_json(), indent=2))  # noqa: T201
    return 1 if report.lost or report.violations else 0
