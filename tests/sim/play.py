"""Plays one scenario with one seed, and lets the oracle judge."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from peerstack.testing import virtual_time
from tests.sim.garbage import few_collections
from tests.sim.host_network import HostNetwork
from tests.sim.oracle import Availability, Violation, availability
from tests.sim.scenarios import FLOORS, SCENARIOS, Scenario
from tests.sim.world import SMALL, AnyWorld, World

__all__ = ["REGRESSIONS", "Regression", "Report", "below_floor", "play", "together"]

_TOLD = 12


@dataclass(frozen=True, slots=True)
class Regression:
    """A run that once broke a promise."""

    name: str
    seed: int
    size: int
    why: str
    dht: str = "kad"


REGRESSIONS: Final[Sequence[Regression]] = (
    Regression("S4", 7, 60, "leavers told neither everybody who counted them nor whom they left behind"),
    Regression("S5", 4, 6, "copies of joiners' ranges stayed for ever: nodes spoke for buckets they had let go"),
    Regression("S10a", 0, 60, "the same after a restart of everybody"),
    Regression("S5", 1, 12, "who keeps a displaced copy did not know a newcomer of its set, and offered it to another for ever"),
    Regression("S7w", 11, 10, "a joiner waited for ever for those named to it, most of whom had died"),
    Regression("S7w", 16, 7, "the same on a ring", "chord"),
    Regression("S7w", 16, 5, "more crashed than leaves the last ones a majority: what is promised has to end there", "chord"),
    Regression("S9", 51, 5, "two joiners kept each other on a map without any member, as fast as messages travel", "chord"),
)
"""Played again by the tests."""


@dataclass(slots=True)
class Report:
    """What came of one run."""

    scenario: Scenario
    seed: int
    size: int
    hosts: bool = False
    dht: str = "kad"
    violations: list[str] = field(default_factory=list)
    availability: Availability = field(default_factory=Availability)
    confirmed: float = 1.0
    """The share of all reads that were confirmed, whatever was down."""
    reads: int = 0
    writes: int = 0
    messages: int = 0
    virtual_s: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    misplaced: int = 0
    """Values without exactly their copies at the end."""
    trace: str = ""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def story(self) -> str:
        """What went wrong, and how to see it again."""
        how = f"--dht {self.dht}{' --hosts' if self.hosts else ''}"
        again = f"python -m tests.sim {self.scenario.name} --seed {self.seed} --size {self.size} {how}"
        more = [f"... and {len(self.violations) - _TOLD} more"] if len(self.violations) > _TOLD else []
        told = f"{self.scenario.name}, {self.scenario.summary} Again: {again}"
        return "\n".join([told, str(self.availability), *self.violations[:_TOLD], *more])


def play(name: str, seed: int, size: int | None = None, *, hosts: bool = False, dht: str = "kad") -> Report:
    """Play a scenario.

    Args:
        name: Of `tests.sim.scenarios.SCENARIOS`.
        seed: Same seed, same run.
        size: Servers; None is the scenario's own.
        hosts: Whether on whole hosts, instead of above the RPC seam.
        dht: Of `tests.sim.world.DHTS`.
    """
    scenario = SCENARIOS[name]
    report = Report(scenario, seed, size or scenario.size, hosts, dht)
    try:
        with few_collections():
            virtual_time.run(_play(report))
    finally:
        gc.collect()
    return report


def below_floor(reports: Sequence[Report]) -> list[str]:
    """Where the runs of a scenario, taken together, fall below `tests.sim.scenarios.FLOORS`."""
    if reports[0].scenario.no_floor:
        return []
    total = together(reports)
    floors = {**FLOORS, "sure": reports[0].scenario.sure}
    return [f"{share:.2%} of the {name} succeeded: {total}" for name, share in total.shares.items() if share < floors[name]]


def together(reports: Sequence[Report]) -> Availability:
    """The operations of several runs."""
    total = Availability()
    for report in reports:
        total += report.availability
    return total


async def _open(report: Report) -> World:
    scenario = report.scenario
    if not report.hosts:
        return World.make(report.seed, report.size, dht=report.dht, links=replace(scenario.links), options=scenario.options)
    dice = random.Random(f"hosts {report.seed}")
    network = HostNetwork(report.seed, parameters=SMALL, dht=report.dht, links=replace(scenario.links))
    await network.assemble(report.size, options=lambda number: scenario.options(dice, number))
    return cast("World", AnyWorld(network, dice))  # a scenario that is played on hosts uses nothing that they have not


async def _play(report: Report) -> None:
    scenario = report.scenario
    world = await _open(report)
    failures: list[Violation] = []
    try:
        await scenario.play(world)
    except AssertionError as error:
        failures.append(Violation("point", world.now, str(error)))
    else:
        world.look()
    finally:
        await world.network.close()
    oracle = world.oracle()
    report.availability = oracle.availability(world.history)
    report.confirmed = availability(world.history)
    failures += oracle.judge(world.history, world.promises)
    misplaced = oracle.missing_copies(world.history)
    if not scenario.no_copies:
        failures += misplaced
    report.misplaced = len(misplaced)
    report.violations = [str(failure) for failure in failures]
    report.reads, report.writes = len(world.history.reads), len(world.history.writes)
    report.messages, report.trace = world.network.messages.messages, world.network.trace
    report.figures, report.virtual_s = world.figures, asyncio.get_running_loop().time()
