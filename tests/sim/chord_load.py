"""Keys per node: ``python -m tests.sim chord-load``, Figures 8 and 9 of Stoica et al. (IEEE/ACM ToN 2003).

Where keys and nodes lie is the product's own hash. How many keys fall to a node follows from that alone, so no message is sent. The paper
evens the load out by letting every node take many positions; PeerStack's nodes have one each, and each key is held by several of them
instead: the *virtual* nodes exist only here. Beside them stands what `replicas` copies of each key do to the load.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import key_of, position_of
from peerstack.identity import PeerId

__all__ = ["FIGURE_8", "FIGURE_9", "LoadPlan", "keys_per_node", "main", "measure"]

FIGURE_8: Final[Mapping[str, float]] = MappingProxyType({"max": 9.1, "p99": 4.6, "min": 0.0})
"""10^4 nodes, 5 * 10^5 keys: the load of a node, in means (457 keys are the most)."""

FIGURE_9: Final[Mapping[int, Mapping[str, float]]] = MappingProxyType({1: {"p1": 0.0, "p99": 4.8}, 20: {"p1": 0.5, "p99": 1.6}})
"""10^4 nodes, 10^6 keys, by positions per node: the load of a node, in means."""

_SEED: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPlan:
    """What to simulate."""

    nodes: int = 10_000
    keys: int = 1_000_000
    fewer_keys: int = 500_000
    """For Figure 8."""
    positions: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Virtual nodes of each node."""
    replicas: int = 4
    """With one position each; the `wan` preset's."""


def keys_per_node(keys: Sequence[int], nodes: int, *, positions: int = 1, replicas: int = 1) -> list[int]:
    """How many keys each node holds.

    Args:
        keys: Their positions.
        nodes: How many there are.
        positions: At how many places each of them stands.
        replicas: How many members from a key on hold it.
    """
    rng = random.Random(f"load {_SEED}")
    stands = sorted((key_of(PeerId(b"\x12\x20" + rng.randbytes(32))), node) for node in range(nodes) for _ in range(positions))
    order = [position for position, _ in stands]
    owned = [0] * len(stands)
    for key in keys:
        owned[bisect_left(order, key) % len(order)] += 1
    held = [0] * nodes
    for index, (_, node) in enumerate(stands):
        held[node] += sum(owned[index - before] for before in range(replicas))
    return held


def measure(plan: LoadPlan) -> dict[str, Any]:
    """Distribute, and report as plain data; only ``cost`` differs from run to run."""
    began = time.process_time()
    keys = [position_of(wire_key("kv", b"key %d" % number)) for number in range(plan.keys)]
    rows = [_row(keys[: plan.fewer_keys], plan.nodes, published=FIGURE_8)]
    rows += [_row(keys, plan.nodes, positions=count, published=FIGURE_9.get(count, {})) for count in plan.positions]
    rows.append(_row(keys, plan.nodes, replicas=plan.replicas))
    return {"nodes": plan.nodes, "seed": _SEED, "rows": rows, "cost": {"cpu_s": round(time.process_time() - began, 1)}}


def _row(
    keys: Sequence[int], nodes: int, *, positions: int = 1, replicas: int = 1, published: Mapping[str, float] = MappingProxyType({})
) -> dict[str, Any]:
    loads = sorted(keys_per_node(keys, nodes, positions=positions, replicas=replicas))
    mean = sum(loads) / len(loads)
    p1, p50, p99 = (loads[int(share * len(loads))] / mean for share in (0.01, 0.5, 0.99))
    load = {"min": loads[0] / mean, "p1": p1, "p50": p50, "p99": p99, "max": loads[-1] / mean}
    return {
        "keys": len(keys),
        "positions": positions,
        "replicas": replicas,
        "most_keys": loads[-1],
        "load": {name: round(value, 3) for name, value in load.items()},
        "published": dict(published),
    }


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim chord-load``."""
    default = LoadPlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim chord-load", description="Keys per Chord node; JSON goes to stdout.")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--keys", type=int, default=default.keys)
    given = parser.parse_args(arguments)
    if given.nodes < 1 or given.keys < 2:
        parser.error("too small to measure")
    print(json.dumps(measure(LoadPlan(nodes=given.nodes, keys=given.keys, fewer_keys=given.keys // 2)), indent=2))  # noqa: T201
    return 0
