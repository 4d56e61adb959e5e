"""Side by side on loopback: client and server in two processes, stacks interleaved, the median of several runs.

Each stack is measured against itself. In every run each stack gets a fresh server; each figure is a fresh client process, which tells the
seconds and the CPU of the measured part alone. The server's CPU is what the system counts for it meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from interop.build import NAMES, NotRun, build
from interop.harness import OURS, Listening, PeerFailed, Program, dialed, listening

__all__ = ["UVLOOP", "Figures", "Sample", "Samples", "built_programs", "report", "run"]

_TIMEOUT_S: Final = 180
_BULK: Final = 256 << 20
_IDLE: Final = 500
_IDLE_WINDOW_S: Final = 8.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

UVLOOP: Final = Program("uvloop", (*OURS.argv, "--loop", "uvloop"))
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One client run, and the figures it gives."""

    name: str
    arguments: tuple[str, ...]
    figures: Callable[[dict[str, Any], float], Figures]
    """From the client's result and the server's CPU seconds."""
    ours_only: bool = False
    server: tuple[str, ...] = ()
    """Options of a server of its own."""


@dataclass(slots=True)
class Sample:
    """All runs of one figure of one stack."""

    values: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


Samples = dict[str, dict[str, Sample]]
"""By figure, then by stack."""


def bulk(direction: str, streams: int) -> Metric:
    """``upload`` or ``download`` over one connection."""

    def figures(result: dict[str, Any], server_cpu: float) -> Figures:
        gib = result["bytes"] / (1 << 30)
        return {
            "MiB/s": result["bytes"] / (1 << 20) / result["seconds"],
            "client CPU s/GiB": result["cpu_seconds"] / gib,
            "server CPU s/GiB": server_cpu / gib,
        }

    name = f"{direction}, {streams} stream{'s' if streams > 1 else ''}"
    return Metric(name=name, arguments=(direction, "--bytes", str(_BULK), "--streams", str(streams)), figures=figures)


def rate(name: str, *arguments: str, ours_only: bool = False, server: tuple[str, ...] = ()) -> Metric:
    """Operations per second."""

    def figures(result: dict[str, Any], server_cpu: float) -> Figures:
        return {"/s": result["n"] / result["seconds"], "client CPU us": result["cpu_seconds"] / result["n"] * 1e6}

    return Metric(name=name, arguments=arguments, figures=figures, ours_only=ours_only, server=server)


def ping_figures(result: dict[str, Any], server_cpu: float) -> Figures:
    """Round-trip times."""
    return {"median us": result["median_us"], "p99 us": result["p99_us"]}


METRICS: Final = (
    bulk("upload", 1),
    bulk("download", 1),
    bulk("upload", 8),
    bulk("download", 8),
    Metric(name="ping", arguments=("ping", "--n", "2000"), figures=ping_figures),
    rate("streams, one at a time", "streams", "--n", "1000", "--concurrency", "1"),
    rate("streams, 64 at once", "streams", "--n", "4000", "--concurrency", "64"),
    rate("connections, one at a time", "connections", "--n", "200", "--concurrency", "1"),
    rate("connections, 16 at once", "connections", "--n", "400", "--concurrency", "16"),
    rate("streams, one at a time, classic", "streams", "--n", "1000", "--negotiation", "classic", ours_only=True),
    rate("streams, 64 at once, classic", "streams", "--n", "4000", "--concurrency", "64", "--negotiation", "classic", ours_only=True),
    rate("RPC, one stream, one at a time", "rpc", "--n", "2000", ours_only=True),
    rate("RPC, one stream, 64 in flight", "rpc", "--n", "10000", "--concurrency", "64", ours_only=True),
    rate("RPC, a stream each, 64 at once", "rpc-streams", "--n", "5000", "--concurrency", "64", ours_only=True),
    rate(
        "connections, one at a time, without identify",
        *("connections", "--n", "200", "--no-identify"),
        ours_only=True,
        server=("--no-identify",),
    ),
    rate(
        "connections, 16 at once, without identify",
        *("connections", "--n", "400", "--concurrency", "16", "--no-identify"),
        ours_only=True,
        server=("--no-identify",),
    ),
)
IDLE: Final = f"{_IDLE} idle connections"


def run(names: Sequence[str], runs: int, only: Sequence[str], output: Path | None) -> int:
    """Measure, print the table, write JSON."""
    stacks = [OURS, UVLOOP, *built_programs(names or NAMES)]
    metrics = [metric for metric in METRICS if not only or any(wanted in metric.name for wanted in only)]
    samples: Samples = {}
    begun = time.monotonic()
    for number in range(1, runs + 1):
        for stack in stacks:
            print(f"run {number} of {runs}: {stack.name} ({time.monotonic() - begun:.0f} s)", file=sys.stderr)
            asyncio.run(measure_stack(stack, metrics, samples, idle=not only or any("idle" in wanted for wanted in only)))
    return report(stacks, runs, samples, output)


