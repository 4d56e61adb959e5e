"""Lookups while members join and leave: ``python -m tests.sim chord-churn``, Table III of Stoica et al. (IEEE/ACM ToN 2003).

A thousand members with successor lists of 20 keep up their places every 30 seconds on average; nodes join, and members leave, as Poisson
streams, and meanwhile random members look random positions up. All of it is the plugin's own `Ring` on a message network. Who looks up
fails unless the member found owned the position when it answered: whoever has been let into the ring owns what lies before it, whether or
not anybody knows.

Otherwise than in the paper, upkeep comes every 26 to 34 seconds (there 15 to 45), an answer is waited for as long as round-trip times
suggest (there 500 ms), of equally useful members the quickest is asked, and finger tables learn of everybody who answers. The network runs
for a while before lookups count, so that what is dead in its tables is as much as there always will be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, erfc, sqrt
from statistics import fmean
from types import MappingProxyType
from typing import Any, Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.testing import virtual_time
from tests.sim.chord_static import spread
from tests.sim.garbage import few_collections
from tests.sim.ring_network import RingNetwork
from tests.sim.static_ring import Path

__all__ = ["TABLE_III", "RingChurnPlan", "churn_run", "main", "measure", "poisson", "poisson_limit"]

TABLE_III: Final[Mapping[float, tuple[float, float, int]]] = MappingProxyType(
    {
        0.05: (3.90, 0.05, 0), 0.10: (3.83, 0.11, 0), 0.15: (3.84, 0.16, 2), 0.20: (3.81, 0.23, 5),
        0.25: (3.83, 0.30, 6), 0.30: (3.91, 0.34, 8), 0.35: (3.94, 0.42, 16), 0.40: (4.06, 0.46, 15),
    }
)  # fmt: skip
"""Joins per second, and as many leaves -> mean path length, mean timeouts, failures in 10,000 lookups: ToN 2003, Table III."""

_PAPER_LOOKUPS: Final = 10_000
_EXACT_TRIES: Final = 1000
_LAST_WORDS_S: Final = 15.0  # in which lookups under way end


@dataclass(frozen=True, kw_only=True, slots=True)
class RingChurnPlan:
    """What to simulate."""

    nodes: int = 1000
    rates: tuple[float, ...] = tuple(TABLE_III)
    """Joins per second, and as many leaves."""
    seeds: int = 5
    lookups: int = 2000
    """In each run: with five seeds 10,000, as in the paper."""
    lookups_per_s: float = 5.0
    """The paper's one per second would take five times as long; they are few beside the lookups of upkeep, thirty per second."""
    settle_s: float = 400.0
    """Before lookups count."""
    parameters: NetworkParameters = field(default_factory=lambda: NetworkParameters(r=20, replicas=4, stabilise_s=30))


def poisson_limit(paper: float, confidence: float = 0.95) -> int:
    """How many may be counted where the paper counted so many: more would show, at this confidence, that the true rate is higher here.

    Both counts scatter. Of all that was counted in both, half falls to us if the rates are the same: the limit is the least count of ours
    above which that is too unlikely (the conditional test of two Poisson counts, Przyborowski and Wilenski 1940).
    """
    theirs = round(paper)
    ours = theirs
    while _tail(ours + 1, theirs + ours + 1) > 1 - confidence:
        ours += 1
    return ours


def _tail(least: int, tries: int) -> float:
    """The chance of so many heads at least."""
    middle, deviation = tries / 2, sqrt(tries) / 2
    if tries > _EXACT_TRIES:
        return erfc((least - 0.5 - middle) / deviation / sqrt(2)) / 2
    return float(sum(comb(tries, heads) for heads in range(least, tries + 1)) / 2**tries)


def measure(plan: RingChurnPlan, tell: Callable[[str], None] = lambda _told: None) -> dict[str, Any]:
    """Run it, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    rows = []
    for rate in plan.rates:
        with few_collections():
            runs = [virtual_time.run(churn_run(plan, rate, seed)) for seed in range(plan.seeds)]
        rows.append(_row(rate, [path for run in runs for path in run]))
        tell(f"{rows[-1]} {time.process_time() - began:.0f} s")
    return {
        "plan": {
            "nodes": plan.nodes,
            "r": plan.parameters.r,
            "stabilise_s": plan.parameters.stabilise_s,
            "seeds": plan.seeds,
            "lookups": plan.seeds * plan.lookups,
            "lookups_per_s": plan.lookups_per_s,
            "settle_s": plan.settle_s,
        },
        "rows": rows,
        "cost": {"cpu_s": round(time.process_time() - began, 1)},
    }


async def churn_run(plan: RingChurnPlan, rate: float, seed: int) -> list[Path]:
    """One network: how its lookups went."""
    network = RingNetwork(f"{seed} {rate}", parameters=plan.parameters)
    network.assemble(plan.nodes)
    dice = random.Random(f"ring churn {seed} {rate}")
    paths: list[Path] = []
    begun = 0
    all_begun = asyncio.Event()

    def look_up() -> None:
        nonlocal begun
        if begun >= plan.lookups:
            all_begun.set()
        elif network.now >= plan.settle_s:
            begun += 1
            network.look_up(network.anybody(), dice.getrandbits(KEY_BITS), paths.append)

    streams = {network.join: rate, lambda: network.leave(network.anybody()): rate, look_up: plan.lookups_per_s}
    tasks = [asyncio.ensure_future(poisson(dice, happens, per_s)) for happens, per_s in streams.items()]
    await all_begun.wait()
    await asyncio.sleep(_LAST_WORDS_S)
    for task in tasks:
        task.cancel()
    network.stop()
    return paths  # but those of members that left meanwhile


async def poisson(dice: random.Random, happens: Callable[[], object], per_s: float) -> None:
    """Let something happen again and again, at random."""
    while True:
        await asyncio.sleep(dice.expovariate(per_s))
        happens()


def _row(rate: float, paths: Sequence[Path]) -> dict[str, Any]:
    length, timeouts, failures = TABLE_III.get(rate, (None, None, None))
    failed = sum(not path.found for path in paths)
    return {
        "rate": rate,
        "lookups": len(paths),
        "path": spread([path.length for path in paths]),
        "timeouts": spread([path.timeouts for path in paths]),
        "timeouts_to_find_the_owner": round(fmean(path.owner_timeouts for path in paths), 3),
        "failed": failed,
        "published": {"path": length, "timeouts": timeouts, "failed": failures},
        "failed_limit": None if failures is None else poisson_limit(failures * len(paths) / _PAPER_LOOKUPS),
    }


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim chord-churn``."""
    default = RingChurnPlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim chord-churn", description="Chord's lookups under churn, as JSON.")
    parser.add_argument("--rates", type=float, nargs="+", default=default.rates, metavar="PER_S", help="joins per second, and leaves")
    parser.add_argument("--seeds", type=int, default=default.seeds)
    parser.add_argument("--lookups", type=int, default=default.lookups, help="for each rate and seed")
    given = parser.parse_args(arguments)
    plan = RingChurnPlan(rates=tuple(given.rates), seeds=given.seeds, lookups=given.lookups)
    print(json.dumps(measure(plan, lambda told: print(told, file=sys.stderr, flush=True)), indent=2))  # noqa: T201
    return 0
