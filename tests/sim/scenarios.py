"""What befalls a network in each scenario. The oracle judges afterwards; a scenario only asserts what is its own point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tests.sim import scenarios_of_records, scenarios_of_servers
from tests.sim.scenario import FLOORS, REGISTERED, Scenario

__all__ = ["FLOORS", "HOSTS", "SCENARIOS", "Scenario", "promised_by", "scenarios_of_records", "scenarios_of_servers"]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    name: REGISTERED[name] for name in sorted(REGISTERED, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
}
"""All of them, by name, in order."""

HOSTS: Final[Mapping[str, int]] = {
    "S1": 16, "S2": 12, "S2m": 10, "S2r": 10, "S3": 15, "S4": 12, "S4o": 12, "S5": 1, "S6": 10, "S7p": 12, "S7w": 10, "S8": 10, "S8h": 10,
    "S8m": 12, "S9": 12, "S10": 12, "S10a": 10, "S10e": 10, "S11": 10, "S12": 10, "S13": 12, "S14": 16, "S14d8": 16, "S15": 10, "S16": 16,
    "S17": 10, "S18": 12, "S19": 10, "S20": 10, "S21": 2,
}  # fmt: skip
"""How many whole hosts those begin with that are played on them: a storm of joiners begins with one, and ends with ten."""


def promised_by(dht: str, *, hosts: bool = False) -> list[str]:
    """The names of those that try what a DHT promises, in order; of those that are played on whole hosts, if so asked."""
    return [name for name, scenario in SCENARIOS.items() if scenario.only in ("", dht) and (name in HOSTS or not hosts)]
