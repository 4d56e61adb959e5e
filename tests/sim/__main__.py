"""``python -m tests.sim COMMAND ...``: what the tests do, larger. Without a command: ``scenarios``.

* ``scenarios [SCENARIO ...] [--seed N | --seeds N] [--size N | --times N] [--hosts] [--dht DHT]``: play scenarios, and judge them;
* ``scale [--nodes N]``: what ten thousand nodes cost, and how their lookups do, as JSON;
* ``churn [--nodes N] [--hours N]``: a day of servers that come and crash, as JSON;
* ``disjoint [--nodes N]``: lookups along disjoint paths among liars, as JSON;
* ``chord-paths``, ``chord-failures``, ``chord-churn``, ``chord-values``, ``chord-load``: the experiments of the Chord paper, as JSON;
* ``compare [--sizes N ...] [--servers N] [--hours N]``: Kademlia and Chord side by side, as JSON;
* ``figures [FIGURE ...]``: plots of those.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.sim import chord_churn, chord_load, chord_static, chord_values, churn, compare, disjoint, figures, scale
from tests.sim.play import below_floor, play, together
from tests.sim.scenarios import HOSTS, SCENARIOS, promised_by
from tests.sim.world import DHTS

_HOSTS: Final = 16
"""With which a scenario is played on hosts that the tests do not play there."""


def play_scenarios(given: Sequence[str]) -> int:
    """Play and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim scenarios", description="Play scenarios in virtual time and judge them.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default all")
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--seeds", type=int, default=10, help="play so many seeds")
    parser.add_argument(
        "--size", type=int, help="servers; default is the scenario's own number (with --hosts: of `tests.sim.scenarios.HOSTS`)"
    )
    parser.add_argument("--times", type=int, default=1, help="so many times the scenario's own number of servers")
    parser.add_argument(
        "--hosts", action="store_true", help="on whole hosts, instead of above the RPC seam; by default those that the tests play there"
    )
    parser.add_argument("--dht", choices=DHTS, default="kad", help="of which DHT")
    arguments = parser.parse_args(given)
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    seeds = range(arguments.seeds) if arguments.seed is None else [arguments.seed]
    failed = 0
    print(f"{'scenario':9}{'failed':>8}{'reads':>9}{'sure':>9}{'puts':>9}{'misplaced':>11}{'messages':>10}{'seconds':>9}  figures")  # noqa: T201
    if arguments.hosts:
        logging.getLogger("peerstack").addHandler(logging.NullHandler())  # hosts warn of every fault that is played
    for name in arguments.scenarios or promised_by(arguments.dht, hosts=arguments.hosts):
        began = time.process_time()
        usual = HOSTS.get(name, _HOSTS) if arguments.hosts else SCENARIOS[name].size
        size = max(arguments.size or min(arguments.times * usual, SCENARIOS[name].most.get(arguments.dht, 1 << 20)), SCENARIOS[name].least)
        reports = [play(name, seed, size, hosts=arguments.hosts, dht=arguments.dht) for seed in seeds]
        bad = [report for report in reports if not report.ok]
        few = arguments.hosts or size < usual  # in fewer servers each fault is felt by a greater share
        low = [] if few else below_floor(reports)
        failed += len(bad) + bool(low)
        shares = together(reports).shares
        figures = {key: sum(report.figures.get(key, 0) for report in reports) / len(reports) for key in reports[0].figures}
        print(  # noqa: T201
            f"{name:9}{len(bad):>5}/{len(reports):<2}{''.join(f'{share:>9.2%}' for share in shares.values())}"
            f"{sum(report.misplaced for report in reports):>11}{sum(report.messages for report in reports):>10}"
            f"{time.process_time() - began:>9.1f}  {', '.join(f'{key} {value:.4g}' for key, value in figures.items())}",
            flush=True,
        )
        if why := SCENARIOS[name].no_floor:
            print(f"{'':9}   no floor: {why}", flush=True)  # noqa: T201
        for told in [*low, *(report.story() for report in bad)]:
            print(told, flush=True)  # noqa: T201
    return 1 if failed else 0


COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "scenarios": play_scenarios,
    "scale": scale.main,
    "churn": churn.main,
    "disjoint": disjoint.main,
    "chord-paths": chord_static.paths_main,
    "chord-failures": chord_static.failures_main,
    "chord-churn": chord_churn.main,
    "chord-values": chord_values.main,
    "chord-load": chord_load.main,
    "compare": compare.main,
    "figures": figures.main,
}


def main(arguments: Sequence[str]) -> int:
    """Run the command named first, or play scenarios."""
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    return play_scenarios(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
