"""Ten thousand Kademlia nodes in one process: what they cost, and how well their lookups do.

The nodes are assembled, not grown: routing tables and neighbourhoods are filled by somebody who sees everybody, as they would be long
after all had joined, and every node stands somewhere in the middle of its periods. Nobody fails, and nobody is started again: what a node
notes on its disk for that is not kept. Then lookups, puts and gets are asked of random nodes over a stretch of virtual time in which all
maintenance goes on. Half of the nodes look up with three requests at once, half with ten.

A *message* is one request or one reply. CPU time is the process's own, and peak memory that of the whole process, interpreter included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from peerstack.dht.contract import GetResult, HopOutcome, Lookup, PutResult
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import position_of
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.store.storage import ignore
from peerstack.errors import PeerstackError
from peerstack.testing import virtual_time
from peerstack.testing.message_network import LinkModel
from tests.sim.garbage import few_collections
from tests.sim.kad_network import NodeOptions, SimulatedKademlia

__all__ = ["ALPHAS", "REFERENCE", "ScaleConfig", "main", "measure"]

ALPHAS: Final = (3, 10)
"""Requests of one lookup at once: the paper's example and libp2p's value."""

REFERENCE: Final = {
    "Kademlia (Maymounkov and Mazieres, IPTPS 2002)": "a lookup takes ceil(log2 n) + c hops, here 14 + c; alpha 3, k 20",
    "libp2p kad-dht specification": "alpha 10, k 20",
    "IPFS, RFM 17 (ProbeLab 2022)": "at most 4 hops in all in 50 % of the walks, 6 in 90 %; the closest found within 4 in 95 %",
    "IPFS, RFM 19 (ProbeLab 2022)": "61.09 % of the nodes know all of their 20 closest, 95.21 % at least 18",
    "IPFS (Trautwein et al., SIGCOMM 2022)": "a walk takes 0.622 s (median), then with alpha 3",
}
"""What others measured or promised. IPFS is a live network, with churn, unreachable peers and real links; this one is not."""

_TTL_S: Final = 24 * 3600.0
_LINKS: Final = LinkModel(latency_s=0.03, jitter_s=0.02)  # a round trip takes 0.1 s on average
_LAST_WORDS_S: Final = 20.0  # of the stretch, in which nothing more is asked


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleConfig:
    """What is run."""

    nodes: int = 10_000
    seed: int = 1
    lookups: int = 300
    """For each of `ALPHAS`."""
    puts: int = 200
    gets: int = 400
    stretch_s: float = 120.0
    """Virtual seconds."""


@dataclass(slots=True)
class _Seen:
    """What the operations came to."""

    lookups: dict[int, list[tuple[Lookup, float]]] = field(default_factory=lambda: {alpha: [] for alpha in ALPHAS})
    """By alpha: the result, and how many virtual seconds it took."""
    puts: list[PutResult] = field(default_factory=list)
    gets: list[GetResult] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)


def measure(config: ScaleConfig) -> dict[str, Any]:
    """Run it, and report as plain data: ``cost`` differs from run to run, everything else follows from the configuration alone."""
    return virtual_time.run(_measure(config))


class _NoDisk:
    """A `peerstack.dht.store.storage.SideTable` of a node that is never started again: what it notes for that is let go."""

    def get(self, key: bytes) -> bytes | None:
        """Nothing is there."""

    def items(self) -> list[tuple[bytes, bytes]]:
        """Nothing is there."""
        return []

    def put(self, key: bytes, value: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Let it go."""
        done(True)

    def delete(self, key: bytes, *, done: Callable[[bool], None] = ignore) -> None:
        """Nothing is there."""
        done(True)


def _options(number: int) -> NodeOptions:
    return NodeOptions(parallelism=ALPHAS[number % len(ALPHAS)], state=NodeState(_NoDisk()))


async def _measure(config: ScaleConfig) -> dict[str, Any]:
    parameters = KADEMLIA_PRESETS["wan"]
    network = SimulatedKademlia(config.seed, parameters=parameters, links=_LINKS, trace=True)
    began = time.process_time()
    network.assemble(config.nodes, options=_options, long_ago=True)
    assembled = time.process_time()
    try:
        with few_collections():
            seen = await _use(network, config)
        ran = time.process_time()
        messages = network.messages.messages
        report = {
            "network": {
                "nodes": config.nodes,
                "round_trip_s": 2 * (_LINKS.latency_s + _LINKS.jitter_s),
                "k": parameters.k,
                "replicas": parameters.replicas,
                "tables": "assembled, not grown: filled by somebody who sees everybody, up to k at random per bucket; periods under way",
                "contacts_per_node": round(sum(len(node.node.table) for node in network.nodes) / config.nodes, 1),
                "seed": config.seed,
            },
            "traffic": {
                "virtual_s": config.stretch_s,
                "messages": messages,
                "requests": dict(sorted(network.requests.items())),
                "trace": network.trace,
            },
            "lookups": {f"alpha {alpha}": _lookups(network, lookups) for alpha, lookups in seen.lookups.items()},
            "operations": _operations(seen),
            "reference": REFERENCE,
            "cost": {
                "assembly_cpu_s": round(assembled - began, 2),
                "cpu_s": round(ran - assembled, 2),
                "messages_per_cpu_s": round(messages / (ran - assembled)),
                "peak_rss_mib": round(_peak_rss_mib(), 1),
            },
        }
    finally:
        await network.close()
    return report


