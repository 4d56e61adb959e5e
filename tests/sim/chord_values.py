"""Values while members join and leave: ``python -m tests.sim chord-values``, beside Table III of Stoica et al. (IEEE/ACM ToN 2003).

The paper counts whether a lookup reaches the right member, not whether that one has the value. Here whole nodes (`ChordNode`) run at the
paper's rates of joins and leaves, and random members write and read values. A read fails if it returns a value that is older than the last
one acknowledged before it began, or none; one that says that too few answered (`Unavailable`) is counted apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.errors import Closed, DeadlineExceeded, KeyNotFound, PeerstackError, Unavailable
from peerstack.testing import virtual_time
from tests.sim.chord_churn import TABLE_III, poisson, poisson_limit
from tests.sim.chord_network import SimulatedChord
from tests.sim.garbage import few_collections
from tests.sim.ring_network import PAPER_LINKS
from tests.sim.world import together

__all__ = ["ValuePlan", "main", "measure", "value_run"]

_TTL_S: Final = 24 * 3600.0
_PATIENCE_S: Final = 20.0  # of one operation
_PAPER_LOOKUPS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuePlan:
    """What to simulate."""

    nodes: int = 1000
    rates: tuple[float, ...] = tuple(TABLE_III)
    """Joins per second, and as many leaves."""
    seeds: int = 5
    reads: int = 1000
    """In each run."""
    reads_per_s: float = 20.0
    writes_per_s: float = 2.0
    values: int = 200
    """Written before anything else, and over and over again."""
    settle_s: float = 40.0
    """Of churn, before reads count."""
    parameters: NetworkParameters = field(default_factory=lambda: NetworkParameters(r=20, replicas=4, stabilise_s=30))


def measure(plan: ValuePlan, tell: Callable[[str], None] = lambda _told: None) -> dict[str, Any]:
    """Run it, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    rows = []
    for rate in plan.rates:
        counts: Counter[str] = Counter()
        with few_collections():
            for seed in range(plan.seeds):
                counts += virtual_time.run(value_run(plan, rate, seed))
        rows.append(_row(rate, counts))
        tell(f"{rows[-1]} {time.process_time() - began:.0f} s")
    return {
        "plan": {
            "nodes": plan.nodes,
            "r": plan.parameters.r,
            "replicas": plan.parameters.replicas,
            "seeds": plan.seeds,
            "values": plan.values,
        },
        "rows": rows,
        "cost": {"cpu_s": round(time.process_time() - began, 1)},
    }


async def value_run(plan: ValuePlan, rate: float, seed: int) -> Counter[str]:
    """One network: what came of how many operations."""
    run = _Run(plan, rate, seed)
    return await run.play()


class _Run:
    def __init__(self, plan: ValuePlan, rate: float, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._rate = rate
        self._network = SimulatedChord(f"{seed} {rate}", parameters=plan.parameters, links=PAPER_LINKS)
        self._dice = random.Random(f"ring values {seed} {rate}")
        self._written = dict.fromkeys(range(plan.values), 0)  # how often a write of each value was begun
        self._acknowledged = dict.fromkeys(range(plan.values), 0)  # the last write that was
        self._writing: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def play(self) -> Counter[str]:
        plan, network = self._plan, self._network
        network.assemble(plan.nodes)
        await together([partial(self._write, number) for number in range(plan.values)])
        streams = {self._join: self._rate, self._leave: self._rate, self._write_any: plan.writes_per_s}
        tasks = [asyncio.ensure_future(poisson(self._dice, partial(self._spawn, step), per_s)) for step, per_s in streams.items()]
        await asyncio.sleep(plan.settle_s)
        for _ in range(plan.reads):
            await asyncio.sleep(self._dice.expovariate(plan.reads_per_s))
            self._spawn(self._read)
        await asyncio.sleep(_PATIENCE_S)
        for task in (*tasks, *self._tasks):
            task.cancel()
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
        await network.close()
        return self.counts

    def _spawn(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(step())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _anybody(self) -> int:
        return self._dice.choice(self._network.up())

    async def _join(self) -> None:
        await self._network.add()
        self.counts["joined"] += 1

    async def _leave(self) -> None:
        number = self._anybody()
        report = await self._network.nodes[number].leave()
        self._network.go(number)
        self.counts["left" if report.handed_over == report.records else "left incompletely"] += 1

    async def _write_any(self) -> None:
        await self._write(self._dice.randrange(self._plan.values))

    async def _write(self, number: int) -> None:
        """Write the next one of a value's series; one writer at a time, so that the last one acknowledged is the last one."""
        if number in self._writing:
            return
        self._writing.add(number)
        self._written[number] += 1
        turn = self._written[number]
        try:
            dht = self._network.dht(self._anybody())
            result = await dht.put(f"value {number}", b"%d" % turn, ttl=_TTL_S, timeout=_PATIENCE_S)
        except PeerstackError as error:
            self.counts[f"write: {error.code}"] += 1
        else:
            self.counts["written"] += 1
            if result.promised:
                self._acknowledged[number] = turn
        finally:
            self._writing.discard(number)

    async def _read(self) -> None:
        number = self._dice.randrange(self._plan.values)
        least = self._acknowledged[number]
        try:
            found = await self._network.dht(self._anybody()).get(f"value {number}", timeout=_PATIENCE_S)
        except Closed:
            return  # the reader left meanwhile
        except KeyNotFound:
            self.counts["missing"] += 1
        except (Unavailable, DeadlineExceeded):
            self.counts["unavailable"] += 1
        else:
            right = least <= int(found.value) <= self._written[number]
            self.counts["right" if right else "wrong"] += 1
            self.counts["confirmed"] += found.confirmed
        self.counts["reads"] += 1


def _row(rate: float, counts: Counter[str]) -> dict[str, Any]:
    published = TABLE_III.get(rate, (None, None, None))[2]
    reads = counts["reads"]
    return {
        "rate": rate,
        "reads": reads,
        "failed": counts["wrong"] + counts["missing"],
        "unavailable": counts["unavailable"],
        "confirmed": round(counts["confirmed"] / max(1, reads), 5),
        "published": published,
        "failed_limit": None if published is None else poisson_limit(published * reads / _PAPER_LOOKUPS),
        "counts": dict(sorted(counts.items())),
    }


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim chord-values``."""
    default = ValuePlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim chord-values", description="Values under churn of a Chord ring, as JSON.")
    parser.add_argument("--rates", type=float, nargs="+", default=default.rates, metavar="PER_S", help="joins per second, and leaves")
    parser.add_argument("--seeds", type=int, default=default.seeds)
    parser.add_argument("--reads", type=int, default=default.reads, help="for each rate and seed")
    given = parser.parse_args(arguments)
    plan = ValuePlan(rates=tuple(given.rates), seeds=given.seeds, reads=given.reads)
    print(json.dumps(measure(plan, lambda told: print(told, file=sys.stderr, flush=True)), indent=2))  # noqa: T201
    return 0
