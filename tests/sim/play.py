"""Plays one scenario with one seed, and lets the oracle judge."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field, replace

from peerstack.testing import virtual_time
from tests.sim.oracle import Violation, availability
from tests.sim.scenarios import SCENARIOS, Scenario
from tests.sim.world import World

__all__ = ["Report", "play"]

_TOLD = 12


@dataclass(slots=True)
class Report:
    """What came of one run."""

    scenario: Scenario
    seed: int
    size: int
    violations: list[str] = field(default_factory=list)
    availability: float = 1.0
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
        again = f"python -m tests.sim {self.scenario.name} --seed {self.seed} --size {self.size}"
        more = [f"... and {len(self.violations) - _TOLD} more"] if len(self.violations) > _TOLD else []
        return "\n".join([f"{self.scenario.name}, {self.scenario.summary} Again: {again}", *self.violations[:_TOLD], *more])


def play(name: str, seed: int, size: int | None = None) -> Report:
    """Play a scenario.

    Args:
        name: Of `tests.sim.scenarios.SCENARIOS`.
        seed: Same seed, same run.
        size: Servers; None is the scenario's own.
    """
    scenario = SCENARIOS[name]
    report = Report(scenario, seed, size or scenario.size)
    try:
        virtual_time.run(_play(report))
    finally:
        gc.collect()
    return report


async def _play(report: Report) -> None:
    scenario = report.scenario
    world = World.make(report.seed, report.size, links=replace(scenario.links))
    failures: list[Violation] = []
    try:
        await scenario.play(world)
    except AssertionError as error:
        failures.append(Violation("point", world.now, str(error)))
    finally:
        await world.network.close()
    oracle = world.oracle()
    report.availability = availability(world.history)
    if report.availability < scenario.floor:
        text = f"{report.availability:.1%} of the reads were confirmed, under {scenario.floor:.0%}"
        failures.append(Violation("availability", world.now, text))
    if world.judged:
        failures += oracle.judge(world.history)
    misplaced = oracle.missing_copies(world.history)
    if scenario.copies:
        failures += misplaced
    report.misplaced = len(misplaced)
    report.violations = [str(failure) for failure in failures]
    report.reads, report.writes = len(world.history.reads), len(world.history.writes)
    report.messages, report.trace = world.network.messages.messages, world.network.trace
    report.figures, report.virtual_s = world.figures, asyncio.get_running_loop().time()
