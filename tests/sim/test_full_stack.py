"""The same scenarios on whole hosts: identify, Noise, yamux and the plugin over the memory network, in virtual time, judged alike.

The floor of availability is asked of the tier above the seam, where there are enough servers and operations for shares to say something.
Here a run has some fifty reads, and right after a partition hosts wait a moment before they dial again whom they could not reach.
"""

from __future__ import annotations

from typing import Final

import pytest
from peerstack_kad.routing import KademliaRouting

from peerstack.dht.namespaces import LatestVersion, Namespaces
from peerstack.dht.replica.persistence import NodeState
from peerstack.testing import virtual_time
from tests.sim.chance import interval
from tests.sim.host_network import HostNetwork
from tests.sim.numbered_network import NodeOptions
from tests.sim.play import play
from tests.sim.scenarios import HOSTS, promised_by
from tests.sim.world import DHTS, SMALL

_SEEDS: Final = 3
_TWO_SEEDS: Final = {"S4o", "S8h", "S9", "S10a", "S10e", "S11", "S14", "S14d8", "S15", "S16", "S21"}
"""Those that take longest, or differ least; ``python -m tests.sim scenarios --hosts`` plays more."""
_LOSS: Final = "S3"
RUNS: Final = [
    (dht, name, seed)
    for dht in DHTS
    for name in promised_by(dht, hosts=True)
    if name != _LOSS
    for seed in range(2 if name in _TWO_SEEDS else _SEEDS)
]
_READS: Final = 0.95
"""The least share of the reads that the promise covers which return a value."""
_NO_FLOOR: Final = {"S9"}
"""Where forty of the links work one way only, which is for whole hosts not at all, and all others break again and again."""


@pytest.mark.parametrize(("dht", "name", "seed"), RUNS)
def test_whole_hosts_keep_every_promise(dht: str, name: str, seed: int) -> None:
    report = play(name, seed, HOSTS[name], hosts=True, dht=dht)
    assert report.ok, report.story()
    assert name in _NO_FLOOR or report.availability.shares["reads"] >= _READS, report.story()


@pytest.mark.parametrize("dht", DHTS)
def test_whole_hosts_lose_what_chance_says_when_more_crash_than_is_promised(dht: str) -> None:
    """Three runs have too few keys for a share that says something: that there is a loss, and not too much of it. `test_scenarios` has
    the share."""
    reports = [play(_LOSS, seed, HOSTS[_LOSS], hosts=True, dht=dht) for seed in range(_SEEDS)]
    for report in reports:
        assert report.ok, report.story()
    keys, lost = (round(sum(report.figures[name] for report in reports)) for name in ("keys", "lost"))
    _, most = interval(keys, reports[0].figures["chance"], 0.99)
    assert 0 < lost <= most, f"{lost} of {keys} keys were lost, at most {most} were to be expected"


async def _alone(options: NodeOptions, *, dht: str = "kad") -> HostNetwork:
    network = HostNetwork(0, parameters=SMALL, dht=dht)
    await network.add(options)
    return network


@pytest.mark.parametrize("dht", DHTS)
def test_a_host_has_what_its_options_say(dht: str) -> None:
    async def main() -> None:
        network = await _alone(NodeOptions(skew_s=300, namespaces=Namespaces([LatestVersion("news")])), dht=dht)
        await network.add()
        ahead, other = (network.nodes[number].node.engine for number in (0, 1))
        assert ahead.outside.wall_us() - other.outside.wall_us() == 300_000_000
        assert "news" in ahead.namespaces
        assert "news" not in other.namespaces
        await network.close()

    virtual_time.run(main())


def test_a_host_looks_up_with_as_many_requests_at_once_as_its_options_say() -> None:
    async def main() -> None:
        for parallelism in (2, 7):
            network = await _alone(NodeOptions(parallelism=parallelism))
            routing = network.nodes[0].node.engine.routing
            assert isinstance(routing, KademliaRouting)
            assert routing._parallelism == parallelism
            await network.close()

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("dht", "options"),
    [("kad", NodeOptions(state=NodeState())), ("chord", NodeOptions(disjoint_paths=2)), ("chord", NodeOptions(parallelism=3))],
)
def test_what_an_option_cannot_mean_on_a_host_is_refused(dht: str, options: NodeOptions) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="a host"):
            await _alone(options, dht=dht)

    virtual_time.run(main())
