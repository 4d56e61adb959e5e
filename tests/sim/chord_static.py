"""Path lengths and failures on rings that stand still: ``python -m tests.sim chord-paths`` and ``chord-failures``.

The experiments of Stoica et al. (IEEE/ACM ToN 2003), V-C (Figure 10) and V-D (Table II), with our lookups and finger tables; see
`static_ring` for what is counted. Each is run with two finger tables: the *paper's*, one member for each interval, and *ours* when it is
full, which keeps the first four. The failures are those of many rings: how often a dead finger is met depends on which of the few members
that many point to are dead, so that one ring differs from the next by a tenth.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Any, Final

from peerstack.dht.replica.contacts import KEY_BITS
from tests.sim.static_ring import Path, StaticRing

__all__ = ["TABLE_II", "FailurePlan", "PathPlan", "failures_main", "measure_failures", "measure_paths", "paths_main", "predicted", "spread"]

TABLE_II: Final[Mapping[float, tuple[float, float]]] = MappingProxyType(
    {0.0: (3.84, 0.0), 0.1: (4.03, 0.60), 0.2: (4.22, 1.17), 0.3: (4.44, 2.02), 0.4: (4.69, 3.23), 0.5: (5.09, 5.10)}
)
"""Share of dead members -> mean path length, mean timeouts: ToN 2003, Table II. All of its 10,000 lookups succeeded."""

TABLES: Final[Mapping[str, int]] = MappingProxyType({"paper": 1, "ours": 4})
"""The finger tables: how many members of each interval they hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathPlan:
    """Lookups without failures."""

    powers: tuple[int, ...] = tuple(range(3, 15))
    """Two to the power of these members."""
    lists: tuple[int, ...] = (1, 20)
    """Lengths of the successor list."""
    lookups: int = 1000
    """For each size, list and table."""
    seed: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FailurePlan:
    """Lookups after many members died at once."""

    nodes: int = 1000
    r: int = 20
    shares: tuple[float, ...] = tuple(TABLE_II)
    rings: int = 50
    lookups: int = 200
    """On each ring, for each share and table: 10,000 in all, as in the paper."""


def predicted(nodes: int, r: int) -> float:
    """The mean path length as the paper estimates it: half of log2 N, less what a successor list saves (ToN 2003, V-C and V-D)."""
    return math.log2(nodes) / 2 - (math.log2(r) / 2 - 1 if r > 1 else 0.0)


def measure_paths(plan: PathPlan) -> dict[str, Any]:
    """Look up, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    rows = []
    for power in plan.powers:
        nodes = 1 << power
        for r in (r for r in plan.lists if r < nodes // 2):
            row: dict[str, Any] = {"nodes": nodes, "r": r, "predicted": round(predicted(nodes, r), 3)}
            for name, fingers in TABLES.items():
                ring = StaticRing(nodes, r=r, seed=plan.seed, fingers=fingers)
                paths = list(_look_up(ring, random.Random(f"paths {plan.seed} {nodes} {r}"), plan.lookups))
                row[name] = {**spread([path.length for path in paths]), "failed": sum(not path.found for path in paths)}
            rows.append(row)
    return {"lookups": plan.lookups, "seed": plan.seed, "rows": rows, "cost": {"cpu_s": round(time.process_time() - began, 1)}}


def measure_failures(plan: FailurePlan) -> dict[str, Any]:
    """Kill and look up, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    rows = []
    for share in plan.shares:
        length, timeouts = TABLE_II.get(share, (None, None))
        row: dict[str, Any] = {"dead": share, "published": {"path": length, "timeouts": timeouts}}
        for name, fingers in TABLES.items():
            row[name] = _sum_up([list(_after_failures(plan, share, fingers, seed)) for seed in range(plan.rings)])
        rows.append(row)
    return {
        "network": {"nodes": plan.nodes, "r": plan.r, "rings": plan.rings, "lookups": plan.rings * plan.lookups},
        "rows": rows,
        "cost": {"cpu_s": round(time.process_time() - began, 1)},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and 1st and 99th percentile."""
    order = sorted(values)
    p1, p99 = (order[min(len(order) - 1, int(share * len(order)))] for share in (0.01, 0.99))
    return {"mean": round(fmean(order), 3), "p1": p1, "p99": p99}


def _after_failures(plan: FailurePlan, share: float, fingers: int, seed: int) -> Iterator[Path]:
    """Every member dies with the same chance; who is left looks up."""
    dice = random.Random(f"failures {seed} {share}")
    ring = StaticRing(plan.nodes, r=plan.r, seed=seed, fingers=fingers)
    ring.kill(key for key in ring.keys if dice.random() < share)
    return _look_up(ring, dice, plan.lookups)


def _look_up(ring: StaticRing, dice: random.Random, lookups: int) -> Iterator[Path]:
    alive = [key for key in ring.keys if key not in ring.dead]
    return (ring.look_up(dice.choice(alive), dice.getrandbits(KEY_BITS)) for _ in range(lookups))


def _sum_up(rings: Sequence[Sequence[Path]]) -> dict[str, Any]:
    paths = [path for ring in rings for path in ring]
    per_ring = sorted(fmean(path.timeouts for path in ring) for ring in rings)
    return {
        "path": spread([path.length for path in paths]),
        "timeouts": spread([path.timeouts for path in paths]),
        "timeouts_of_one_ring": [round(per_ring[0], 2), round(per_ring[-1], 2)],
        "timeouts_to_find_the_owner": round(fmean(path.owner_timeouts for path in paths), 3),
        "failed": sum(not path.found for path in paths),
    }


def paths_main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim chord-paths``."""
    default = PathPlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim chord-paths", description="Chord's path lengths; JSON goes to stdout.")
    parser.add_argument("--lookups", type=int, default=default.lookups, help="for each size of the ring")
    given = parser.parse_args(arguments)
    print(json.dumps(measure_paths(PathPlan(lookups=given.lookups)), indent=2))  # noqa: T201
    return 0


def failures_main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim chord-failures``."""
    default = FailurePlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim chord-failures", description="Chord's lookups among the dead, as JSON.")
    parser.add_argument("--rings", type=int, default=default.rings)
    parser.add_argument("--lookups", type=int, default=default.lookups, help="on each ring, for each share of dead members")
    given = parser.parse_args(arguments)
    print(json.dumps(measure_failures(FailurePlan(rings=given.rings, lookups=given.lookups)), indent=2))  # noqa: T201
    return 0