def report(stacks: Sequence[Program], runs: int, samples: Samples, output: Path | None) -> int:
    """Print the table, write JSON; return the exit code: 1 if a figure failed in every run."""
    print_table(stacks, samples)
    if output is not None:
        document = {
            "machine": {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.platform()},
            "runs": runs,
            "stacks": {stack.name: stack.version for stack in stacks},
            "figures": {row: {name: sample.values for name, sample in columns.items()} for row, columns in samples.items()},
            "failures": {row: {name: s.failures for name, s in columns.items() if s.failures} for row, columns in samples.items()},
        }
        output.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(sample.values for columns in samples.values() for sample in columns.values()) else 1


def built_programs(names: Sequence[str]) -> list[Program]:
    """Those that this machine can build."""
    programs = []
    for name in names:
        built = build(name)
        if isinstance(built, NotRun):
            print(f"{name}: not run: {built.reason}", file=sys.stderr)
        else:
            programs.append(Program(name, tuple(built.argv), built.version))
    return programs


async def measure_stack(stack: Program, metrics: Sequence[Metric], samples: Samples, *, idle: bool) -> None:
    """One run of one stack."""
    ours = stack.argv[: len(OURS.argv)] == OURS.argv
    async with listening(stack) as server:
        for metric in metrics:
            if metric.ours_only and not ours:
                continue
            if metric.server:
                async with listening(stack, *metric.server) as other:
                    await measure(stack, other, metric, samples)
            else:
                await measure(stack, server, metric, samples)
    if idle and ours:
        await measure_idle(stack, samples)


async def measure(stack: Program, server: Listening, metric: Metric, samples: Samples) -> None:
    """One figure, or its failure."""
    before = cpu_seconds(server.pid)
    try:
        result = await dialed(stack, "bench", server.addr, *metric.arguments, timeout_s=_TIMEOUT_S)
    except PeerFailed as failure:
        samples.setdefault(metric.name, {}).setdefault(stack.name, Sample()).failures.append(str(failure))
        print(f"{stack.name}, {metric.name}: {failure}", file=sys.stderr)
        return
    for figure, value in metric.figures(result, cpu_seconds(server.pid) - before).items():
        samples.setdefault(f"{metric.name}: {figure}", {}).setdefault(stack.name, Sample()).values.append(value)


async def measure_idle(stack: Program, samples: Samples) -> None:
    """Memory per connection, and CPU, of a server that holds many idle ones."""
    async with listening(stack) as server:
        before = resident_bytes(server.pid)

        async def holding(_: dict[str, Any]) -> None:
            await asyncio.sleep(3)
            kib = (resident_bytes(server.pid) - before) / 1024 / _IDLE
            cpu = cpu_seconds(server.pid)
            await asyncio.sleep(_IDLE_WINDOW_S)
            percent = (cpu_seconds(server.pid) - cpu) / _IDLE_WINDOW_S * 100
            for figure, value in {"server KiB each": kib, "server CPU %": percent}.items():
                samples.setdefault(f"{IDLE}: {figure}", {}).setdefault(stack.name, Sample()).values.append(value)

        try:
            arguments = ("bench", server.addr, "idle", "--n", str(_IDLE), "--hold", str(_IDLE_WINDOW_S + 4))
            result = await dialed(stack, *arguments, timeout_s=_TIMEOUT_S, on_event=holding)
        except PeerFailed as failure:
            samples.setdefault(IDLE, {}).setdefault(stack.name, Sample()).failures.append(str(failure))
            print(f"{stack.name}, {IDLE}: {failure}", file=sys.stderr)
        else:
            alive = float(result["connected_at_end"])
            samples.setdefault(f"{IDLE}: alive at the end", {}).setdefault(stack.name, Sample()).values.append(alive)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def print_table(stacks: Sequence[Program], samples: Samples) -> None:
    """A row per figure, a column per stack: median (least-most)."""
    print(f"\n{'':<58}" + "".join(f"{stack.name:>24}" for stack in stacks))
    for row, columns in samples.items():
        cells = (text(columns.get(stack.name)) for stack in stacks)
        print(f"{row:<58}" + "".join(f"{cell:>24}" for cell in cells))


def text(sample: Sample | None) -> str:
    """Median and spread."""
    if sample is None:
        return "-"
    if not sample.values:
        return "FAILED"
    return f"{short(median(sample.values))} ({short(min(sample.values))}-{short(max(sample.values))})"


def short(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
