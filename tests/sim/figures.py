"""``python -m tests.sim figures``: draw the plots in ``docs/figures`` from the JSON beside them; fill in the pages that quote it.

A figure is what one command measured (``<name>.json``) and what is drawn of it (``<name>.svg``, or several of them). Drawing the same data
twice gives the same bytes. A further figure is a function that draws, and an entry in `FIGURES`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.sim.chord_figures import CHORD_FIGURES
from tests.sim.compare_figures import COMPARE_FIGURES, COMPARE_TABLES, GUIDE
from tests.sim.presenting import Data, Figure, plot
from tests.sim.simulation_page import PAGE, filled

__all__ = ["FIGURES", "FOLDER", "Figure", "draw", "index", "main"]

FOLDER: Final = Path(__file__).parents[2] / "docs" / "figures"


def _disjoint(data: Data, path: Path) -> None:
    title = "Lookups that reach their goal among liars, 10,000 nodes, k = 16"
    with plot(path, title=title, x="share of nodes that lie", y="share of lookups that succeed") as axes:
        for number, paths in enumerate(sorted({row["paths"] for row in data["rows"]})):
            rows = [row for row in data["rows"] if row["paths"] == paths]
            shares = [row["adversaries"] for row in rows]
            low, high = ([abs(row["success"] - row[end]) for row in rows] for end in ("low", "high"))
            color = f"C{number}"
            axes.errorbar(
                shares, [row["success"] for row in rows], yerr=[low, high], color=color, marker="o", markersize=4, label=f"d = {paths:g}"
            )
            axes.plot(shares, [row["formula"] for row in rows], color=color, linestyle=":")
            printed = [row for row in rows if row["paper"] is not None]
            axes.plot([row["adversaries"] for row in printed], [row["paper"] for row in printed], color=color, marker="x", linestyle="")
        axes.plot([], [], color="gray", linestyle=":", label="the formula, for our path lengths")
        axes.plot([], [], color="gray", linestyle="", marker="x", label="S/Kademlia, Figure 4")
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower left")


def _churn_health(data: Data, path: Path) -> None:
    nodes, median = data["plan"]["nodes"], data["plan"]["median_session_s"] / 3600
    title = f"Servers that know their closest, {nodes} servers, sessions of {median:.3g} h (median)"
    with plot(path, title=title, x="hours", y="share of servers") as axes:
        hours = [look["hour"] for look in data["health"]]
        axes.plot(hours, [look["know_18"] for look in data["health"]], label="know 18 of the 20 closest, or more")
        axes.plot(hours, [look["know_20"] for look in data["health"]], label="know all 20")
        for value, known in ((0.9521, "18"), (0.6109, "all 20")):
            axes.axhline(value, color="gray", linestyle="--", linewidth=1)
            axes.annotate(f"IPFS, RFM 19: {known}", (hours[-1], value - 0.012), ha="right", va="top", color="gray")
        axes.set_ylim(0.5, 1.01)
        axes.legend(loc="lower left")


def _churn_messages(data: Data, path: Path) -> None:
    kinds = sorted(data["requests"].items(), key=lambda each: each[1])
    title = f"Requests per server and hour in churn ({data['messages']:.0f} messages, replies included)"
    with plot(path, title=title, x="requests per server and hour", y="") as axes:
        bars = axes.barh([kind for kind, _ in kinds], [count for _, count in kinds])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.margins(x=0.12)


def _scale(value: str, title: str, unit: str, published: Mapping[str, float]) -> Callable[[Data, Path], None]:
    """Draw mean, median and 99th percentile of one measure of the lookups, for each alpha, beside what others published."""

    def draw_it(data: Data, path: Path) -> None:
        with plot(path, title=f"{title}, {data['network']['nodes']} nodes", x="", y=unit) as axes:
            spreads = {alpha: lookups[value] for alpha, lookups in data["lookups"].items()}
            for number, (alpha, spread) in enumerate(spreads.items()):
                places = [place + (number - 0.5) * 0.36 for place in range(3)]
                bars = axes.bar(places, [spread[each] for each in ("mean", "p50", "p99")], width=0.34, label=alpha)
                axes.bar_label(bars, fmt="%.3g", padding=2)
            axes.set_xticks(range(3), ["mean", "median", "99th percentile"])
            for name, height in published.items():
                axes.axhline(height, color="gray", linestyle="--", linewidth=1)
                axes.annotate(name, (2.4, height), ha="right", va="bottom", color="gray")
            axes.margins(y=0.25)
            axes.legend(loc="upper left")

    return draw_it


_HOPS: Final = {"IPFS, RFM 17: 4 hops to the closest in 95 % of the walks": 4.0}

FIGURES: Final[Mapping[str, Figure]] = {
    "disjoint": Figure(
        command="python -m tests.sim disjoint",
        shows="lookups along 1, 2, 4 and 8 disjoint paths while up to half of the nodes lie",
        keys=("network.nodes", "network.lookups", "rows", "farthest_from_the_formula", "cost.cpu_s"),
        plots={"disjoint": _disjoint},
    ),
    "churn": Figure(
        command="python -m tests.sim churn",
        shows="a day of churn: what is lost, who knows whom, what it costs",
        keys=("plan.nodes", "plan.hours", "lost", "values", "healthy", "confirmed", "found", "messages", "requests", "health", "cpu_s"),
        plots={"churn-health": _churn_health, "churn-messages": _churn_messages},
        options=lambda data: f" --nodes {data['plan']['nodes']} --hours {data['plan']['hours']:g}",
    ),
    "scale": Figure(
        command="python -m tests.sim scale",
        shows="lookups in a network of ten thousand nodes, with 3 and with 10 requests at once",
        keys=("network.nodes", "traffic.messages", "lookups", "operations", "cost.peak_rss_mib", "cost.messages_per_cpu_s"),
        plots={
            "scale-hops": _scale("hops_to_the_closest", "Hops until the closest server answered", "requests in a row", _HOPS),
            "scale-messages": _scale("messages", "Messages of one lookup", "requests and replies", {}),
        },
    ),
    **CHORD_FIGURES,
    **COMPARE_FIGURES,
}
"""By name; in the order of the README."""


def index() -> str:
    """The README of the folder."""
    lines = [
        "# Figures",
        "",
        "Each plot is drawn from the JSON beside it by `python -m tests.sim figures` (`make sim` measures and draws all of them).",
        "[reference/simulation.md](../reference/simulation.md) says what was simulated.",
        "",
        "| plots | data | made by | shows |",
        "|---|---|---|---|",
    ]
    for name, figure in FIGURES.items():
        command = figure.command + figure.options(json.loads((FOLDER / f"{name}.json").read_text()))
        plots = ", ".join(f"[{each}.svg]({each}.svg)" for each in figure.plots) or "none"
        lines.append(f"| {plots} | [{name}.json]({name}.json) | `{command} > docs/figures/{name}.json` | {figure.shows} |")
    return "\n".join(lines) + "\n"


def draw(name: str, folder: Path) -> list[Path]:
    """Draw the plots of one figure from its JSON.

    Args:
        name: Of `FIGURES`.
        folder: Where its JSON is.
    """
    data = json.loads((folder / f"{name}.json").read_text())
    drawn = []
    for each, draw_it in FIGURES[name].plots.items():
        drawn.append(folder / f"{each}.svg")
        draw_it(data, drawn[-1])
    return drawn


def main(arguments: Sequence[str]) -> int:
    """``python -m tests.sim figures``."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim figures", description="Draw the plots of docs/figures from their data.")
    parser.add_argument("names", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; default all")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(FIGURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in given.names or FIGURES:
        for path in draw(name, given.folder):
            print(path)  # noqa: T201
    if given.folder == FOLDER:
        (FOLDER / "README.md").write_text(index())
        PAGE.write_text(filled(PAGE.read_text(), FOLDER))
        GUIDE.write_text(filled(GUIDE.read_text(), FOLDER, COMPARE_TABLES))
    return 0
