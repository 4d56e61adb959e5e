"""The promises that known defects would break, each at its one step. See `schedules`."""

from __future__ import annotations

import pytest

from tests.sim.schedule import perform
from tests.sim.schedules import ON_A_RING, SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_promise_is_kept_that(name: str) -> None:
    assert perform(SCHEDULES[name]) == []


def test_schedules_are_played_on_rings_too() -> None:
    assert {f"{name} on a ring" for name in ON_A_RING} < set(SCHEDULES)
