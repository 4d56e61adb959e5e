"""``python -m tests.sim compare``: Kademlia and Chord side by side, on the same seeds, keys, links, churn, and number of replicas.

Two measurements. In *quiet* networks of several sizes nobody joins or fails: they are assembled as if everybody had joined long ago, run
for a while on upkeep alone, without a record, and are then asked for lookups, puts and gets, one after the other. In *churn* servers come
as a Poisson stream, stay for sessions of Weibull lengths and crash, while values are written and read (`tests.sim.churn`).

A *message* is one request or one answer. Bytes are those of the messages as the plugin's own codec writes them, with one address of eight
bytes for each server named, without what yamux, Noise, TCP and IP put around them. `tests.sim.metered` says who pays for which message.
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
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, pstdev
from typing import Any, Final

from peerstack.dht.contract import HopOutcome, Lookup
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import position_of
from peerstack.dht.replica.geometry import closest
from peerstack.testing import virtual_time
from peerstack.testing.message_network import LinkModel
from tests.sim.churn import Churn, ChurnPlan
from tests.sim.metered import METERED, Account, MeteredNetwork
from tests.sim.world import World

__all__ = ["ComparePlan", "compare", "main"]

_HOUR_S: Final = 3600.0
_TTL_S: Final = 24 * _HOUR_S
_SETTLE_S: Final = 120.0
"""Virtual seconds until what assembling set off is over."""
_PAUSE_S: Final = 0.1
"""Between two operations."""
_LINKS: Final = LinkModel(latency_s=0.03, jitter_s=0.02)  # a round trip takes 0.1 s on average


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparePlan:
    """What is run, of each DHT."""

    sizes: tuple[int, ...] = (64, 256, 1000)
    """Servers of the quiet networks."""
    server_hours: float = 100.0
    """Of upkeep, in each network: larger ones run shorter, and every server is somewhere in the middle of each of its periods."""
    operations: int = 300
    """Lookups, and puts, and gets, in each network."""
    keys_per_server: int = 20
    """Keys dealt out to see how evenly they spread."""
    churn_servers: int = 200
    """On average."""
    churn_hours: float = 3.0
    write_every_s: float = 20.0
    read_every_s: float = 10.0
    value_bytes: int = 200
    seed: int = 1
    parameters: NetworkParameters = field(default_factory=lambda: NetworkParameters(replicas=4))
    """Chord's `wan` preset: k 20, r 8."""


