"""``python -m tests.sim churn``, in small: nothing acknowledged is lost, and who stays knows who is there."""

from __future__ import annotations

import math
import random

import pytest

from tests.sim.churn import ChurnPlan, Sessions, run_churn


@pytest.mark.parametrize("graceful", [0.0, 0.5])
def test_two_hours_of_churn_lose_nothing_acknowledged(graceful: float) -> None:
    report = run_churn(ChurnPlan(nodes=50, hours=2, seed=3, graceful=graceful))
    assert report.joins
    assert report.crashes
    assert bool(report.leaves) is bool(graceful)
    assert report.values > 100
    assert report.lost == 0
    assert report.violations == []
    assert report.fewest_copies >= 4
    assert report.confirmed > 0.98
    assert report.healthy >= 0.9521
    assert report.requests["Ping"]
    assert report.messages > sum(report.requests.values())


def test_what_a_run_reports_is_plain_data() -> None:
    report = run_churn(ChurnPlan(nodes=10, hours=0.2, seed=1, median_session_s=600)).as_json()
    assert report["plan"]["nodes"] == 10
    assert report["plan"]["parameters"]["replicas"] == 8
    assert [look["hour"] for look in report["health"]] == [0.2]


def test_sessions_have_the_median_asked_for_and_those_met_under_way_are_the_long_ones() -> None:
    sessions, dice = Sessions(0.4, 7200.0), random.Random(1)
    whole = [sessions.whole(dice) for _ in range(20_000)]
    assert sum(length < 7200 for length in whole) / len(whole) == pytest.approx(0.5, abs=0.02)
    assert sessions.mean_s == pytest.approx(5 * 3600 * math.gamma(3.5), rel=0.01)
    rest = [sessions.rest(dice) for _ in range(20_000)]
    # In equilibrium the rest is over before t with a probability of the integral of survival up to t over its mean.
    for hours in (1, 10, 50):
        step = 3.6 * hours
        survival = sum(math.exp(-(((index + 0.5) * step / sessions.scale_s) ** 0.4)) * step for index in range(1000))
        assert sum(length < hours * 3600 for length in rest) / len(rest) == pytest.approx(survival / sessions.mean_s, abs=0.02)
