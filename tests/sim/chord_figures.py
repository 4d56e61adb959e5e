"""The plots and tables of the experiments on Chord: for `figures` and `simulation_page`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.sim.presenting import Data, Figure, plot, table

__all__ = ["CHORD_FIGURES", "CHORD_TABLES"]

_TABLES: Final = {"paper": "the paper's finger table", "ours": "ours, full"}


def _plot_paths(data: Data, path: Path) -> None:
    with plot(path, title="Path length of Chord lookups, all members alive", x="members", y="members asked up to the predecessor") as axes:
        for number, r in enumerate(sorted({row["r"] for row in data["rows"]})):
            rows = [row for row in data["rows"] if row["r"] == r]
            nodes, color = [row["nodes"] for row in rows], f"C{number}"
            means = {name: [row[name]["mean"] for row in rows] for name in _TABLES}
            axes.plot(nodes, means["paper"], color=color, marker="o", markersize=4, label=f"r = {r}, {_TABLES['paper']}")
            axes.plot(nodes, means["ours"], color=color, marker="s", markersize=3, alpha=0.5, label=f"r = {r}, {_TABLES['ours']}")
            axes.plot(nodes, [row["predicted"] for row in rows], color=color, linestyle=":", label=f"r = {r}, predicted")
        axes.set_xscale("log", base=2)
        axes.legend(loc="upper left", fontsize=8)


def _plot_failures(data: Data, path: Path) -> None:
    nodes, r = data["network"]["nodes"], data["network"]["r"]
    with plot(path, title=f"Many members dead at once, {nodes} members, r = {r}", x="share of members dead", y="per lookup") as axes:
        dead = [row["dead"] for row in data["rows"]]
        for number, (what, label) in enumerate({"path": "path length", "timeouts": "timeouts"}.items()):
            color = f"C{number}"
            for name, style in {"paper": "-", "ours": "--"}.items():
                means = [row[name][what]["mean"] for row in data["rows"]]
                axes.plot(dead, means, color=color, linestyle=style, marker="o", markersize=4, label=f"{label}, {_TABLES[name]}")
            published = [row["published"][what] for row in data["rows"]]
            axes.plot(dead, published, color=color, marker="x", linestyle="", label=f"{label}, Table II")
        axes.set_ylim(0, 8)
        axes.legend(loc="upper left", fontsize=8)


def _plot_churn(data: Data, path: Path) -> None:
    title = f"Lookups while members join and leave, {data['plan']['nodes']} members, r = {data['plan']['r']}"
    with plot(path, title=title, x="joins per second, and as many leaves", y="per lookup") as axes:
        rates = [row["rate"] for row in data["rows"]]
        for number, (what, label) in enumerate({"path": "path length", "timeouts": "timeouts"}.items()):
            color = f"C{number}"
            axes.plot(rates, [row[what]["mean"] for row in data["rows"]], color=color, marker="o", markersize=4, label=label)
            axes.plot(
                rates, [row["published"][what] for row in data["rows"]], color=color, marker="x", linestyle="", label=f"{label}, Table III"
            )
        axes.set_ylim(0)
        axes.legend(loc="center right")


def _plot_load(data: Data, path: Path) -> None:
    rows = [row for row in data["rows"][1:] if row["replicas"] == 1]
    title = f"Keys per node, {data['nodes']} nodes, {rows[0]['keys']:,} keys"
    with plot(path, title=title, x="virtual nodes per node", y="load, in means") as axes:
        positions = [row["positions"] for row in rows]
        middle = [row["load"]["p50"] for row in rows]
        ends = [[abs(row["load"][end] - row["load"]["p50"]) for row in rows] for end in ("p1", "p99")]
        axes.errorbar(positions, middle, yerr=ends, marker="o", capsize=4, label="median, 1st and 99th percentile")
        printed = [(row["positions"], row["published"][end]) for row in rows for end in ("p1", "p99") if end in row["published"]]
        axes.plot(*zip(*printed, strict=True), color="C1", marker="x", linestyle="", label="Figure 9: 1st and 99th percentile")
        axes.set_xticks(positions)
        axes.set_ylim(0)
        axes.legend(loc="upper right")


def _paths(data: Data) -> str:
    rows = [
        [
            f"{row['nodes']}",
            f"{row['r']}",
            f"{row['predicted']:.2f}",
            *(f"**{row[name]['mean']:.2f}** ({row[name]['p1']}, {row[name]['p99']})" for name in _TABLES),
        ]
        for row in data["rows"]
    ]
    return table(["members", "r", "predicted", *_TABLES.values()], *rows)


def _failures(data: Data) -> str:
    rows = []
    for row in data["rows"]:
        cells = [f"{row['dead']:.0%}", f"{row['published']['path']:.2f}", f"{row['published']['timeouts']:.2f}"]
        for name in _TABLES:
            measured = row[name]
            low, high = measured["timeouts_of_one_ring"]
            timeouts = f"**{measured['timeouts']['mean']:.2f}** ({low:g} to {high:g}) + {measured['timeouts_to_find_the_owner']:.2f}"
            cells += [f"**{measured['path']['mean']:.2f}**", timeouts, f"{measured['failed']}"]
        rows.append(cells)
    ours = (f"{what}, {name}" for name in ("paper's fingers", "our fingers") for what in ("path", "timeouts", "failed"))
    return table(["dead", "path in Table II", "timeouts", *ours], *rows)


def _churn(data: Data) -> str:
    rows = []
    for row in data["rows"]:
        published = row["published"]
        rows.append(
            [
                f"{row['rate']:.2f}",
                f"**{row['path']['mean']:.2f}** / {published['path']:.2f}",
                f"**{row['timeouts']['mean']:.3f}** + {row['timeouts_to_find_the_owner']:.3f} / {published['timeouts']:.2f}",
                f"**{row['failed']}** of {row['lookups']} (at most {row['failed_limit']}) / {published['failed']} of 10000",
            ]
        )
    return table(["joins and leaves per second", "path / Table III", "timeouts / Table III", "failed / Table III"], *rows)


def _values(data: Data) -> str:
    rows = [
        [
            f"{row['rate']:.2f}",
            f"**{row['failed']}** of {row['reads']} (at most {row['failed_limit']})",
            f"{row['unavailable'] / row['reads']:.2%}",
            f"{row['confirmed']:.2%}",
            f"{row['published']} of 10000 lookups",
        ]
        for row in data["rows"]
    ]
    return table(["joins and leaves per second", "reads wrong or missing", "`Unavailable`", "certain", "failed in Table III"], *rows)


def _load(data: Data) -> str:
    rows = []
    for row in data["rows"]:
        load, published = row["load"], row["published"]
        cells = [
            f"**{load[name]:.2f}**" + (f" / {published[name]:.1f}" if name in published else "") for name in ("min", "p1", "p99", "max")
        ]
        rows.append([f"{row['keys']}", f"{row['positions']}", f"{row['replicas']}", *cells])
    return table(["keys", "virtual nodes", "copies", "least", "1st percentile", "99th percentile", "most"], *rows)


CHORD_FIGURES: Final[Mapping[str, Figure]] = {
    "chord-paths": Figure(
        command="python -m tests.sim chord-paths",
        shows="path lengths of Chord lookups in rings of 8 to 16,384 members",
        keys=("lookups", "rows", "cost.cpu_s"),
        plots={"chord-paths": _plot_paths},
    ),
    "chord-failures": Figure(
        command="python -m tests.sim chord-failures",
        shows="Chord lookups after up to half of the members died at once",
        keys=("network.nodes", "network.r", "network.rings", "network.lookups", "rows", "cost.cpu_s"),
        plots={"chord-failures": _plot_failures},
    ),
    "chord-churn": Figure(
        command="python -m tests.sim chord-churn",
        shows="Chord lookups while members join and leave",
        keys=("plan.nodes", "plan.r", "plan.lookups", "rows", "cost.cpu_s"),
        plots={"chord-churn": _plot_churn},
    ),
    "chord-load": Figure(
        command="python -m tests.sim chord-load",
        shows="keys per node, with 1 to 20 virtual nodes",
        keys=("nodes", "rows", "cost.cpu_s"),
        plots={"chord-load": _plot_load},
    ),
    "chord-values": Figure(
        command="python -m tests.sim chord-values",
        shows="values read from a Chord ring while members join and leave",
        keys=("plan.nodes", "plan.replicas", "plan.values", "rows", "cost.cpu_s"),
        plots={},
    ),
}
"""By name; in the order of the README."""

CHORD_TABLES: Final[Mapping[str, Callable[[Data], str]]] = {
    "chord-paths": _paths,
    "chord-failures": _failures,
    "chord-churn": _churn,
    "chord-values": _values,
    "chord-load": _load,
}
"""By marker: the name of the data."""
