"""``python -m tests.sim disjoint``, in small."""

from __future__ import annotations

import pytest

from tests.sim.disjoint import PAPER, DisjointPlan, interval, measure


def test_more_paths_reach_the_goal_more_often_and_as_often_as_the_formula_says() -> None:
    plan = DisjointPlan(nodes=1000, paths=(1, 4), adversaries=(0.2, 0.5), lookups=300)
    report = measure(plan)
    rows = {(row["paths"], row["adversaries"]): row for row in report["rows"]}
    assert set(rows) == {(paths, share) for paths in (1, 4) for share in (0.0, 0.2, 0.5)}
    assert rows[4, 0.5]["success"] > rows[1, 0.5]["success"]
    assert rows[1, 0.0]["success"] == 1.0
    for row in rows.values():
        assert row["low"] <= row["success"] <= row["high"]
        assert row["success"] == pytest.approx(row["formula"], abs=0.09)  # three deviations of 300 lookups
        assert row["paper"] == PAPER.get((row["paths"], row["adversaries"]))
    again = measure(plan)
    assert {**again, "cost": None} == {**report, "cost": None}


def test_the_confidence_interval_is_wilsons() -> None:
    # Newcombe (1998), Table I: 81 of 263, and 0 of 20.
    assert interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_plan_is_precise_enough() -> None:
    low, high = interval(0.5, DisjointPlan().lookups)
    assert high - low < 2 * 0.02
