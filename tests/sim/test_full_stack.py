"""The same scenarios on whole hosts: identify, Noise, yamux and the plugin over the memory network, in virtual time, judged alike.

The floor of availability is asked of the tier above the seam, where there are enough servers and operations for shares to say something.
Here a run has some fifty reads, and right after a partition hosts wait a moment before they dial again whom they could not reach.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.sim.play import play
from tests.sim.world import DHTS

SIZES: Final = {
    "S1": 16, "S2": 12, "S2m": 10, "S2r": 10, "S4": 12, "S5": 1, "S6": 10, "S7p": 12, "S7w": 10, "S8": 10, "S8m": 12, "S10": 12, "S12": 10,
    "S13": 12, "S19": 10, "S20": 10,
}  # fmt: skip
"""Hosts at the start; a storm of joiners begins with one, and ends with ten."""
SEEDS: Final = 3
_READS: Final = 0.95
"""The least share of the reads that the promise covers which return a value."""


@pytest.mark.parametrize(("dht", "seed"), [(dht, seed) for dht in DHTS for seed in range(SEEDS)])
@pytest.mark.parametrize("name", SIZES)
def test_whole_hosts_keep_every_promise(dht: str, name: str, seed: int) -> None:
    report = play(name, seed, SIZES[name], hosts=True, dht=dht)
    assert report.ok, report.story()
    assert report.availability.shares["reads"] >= _READS, report.story()
