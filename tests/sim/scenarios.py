"""What befalls a network in each scenario. The oracle judges afterwards; a scenario only asserts what is its own point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tests.sim import scenarios_of_records, scenarios_of_servers
from tests.sim.scenario import FLOORS, REGISTERED, Scenario

__all__ = ["FLOORS", "SCENARIOS", "Scenario", "promised_by", "scenarios_of_records", "scenarios_of_servers"]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    name: REGISTERED[name] for name in sorted(REGISTERED, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
}
"""All of them, by name, in order."""


def promised_by(dht: str) -> list[str]:
    """The names of those that try what a DHT promises, in order."""
    return [name for name, scenario in SCENARIOS.items() if scenario.only in ("", dht)]
