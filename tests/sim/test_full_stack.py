"""The same scenarios on whole hosts: identify, Noise, yamux and the plugin over the memory network, in virtual time, judged alike.

What a floor of availability is asked of is the seam's tier, where there are enough servers for shares to say something; here every value
that the promise covers has to be read.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.sim.play import play

SIZES: Final = {"S1": 16, "S2": 12, "S4": 12, "S5": 1, "S6": 10, "S7p": 12, "S8m": 12, "S10": 12, "S13": 12}
"""Hosts at the start; a storm of joiners begins with one, and ends with ten."""
SEEDS: Final = 2


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", SIZES)
def test_whole_hosts_keep_every_promise(name: str, seed: int) -> None:
    report = play(name, seed, SIZES[name], hosts=True)
    assert report.ok, report.story()
    assert report.availability.shares["reads"] >= 0.99, report.story()
