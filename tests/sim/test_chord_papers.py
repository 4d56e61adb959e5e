"""The experiments of the Chord paper, in small."""

from __future__ import annotations

import random
from typing import Any

import pytest
from peerstack_chord.ring import between

from peerstack.dht.replica.contacts import KEY_BITS
from tests.sim import chord_churn, chord_load, chord_values
from tests.sim.chord_churn import TABLE_III, RingChurnPlan, poisson_limit
from tests.sim.chord_load import LoadPlan, keys_per_node
from tests.sim.chord_static import TABLE_II, FailurePlan, PathPlan, measure_failures, measure_paths, predicted
from tests.sim.chord_values import ValuePlan
from tests.sim.static_ring import StaticRing


def _same(report: dict[str, Any], again: dict[str, Any]) -> bool:
    return {**report, "cost": None} == {**again, "cost": None}


def test_a_static_ring_has_fingers_and_successors_as_brute_force_finds_them() -> None:
    ring = StaticRing(100, r=5, seed=1)
    for number, own in enumerate(ring.keys):
        way = ring._ways[own]
        after = [*ring.keys[number + 1 :], *ring.keys[:number]][:5]
        nearest_start = own + (1 << ((after[-1] - own) % (1 << KEY_BITS)).bit_length())
        starts = [own + (1 << bit) for bit in range(KEY_BITS) if own + (1 << bit) >= nearest_start]
        assert {contact.key for contact in way.fingers} == {ring.owner(start % (1 << KEY_BITS)) for start in starts}
        named = [contact.key for contact in way.closest(own - 1)]
        assert set(after) <= set(named)


def test_a_path_ends_at_the_predecessor_and_counts_no_one_who_is_dead() -> None:
    ring = StaticRing(64, r=4, seed=2)
    dice = random.Random("the dead")
    position = dice.getrandbits(KEY_BITS)
    own = ring.owner(position)
    before = ring.keys[ring.keys.index(own) - 1]
    alone = ring.look_up(before, position)
    assert (alone.length, alone.timeouts, alone.found) == (0, 0, True)  # it is the predecessor itself
    ring.kill([own])
    after = ring.look_up(before, position)
    assert (after.length, after.timeouts, after.owner_timeouts, after.found) == (0, 0, 1, True)
    assert between(before, position, ring.owner(position))


def test_paths_are_as_long_as_the_paper_predicts() -> None:
    plan = PathPlan(powers=(4, 7, 9), lists=(1, 8), lookups=400)
    report = measure_paths(plan)
    assert [(row["nodes"], row["r"]) for row in report["rows"]] == [(16, 1), (128, 1), (128, 8), (512, 1), (512, 8)]
    for row in report["rows"]:
        assert row["paper"]["failed"] == row["ours"]["failed"] == 0
        assert row["predicted"] == pytest.approx(predicted(row["nodes"], row["r"]), abs=1e-3)
        assert row["paper"]["mean"] == pytest.approx(row["predicted"], abs=0.45)
        assert row["ours"]["mean"] <= row["paper"]["mean"]
    assert _same(report, measure_paths(plan))


def test_half_of_the_members_dying_makes_no_lookup_fail() -> None:
    plan = FailurePlan(nodes=200, shares=(0.0, 0.5), rings=5, lookups=40)
    report = measure_failures(plan)
    nobody, half = report["rows"]
    assert nobody["published"] == {"path": 3.84, "timeouts": 0.0}
    for table in ("paper", "ours"):
        assert nobody[table]["timeouts"]["mean"] == nobody[table]["timeouts_to_find_the_owner"] == 0
        assert half[table]["timeouts"]["mean"] > 1
        assert half[table]["path"]["mean"] >= nobody[table]["path"]["mean"]
        assert nobody[table]["failed"] == half[table]["failed"] == 0
    assert _same(report, measure_failures(plan))


def test_the_plan_is_the_papers() -> None:
    plan = FailurePlan()
    assert (plan.nodes, plan.r, plan.rings * plan.lookups, plan.shares) == (1000, 20, 10_000, tuple(TABLE_II))
    churn = RingChurnPlan()
    assert (churn.nodes, churn.parameters.r, churn.parameters.stabilise_s, churn.seeds * churn.lookups) == (1000, 20, 30, 10_000)
    assert churn.rates == ValuePlan().rates == tuple(TABLE_III)


def test_lookups_find_the_owner_while_members_join_and_leave() -> None:
    plan = RingChurnPlan(nodes=60, rates=(0.2,), seeds=1, lookups=200, settle_s=60.0)
    report = chord_churn.measure(plan)
    (row,) = report["rows"]
    assert row["lookups"] >= 195  # all but those of members that left meanwhile
    assert row["failed"] <= 1
    assert 0 < row["path"]["mean"] < predicted(60, 20) + 1
    assert _same(report, chord_churn.measure(plan))


def test_values_are_right_while_members_join_and_leave() -> None:
    plan = ValuePlan(nodes=60, rates=(0.05,), seeds=1, reads=200, values=20, settle_s=20.0)
    report = chord_values.measure(plan)
    (row,) = report["rows"]
    assert row["reads"] >= 195
    assert row["failed"] == 0
    assert row["counts"]["right"] >= 190
    assert row["counts"]["joined"] > 0
    assert row["counts"]["written"] > 20
    assert _same(report, chord_values.measure(plan))


def test_every_key_falls_to_the_first_member_after_it_and_the_next_ones_hold_copies() -> None:
    keys = [random.Random(number).getrandbits(KEY_BITS) for number in range(500)]
    once, thrice = keys_per_node(keys, 20), keys_per_node(keys, 20, replicas=3)
    assert sum(once) == 500
    assert sum(thrice) == 1500
    assert all(copies >= own for own, copies in zip(once, thrice, strict=True))
    assert max(keys_per_node(keys, 20, positions=50)) < max(once)


def test_the_load_report_is_the_same_every_time() -> None:
    plan = LoadPlan(nodes=100, keys=5000, fewer_keys=2500)
    report = chord_load.measure(plan)
    assert [(row["keys"], row["positions"], row["replicas"]) for row in report["rows"]] == [
        (2500, 1, 1), (5000, 1, 1), (5000, 2, 1), (5000, 5, 1), (5000, 10, 1), (5000, 20, 1), (5000, 1, 4),
    ]  # fmt: skip
    spreads = [row["load"]["p99"] for row in report["rows"]]
    assert spreads[1] > spreads[3] > spreads[5] > 1
    assert _same(report, chord_load.measure(plan))


def test_the_limit_of_a_count_is_that_of_the_conditional_test() -> None:
    # Heads in n throws of a coin: P(5 of 5) = 1/32 < 0.05 < 1/16 = P(4 of 4); and so on.
    assert poisson_limit(0) == 4
    assert poisson_limit(2) == 8
    assert poisson_limit(15) == 26
