"""Every scenario keeps every promise, with several seeds. ``python -m tests.sim`` plays more of them, and larger."""

from __future__ import annotations

from functools import cache
from typing import Final

import pytest

from tests.sim.chance import interval
from tests.sim.play import REGRESSIONS, Regression, Report, below_floor, play
from tests.sim.scenarios import SCENARIOS, promised_by
from tests.sim.world import DHTS

_ONCE: Final = {"S2r", "S7p", "S7w", "S8", "S8m", "S9", "S10", "S10a", "S10e", "S12", "S16"}
_HALF: Final = {"S2r", "S8", "S8m", "S12"}
"""On a ring, whose upkeep costs more messages, with one seed, and with half of the servers; ``make sim`` plays more."""


def seeds_of(dht: str, name: str) -> range:
    """With which seeds a scenario is played."""
    return range(SCENARIOS[name].seeds if dht == "kad" else min(SCENARIOS[name].seeds, 1 if name in _ONCE else 2))


NAMES = [(dht, name) for dht in DHTS for name in promised_by(dht) if seeds_of(dht, name)]
RUNS = [(dht, name, seed) for dht, name in NAMES for seed in seeds_of(dht, name)]


@cache
def played(name: str, seed: int, dht: str = "kad") -> Report:
    """Each run once, however many tests look at it."""
    return play(name, seed, SCENARIOS[name].size // 2 if dht == "chord" and name in _HALF else None, dht=dht)


@pytest.mark.parametrize(("dht", "name", "seed"), RUNS)
def test_every_promise_is_kept(dht: str, name: str, seed: int) -> None:
    report = played(name, seed, dht)
    assert report.ok, report.story()


@pytest.mark.parametrize(("dht", "name"), [(dht, name) for dht, name in NAMES if not SCENARIOS[name].no_floor])
def test_what_the_promise_covers_succeeds_in_time(dht: str, name: str) -> None:
    reports = [played(name, seed, dht) for seed in seeds_of(dht, name)]
    assert not below_floor(reports), "\n".join([*below_floor(reports), *(report.story() for report in reports)])


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda each: f"{each.dht}-{each.name}-{each.seed}")
def test_what_once_failed_does_not_fail_again(regression: Regression) -> None:
    report = play(regression.name, regression.seed, regression.size, dht=regression.dht)
    assert report.ok, report.story()


@pytest.mark.parametrize("dht", DHTS)
def test_the_same_seed_gives_the_same_run(dht: str) -> None:
    first, second = (play("S9", 5, 30, dht=dht) for _ in range(2))
    assert first.trace == second.trace
    assert first.trace != play("S9", 6, 30, dht=dht).trace


def test_a_loss_beyond_the_promise_is_seen_and_is_what_chance_says() -> None:
    """The keys of a run share no server, so that their losses are as good as independent: what they hinder each other makes them less
    scattered than a binomial. Their number has to lie within the 99 % interval of the binomial around C(N-r, f-r) / C(N, f)."""
    reports = [played("S3", seed) for seed in range(SCENARIOS["S3"].seeds)]
    keys, lost = (round(sum(report.figures[name] for report in reports)) for name in ("keys", "lost"))
    least, most = interval(keys, reports[0].figures["chance"], 0.99)
    assert least > 0, "too few runs to see a loss for sure"
    assert least <= lost <= most, f"{lost} of {keys} keys were lost, {least} to {most} were to be expected"


def test_disjoint_paths_pass_by_liars_at_least_as_often_as_a_clean_path_is_to_be_expected() -> None:
    for name in ("S14", "S14d2", "S14d4", "S14d8"):
        reports = [played(name, seed) for seed in range(SCENARIOS[name].seeds)]
        read = sum(report.figures["read"] for report in reports) / len(reports)
        clean = sum(report.figures["a clean path"] for report in reports) / len(reports)
        least, _ = interval(60 * len(reports), clean, 0.99)
        assert read >= least / (60 * len(reports)), f"{name}: {read:.1%} were read, {clean:.1%} are to be expected"
