"""``python -m tests.sim scale``, in small: what it reports is true and repeats itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.testing import virtual_time
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.scale import ALPHAS, ScaleConfig, measure

_NODES = 200
_SMALL = ScaleConfig(nodes=_NODES, lookups=20, puts=10, gets=20, stretch_s=90)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return measure(_SMALL)


def test_the_same_configuration_gives_the_same_run(report: dict[str, Any]) -> None:
    again = measure(_SMALL)
    assert {**again, "cost": None} == {**report, "cost": None}
    other = measure(ScaleConfig(nodes=_NODES, lookups=20, puts=10, gets=20, stretch_s=90, seed=2))
    assert other["traffic"]["trace"] != report["traffic"]["trace"]


def test_every_operation_ends_well_where_nobody_fails(report: dict[str, Any]) -> None:
    operations = report["operations"]
    assert operations["failed"] == {}
    assert operations["puts_promised"] == 10
    assert operations["gets_confirmed"] == 20


@pytest.mark.parametrize("alpha", ALPHAS)
def test_lookups_find_exactly_the_closest_by_no_more_requests_than_it_takes(report: dict[str, Any], alpha: int) -> None:
    lookups = report["lookups"][f"alpha {alpha}"]
    assert lookups["lookups"] == 20
    assert lookups["found_exactly_the_closest"] == lookups["of_the_closest_found"] == 1.0
    # Each of the k closest has to be asked and to answer, the node itself perhaps being one; in 200 nodes there is little beside them.
    assert 2 * 19 <= lookups["messages"]["mean"] < 2 * (20 + 2 * alpha)
    assert 1 <= lookups["hops_to_the_closest"]["mean"] <= 2


def test_maintenance_goes_on_meanwhile(report: dict[str, Any]) -> None:
    requests = report["traffic"]["requests"]
    assert requests["Ping"] > _NODES  # upkeep asks whom it counts and has not heard of for a while
    assert report["traffic"]["messages"] >= sum(requests.values())


def test_strangers_who_ping_for_each_other_fall_silent() -> None:
    async def main() -> None:
        network = SimulatedKademlia(1, parameters=KADEMLIA_PRESETS["wan"], trace=True)
        network.assemble(400)
        await asyncio.sleep(30)  # everybody has been silent for a while; upkeep asks nobody before ten minutes are over
        for number in range(40):
            await network.dht(7 * number).lookup(f"target {number}")
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert 0 < network.requests["Ping"] < network.requests["FindNode"]
        await network.close()

    virtual_time.run(main())