async def _use(network: SimulatedKademlia, config: ScaleConfig) -> _Seen:
    """Ask for everything at its time: puts in the first half of the stretch, gets in the second, lookups in both."""
    dice = random.Random(f"traffic {config.seed}")
    seen = _Seen()
    last = config.stretch_s - _LAST_WORDS_S
    plan: list[tuple[float, Callable[[], Awaitable[None]]]] = [
        (dice.uniform(0, last / 2), partial(_put, network, seen, dice.randrange(config.nodes), f"key {number}"))
        for number in range(config.puts)
    ]
    for _ in range(config.gets):
        name = f"key {dice.randrange(config.puts)}"
        plan.append((dice.uniform(last / 2 + _LAST_WORDS_S, last), partial(_get, network, seen, dice.randrange(config.nodes), name)))
    for choice, alpha in enumerate(ALPHAS):
        for number in range(config.lookups):
            node = dice.randrange(choice, config.nodes, len(ALPHAS))
            plan.append((dice.uniform(0, last), partial(_look_up, network, seen, node, alpha, f"target {alpha} {number}")))
    loop = network.messages.loop
    tasks = []
    for when, call in sorted(plan, key=lambda each: each[0]):
        await asyncio.sleep(when - loop.time())
        tasks.append(asyncio.ensure_future(call()))
    await asyncio.sleep(config.stretch_s - loop.time())
    await asyncio.gather(*tasks)
    return seen


async def _put(network: SimulatedKademlia, seen: _Seen, node: int, name: str) -> None:
    try:
        seen.puts.append(await network.dht(node).put(name, f"value of {name}".encode(), ttl=_TTL_S))
    except PeerstackError as error:
        seen.failed[f"put: {error.code}"] += 1


async def _get(network: SimulatedKademlia, seen: _Seen, node: int, name: str) -> None:
    try:
        found = await network.dht(node).get(name)
    except PeerstackError as error:
        seen.failed[f"get: {error.code}"] += 1
        return
    if found.value == f"value of {name}".encode():
        seen.gets.append(found)
    else:
        seen.failed["get: another value"] += 1


async def _look_up(network: SimulatedKademlia, seen: _Seen, node: int, alpha: int, name: str) -> None:
    began = network.messages.loop.time()
    try:
        found = await network.dht(node).lookup(name, trace=True)
    except PeerstackError as error:
        seen.failed[f"lookup: {error.code}"] += 1
    else:
        seen.lookups[alpha].append((found, network.messages.loop.time() - began))


def _lookups(network: SimulatedKademlia, lookups: Sequence[tuple[Lookup, float]]) -> dict[str, Any]:
    """How the lookups of one alpha went."""
    by_key = {node.contact.key: node.contact.peer_id for node in network.nodes}
    exact = shared = 0
    for found, _ in lookups:
        position = position_of(wire_key("kv", found.key))
        truth = [by_key[key] for key in sorted(by_key, key=position.__xor__)[: network.parameters.replicas]]
        exact += list(found.peers) == truth
        shared += len(set(found.peers) & set(truth))
    return {
        "lookups": len(lookups),
        "messages": _spread([len(found.hops) + sum(hop.outcome is not HopOutcome.PENDING for hop in found.hops) for found, _ in lookups]),
        "hops_to_the_closest": _spread([_depth_of_closest(found) for found, _ in lookups]),
        "hops_in_all": _spread([max((hop.depth for hop in found.hops), default=0) for found, _ in lookups]),
        "virtual_s": _spread([seconds for _, seconds in lookups]),
        "found_exactly_the_closest": round(exact / max(1, len(lookups)), 4),
        "of_the_closest_found": round(shared / max(1, len(lookups) * network.parameters.replicas), 5),
    }


def _depth_of_closest(found: Lookup) -> int:
    """Requests in a row until the closest one had answered; 0 where nobody else was closer than the one who asks."""
    answered = [hop for hop in found.hops if hop.outcome is HopOutcome.ANSWERED]
    first = [hop.depth for hop in answered if found.peers and hop.peer == found.peers[0]]
    return first[0] if first else 0


def _operations(seen: _Seen) -> dict[str, Any]:
    return {
        "puts_promised": sum(result.promised for result in seen.puts),
        "put_acknowledgements": _spread([len(result.acknowledged) for result in seen.puts]),
        "gets_confirmed": sum(result.confirmed for result in seen.gets),
        "failed": dict(sorted(seen.failed.items())),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles (of the values as they are: the smallest that so many are not above)."""
    if not values:
        return {}
    order = sorted(values)
    p50, p99 = (order[min(len(order) - 1, int(share * len(order)))] for share in (0.5, 0.99))
    return {"mean": round(sum(order) / len(order), 3), "p50": round(p50, 3), "p99": round(p99, 3)}


def _peak_rss_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim scale``."""
    default = ScaleConfig()
    parser = argparse.ArgumentParser(prog="python -m tests.sim scale", description="Measure a large network; JSON goes to stdout.")
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--stretch", type=float, default=default.stretch_s, metavar="SECONDS", help="of virtual time, 60 at least")
    given = parser.parse_args(arguments)
    if given.nodes < 2 or given.stretch < 3 * _LAST_WORDS_S:
        parser.error("too small to measure")
    report = measure(ScaleConfig(nodes=given.nodes, seed=given.seed, stretch_s=given.stretch))
    print(json.dumps(report, indent=2))  # noqa: T201
    return 0
