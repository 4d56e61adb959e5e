"""Put and get side by side: twenty nodes of one stack in one process, values of 1 KiB on every node, the median of several runs.

One process is one core for all the nodes of a network, so that operations per second are what the whole network costs. Every run of every
stack is a fresh network, and warms up before it is measured; the stacks take turns.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from interop.bench import UVLOOP, Figures, Sample, Samples, built_programs, report
from interop.build import KADEMLIA
from interop.harness import OURS, PeerFailed, Program, dialed

__all__ = ["run"]

_OTHERS: Final = ("js", "py", KADEMLIA)
_NODES: Final = 20
_OPERATIONS: Final = {"js": 40, "py": 20}
"""Puts, and gets of each kind, per run of the slow stacks."""
_OPERATIONS_OTHERWISE: Final = 200
_TIMEOUT_S: Final = 300
_KINDS: Final = {"put": "put", "get": "get", "get_concurrent": "get, 8 at once"}


def run(names: Sequence[str], runs: int, output: Path | None) -> int:
    """Measure, print the table, write JSON."""
    if unknown := set(names) - set(_OTHERS):
        print(f"unknown: {' '.join(sorted(unknown))}; choose from {' '.join(_OTHERS)}", file=sys.stderr)
        return 2
    stacks = [OURS, UVLOOP, *built_programs(names or _OTHERS)]
    samples: Samples = {}
    begun = time.monotonic()
    for number in range(1, runs + 1):
        for stack in stacks:
            print(f"run {number} of {runs}: {stack.name} ({time.monotonic() - begun:.0f} s)", file=sys.stderr)
            asyncio.run(_measure(stack, samples))
    code = report(stacks, runs, samples, output)
    _print_ratios(stacks, samples)
    return code


async def _measure(stack: Program, samples: Samples) -> None:
    """One network."""
    operations = str(_OPERATIONS.get(stack.name, _OPERATIONS_OTHERWISE))
    try:
        arguments = ("--nodes", str(_NODES), "--puts", operations, "--gets", operations)
        result = await dialed(stack, "kadbench", *arguments, timeout_s=_TIMEOUT_S)
    except PeerFailed as failure:
        samples.setdefault("start: s", {}).setdefault(stack.name, Sample()).failures.append(str(failure))
        print(f"{stack.name}: {failure}", file=sys.stderr)
        return
    for figure, value in _figures(result).items():
        samples.setdefault(figure, {}).setdefault(stack.name, Sample()).values.append(value)


def _figures(result: dict[str, Any]) -> Figures:
    figures: Figures = {"start: s": result["ready_seconds"]}
    for kind, name in _KINDS.items():
        measured = result[kind]
        figures |= {
            f"{name}: /s": measured["n"] / measured["seconds"],
            f"{name}: median ms": measured["median_ms"],
            f"{name}: p99 ms": measured["p99_ms"],
            f"{name}: CPU ms of all nodes": measured["cpu_seconds"] / measured["n"] * 1000,
            f"{name}: operations": measured["n"],
            f"{name}: failed": measured["n"] - measured["ok"],
        }
    return figures | {"copies, least": result["copies"][0], "copies, most": result["copies"][1]}


def _print_ratios(stacks: Sequence[Program], samples: Samples) -> None:
    """How many times the others' rates ours are, and how many times our CPU theirs is: the latter hardly depends on what else runs."""
    print()
    for ours in (OURS, UVLOOP):
        for other in stacks[2:]:
            told = []
            for name in _KINDS.values():
                rate = _ratio(samples, f"{name}: /s", ours, other)
                cpu = _ratio(samples, f"{name}: CPU ms of all nodes", other, ours)
                told.append(f"{name} {rate:.1f} (CPU {cpu:.1f})")
            print(f"{ours.name} / {other.name}: {'; '.join(told)}")


def _ratio(samples: Samples, figure: str, over: Program, under: Program) -> float:
    columns = samples.get(figure, {})
    if not {over.name, under.name} <= columns.keys():
        return float("nan")
    return median(columns[over.name].values) / median(columns[under.name].values)
