"""The tables of ``docs/reference/simulation.md``, filled in from the JSON in ``docs/figures``: the page quotes nothing by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.sim.chord_figures import CHORD_TABLES
from tests.sim.presenting import Data, table

__all__ = ["PAGE", "TABLES", "filled"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "simulation.md"


def filled(page: str, folder: Path, tables: Mapping[str, Callable[[Data], str]] | None = None) -> str:
    """A page, with every table as the data say: between ``<!-- NAME -->`` and ``<!-- end -->``.

    Args:
        page: Its text.
        folder: Where the data are.
        tables: By marker; those of `PAGE` if none are given.
    """
    fillers = TABLES if tables is None else tables

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        data = json.loads((folder / f"{name.split()[0]}.json").read_text())
        return f"<!-- {name} -->\n{fillers[name](data)}\n<!-- end -->"

    return re.sub(r"<!-- (?!end)([a-z -]+) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


def _disjoint(data: Data) -> str:
    paths = sorted({row["paths"] for row in data["rows"]})
    by_place = {(row["paths"], row["adversaries"]): row for row in data["rows"]}

    def cell(row: Data) -> str:
        half = max(row["high"] - row["success"], row["success"] - row["low"])
        paper = "" if row["paper"] is None else f" / {row['paper']:.2f}"
        return f"**{row['success']:.3f}** ±{half:.3f} / {row['formula']:.3f}{paper}"

    shares = sorted({row["adversaries"] for row in data["rows"]})
    rows = [[f"{share:.0%}", *(cell(by_place[count, share]) for count in paths)] for share in shares]
    return table(["liars", *(f"d = {count:g}" for count in paths)], *rows)


def _churn(data: Data) -> str:
    plan = data["plan"]
    looks = len(data["health"])
    return table(
        ["measured", "figure", "beside"],
        ["simulated", f"{plan['hours']:g} hours, {plan['nodes']} servers on average, {plan['parameters']['replicas']} replicas", ""],
        ["acknowledged values lost", f"**{data['lost']}** of {data['values']} ({data['acknowledged']} writes)", "0 promised"],
        ["fewest copies of any value at the end", f"{data['fewest_copies']}", f"{plan['parameters']['replicas']} wanted"],
        ["servers that know 18 of their 20 closest or more", f"**{data['healthy']:.2%}** in {looks} looks", "95.21 % (IPFS, RFM 19)"],
        ["writes not acknowledged", f"{data['not_acknowledged']} of {data['not_acknowledged'] + data['acknowledged']}", ""],
        ["reads that were certain", f"{data['confirmed']:.3%} of {data['reads']}", ""],
        ["reads that returned the value", f"{data['found']:.3%}", ""],
        ["servers that joined, crashed, left", f"{data['joins']}, {data['crashes']}, {data['leaves']}", ""],
        ["broken promises that the oracle found", f"{len(data['violations'])}", ""],
        ["messages per server and hour", f"{data['messages']:.0f}", ""],
        ["CPU time", f"{data['cpu_s']:.0f} s for {plan['hours']:g} h of {plan['nodes']} servers", ""],
    )


def _churn_requests(data: Data) -> str:
    kinds = sorted(data["requests"].items(), key=lambda each: -each[1])
    return table(["request", "per server and hour"], *([kind, f"{count:.1f}"] for kind, count in kinds))


def _scale(data: Data) -> str:
    rows = []
    for alpha, lookups in data["lookups"].items():
        hops, messages, seconds = (lookups[name] for name in ("hops_to_the_closest", "messages", "virtual_s"))
        rows.append(
            [
                alpha,
                f"{hops['mean']:g} / {hops['p50']:g} / {hops['p99']:g}",
                f"{messages['mean']:g} / {messages['p50']:g} / {messages['p99']:g}",
                f"{seconds['mean']:g} / {seconds['p50']:g} / {seconds['p99']:g}",
                f"{lookups['found_exactly_the_closest']:.1%}",
            ]
        )
    return table(["lookups", "hops to the closest: mean / median / p99", "messages", "virtual seconds", "found exactly the closest"], *rows)


def _scale_cost(data: Data) -> str:
    cost, operations = data["cost"], data["operations"]
    return table(
        ["measured", "figure"],
        ["servers", f"{data['network']['nodes']}"],
        ["messages", f"{data['traffic']['messages']} in {data['traffic']['virtual_s']:g} virtual seconds"],
        ["CPU time", f"{cost['assembly_cpu_s'] + cost['cpu_s']:.0f} s"],
        ["messages per second of CPU", f"{cost['messages_per_cpu_s']}"],
        ["memory at its peak", f"{cost['peak_rss_mib']:.0f} MiB"],
        ["puts promised, gets confirmed", f"{operations['puts_promised']}, {operations['gets_confirmed']}"],
        ["operations that failed", f"{sum(operations['failed'].values())}"],
    )


TABLES: Final[Mapping[str, Callable[[Data], str]]] = {
    "disjoint": _disjoint,
    "churn": _churn,
    "churn requests": _churn_requests,
    "scale": _scale,
    "scale cost": _scale_cost,
    **CHORD_TABLES,
}
"""By marker: the name of the data, and what of it."""
