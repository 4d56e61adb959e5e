"""Disjoint paths among liars: `python -m tests.sim disjoint`, the experiment of S/Kademlia's Figure 4 with our lookups.

Ten thousand nodes, buckets of 16, one request at a time on each path, no churn. Beside what was measured stand the paper's own formula, fed
with the path lengths measured without liars, and the paper's points, read off its plot.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tests.sim.static_network import StaticNetwork, compare

__all__ = ["PAPER", "DisjointPlan", "interval", "main", "measure"]

PAPER: Final[Mapping[tuple[int, float], float]] = MappingProxyType(
    {
        (1, 0.1): 0.87, (1, 0.2): 0.76, (1, 0.3): 0.62, (1, 0.5): 0.38,
        (2, 0.1): 0.97, (2, 0.2): 0.93, (2, 0.3): 0.83, (2, 0.5): 0.60,
        (4, 0.1): 1.00, (4, 0.2): 1.00, (4, 0.3): 0.98, (4, 0.5): 0.80,
        (8, 0.1): 1.00, (8, 0.2): 1.00, (8, 0.3): 1.00, (8, 0.5): 0.88,
    }
)  # fmt: skip
"""``(paths, share of adversaries)`` -> success: Baumgart and Mies, S/Kademlia (2007), Figure 4; read off the plot, to 0.02."""

_SEED: Final = 1
_CONFIDENCE: Final = 1.96  # standard deviations on either side: 95 %


@dataclass(frozen=True, kw_only=True, slots=True)
class DisjointPlan:
    """What to simulate."""

    nodes: int = 10_000
    k: int = 16
    paths: tuple[int, ...] = (1, 2, 4, 8)
    adversaries: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    """Shares of the nodes; without any it is measured too."""
    lookups: int = 4000
    """For each number of paths and share: enough for 0.016 on either side of the worst case."""


def interval(successes: float, tries: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson's).

    Args:
        successes: The share measured.
        tries: Of how many.
    """
    square = _CONFIDENCE**2
    middle = (successes + square / (2 * tries)) / (1 + square / tries)
    half = _CONFIDENCE * math.sqrt(successes * (1 - successes) / tries + square / (4 * tries**2)) / (1 + square / tries)
    return max(0.0, middle - half), min(1.0, middle + half)


def measure(plan: DisjointPlan) -> dict[str, Any]:
    """Look up, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    network = StaticNetwork(plan.nodes, seed=_SEED, k=plan.k)
    compared = compare(network, paths=plan.paths, adversaries=plan.adversaries, lookups=plan.lookups)
    rows: list[dict[str, float | None]] = []
    for row in compared:
        low, high = interval(row["success"], plan.lookups)
        rounded: dict[str, float | None] = {name: round(value, 4) for name, value in {**row, "low": low, "high": high}.items()}
        rows.append({**rounded, "paper": PAPER.get((int(row["paths"]), row["adversaries"]))})
    return {
        "network": {"nodes": plan.nodes, "k": plan.k, "lookups": plan.lookups, "seed": _SEED},
        "rows": rows,
        "farthest_from_the_formula": round(max(abs(row["success"] - row["formula"]) for row in compared), 4),
        "cost": {"cpu_s": round(time.process_time() - began, 1)},
    }


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim disjoint``."""
    default = DisjointPlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim disjoint", description="Disjoint paths among liars; JSON goes to stdout.")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--lookups", type=int, default=default.lookups, help="for each number of paths and share of liars")
    given = parser.parse_args(arguments)
    if given.nodes < 4 * default.k or given.lookups < 1:
        parser.error("too small to measure")
    print(json.dumps(measure(DisjointPlan(nodes=given.nodes, lookups=given.lookups)), indent=2))  # noqa: T201
    return 0
