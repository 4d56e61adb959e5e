"""The promises that known defects would break, each at its one step. See `schedules`."""

from __future__ import annotations

import pytest

from tests.sim.schedules import SCHEDULES, perform


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_promise_is_kept_that(name: str) -> None:
    assert perform(name) == []