def compare(plan: ComparePlan, tell: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
    """Run it all, and report as plain data: ``cost`` differs from run to run, everything else follows from the plan alone.

    Args:
        plan: What to run.
        tell: Told how far it is.
    """
    began = time.process_time()
    quiet, churn = [], []
    for dht in METERED:
        for size in plan.sizes:
            quiet.append({"dht": dht, "servers": size, **virtual_time.run(_quiet(dht, size, plan))})
            tell(f"{dht}, {size} servers: {time.process_time() - began:.0f} s of CPU")
        if plan.churn_hours:
            churn.append({"dht": dht, **virtual_time.run(_churn(dht, plan))})
            tell(f"{dht} in churn: {time.process_time() - began:.0f} s of CPU")
    report = {"plan": asdict(plan), "round_trip_s": 2 * (_LINKS.latency_s + _LINKS.jitter_s), "quiet": quiet, "churn": churn}
    plain: dict[str, Any] = json.loads(json.dumps(report), parse_float=lambda text: float(f"{float(text):.5g}"))
    return {**plain, "cost": {"cpu_s": round(time.process_time() - began)}}


# -- quiet networks


async def _quiet(dht: str, size: int, plan: ComparePlan) -> dict[str, Any]:
    network = METERED[dht](plan.seed, parameters=plan.parameters, links=_LINKS)
    network.settle(size)
    await asyncio.sleep(_SETTLE_S)
    network.meter.upkeep.clear()
    await asyncio.sleep(plan.server_hours / size * _HOUR_S)
    report = {
        "upkeep": _per_hour(network.meter.upkeep, plan.server_hours),
        "lookup": await _lookups(network, plan),
        "put": await _repeat(network, plan, _puts(network, plan)),
        "get": await _repeat(network, plan, _gets(network, plan)),
        "load": _load(network, plan.keys_per_server * size),
    }
    await network.close()
    return report


Operation = Callable[[], Coroutine[Any, Any, bool]]
"""Does something once; whether it went well."""


async def _repeat(network: MeteredNetwork, plan: ComparePlan, operations: Iterator[Operation]) -> dict[str, Any]:
    """Do things one after the other, and see how long each takes and what they set off."""
    loop = network.messages.loop
    account, seconds, failed = Account(), [], 0
    for _ in range(plan.operations):
        began = loop.time()
        failed += not await network.meter.pay(account, next(operations)())
        seconds.append(loop.time() - began)
        await asyncio.sleep(_PAUSE_S)
    return {
        "messages": account.messages.total() / plan.operations,
        "pings": account.messages["Ping"] / plan.operations,
        "bytes": account.bytes.total() / plan.operations,
        "virtual_s": _spread(seconds),
        "failed": failed,
    }


def _puts(network: MeteredNetwork, plan: ComparePlan) -> Iterator[Operation]:
    dice = random.Random(f"puts {plan.seed}")
    for number in range(plan.operations):
        node = network.dht(dice.randrange(network.size))

        async def put(number: int = number, node: Any = node) -> bool:
            result = await node.put(f"key {number}", dice.randbytes(plan.value_bytes), ttl=_TTL_S)
            return bool(result.promised)

        yield put


def _gets(network: MeteredNetwork, plan: ComparePlan) -> Iterator[Operation]:
    dice = random.Random(f"gets {plan.seed}")
    for _ in range(plan.operations):
        name, node = f"key {dice.randrange(plan.operations)}", network.dht(dice.randrange(network.size))

        async def get(name: str = name, node: Any = node) -> bool:
            return bool((await node.get(name)).confirmed)

        yield get


async def _lookups(network: MeteredNetwork, plan: ComparePlan) -> dict[str, Any]:
    dice = random.Random(f"lookups {plan.seed}")
    found: list[Lookup] = []

    def operations() -> Iterator[Operation]:
        for number in range(plan.operations):
            node = network.dht(dice.randrange(network.size))

            async def look_up(number: int = number, node: Any = node) -> bool:
                found.append(await node.lookup(f"target {number}", trace=True))
                position = position_of(wire_key("kv", found[-1].key))
                truth = network.responsible(position, network.up(), plan.parameters.replicas)
                return list(found[-1].peers) == [network.peer_id(number) for number in truth]

            yield look_up

    report = await _repeat(network, plan, operations())
    return {**report, "hops": _spread([_hops(lookup) for lookup in found])}


def _hops(found: Lookup) -> int:
    """Requests in a row until the first of those responsible had answered; 0 where that is the one who asks."""
    return next((hop.depth for hop in found.hops if hop.outcome is HopOutcome.ANSWERED and hop.peer == found.peers[0]), 0)


def _load(network: MeteredNetwork, keys: int) -> dict[str, float]:
    """How evenly the copies of many keys lie on the servers that run."""
    servers = [network.nodes[number].contact.key for number in network.up()]
    held = Counter(dict.fromkeys(servers, 0))
    for number in range(keys):
        held.update(closest(network.geometry, servers, position_of(wire_key("kv", b"key %d" % number)), network.parameters.replicas))
    mean = fmean(held.values())
    return {"mean": mean, "max_to_mean": max(held.values()) / mean, "variation": pstdev(held.values()) / mean, "keys": keys}


# -- churn


class _MeteredWorld(World):
    """A world whose operations pay for what they set off."""

    __slots__ = ()

    async def _unless_dead(self, node: int, call: Awaitable[Any]) -> Any:
        network = self.network
        assert isinstance(network, MeteredNetwork)
        assert asyncio.iscoroutine(call)
        return await super()._unless_dead(node, network.meter.pay(Account(), call))


class _MeteredChurn(Churn):
    """Churn of which upkeep is kept apart."""

    def __init__(self, plan: ChurnPlan, network: MeteredNetwork) -> None:
        super().__init__(plan, _MeteredWorld(network, random.Random(f"churn {plan.seed}")))
        self.upkeep: dict[str, Any] = {}
        self._meter = network.meter

    def sum_up(self) -> None:
        super().sum_up()
        self.upkeep = _per_hour(self._meter.upkeep, self.server_hours)


async def _churn(dht: str, plan: ComparePlan) -> dict[str, Any]:
    network = METERED[dht](plan.seed, parameters=plan.parameters, links=_LINKS)
    churn_plan = ChurnPlan(
        nodes=plan.churn_servers,
        hours=plan.churn_hours,
        seed=plan.seed,
        write_every_s=plan.write_every_s,
        read_every_s=plan.read_every_s,
        parameters=plan.parameters,
    )
    churn = _MeteredChurn(churn_plan, network)
    await churn.play()
    report = churn.report
    return {
        "upkeep": churn.upkeep,
        **{name: getattr(report, name) for name in ("joins", "crashes", "acknowledged", "not_acknowledged")},
        **{name: getattr(report, name) for name in ("values", "lost", "fewest_copies", "reads", "confirmed", "found")},
        "violations": len(report.violations),
    }


# -- figures


def _per_hour(account: Account, server_hours: float) -> dict[str, Any]:
    """Upkeep per server and hour, in all and by kind of request."""
    kinds = sorted(account.bytes, key=lambda kind: -account.bytes[kind])
    return {
        "messages": account.messages.total() / server_hours,
        "bytes": account.bytes.total() / server_hours,
        "by_kind": {
            kind: {"messages": account.messages[kind] / server_hours, "bytes": account.bytes[kind] / server_hours} for kind in kinds
        },
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, median and 99th percentile."""
    order = sorted(values)
    return {"mean": fmean(order), "p50": order[len(order) // 2], "p99": order[min(len(order) - 1, math.floor(0.99 * len(order)))]}


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim compare``."""
    default = ComparePlan()
    parser = argparse.ArgumentParser(prog="python -m tests.sim compare", description="Kademlia beside Chord; JSON goes to stdout.")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(default.sizes), metavar="SERVERS", help="of the quiet networks")
    parser.add_argument("--servers", type=int, default=default.churn_servers, help="in churn, on average")
    parser.add_argument("--hours", type=float, default=default.churn_hours, help="of churn")
    parser.add_argument("--replicas", type=int, default=default.parameters.replicas)
    parser.add_argument("--seed", type=int, default=default.seed)
    given = parser.parse_args(arguments)
    plan = ComparePlan(
        sizes=tuple(given.sizes),
        churn_servers=given.servers,
        churn_hours=given.hours,
        seed=given.seed,
        parameters=NetworkParameters(replicas=given.replicas),
    )
    report = compare(plan, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    print(json.dumps(report, indent=2))  # noqa: T201
    return 0
