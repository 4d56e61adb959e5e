"""Kademlia and Chord side by side, drawn and in tables: for `figures` and the guide that quotes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.sim.presenting import Data, Figure, plot, table

__all__ = ["COMPARE_FIGURES", "COMPARE_TABLES", "GUIDE"]

GUIDE: Final = Path(__file__).parents[2] / "docs" / "guides" / "choosing-a-dht.md"

_NAMES: Final = {"kad": "Kademlia", "chord": "Chord"}
_KINDS: Final = {
    "Ping": "signs of life",
    "FindNode": "lookups of buckets and fingers",
    "GetState": "successor lists",
    "Offer": "comparing copies",
}
_REST: Final = "joining, handing over"


def _plot_upkeep(data: Data, path: Path) -> None:
    title = f"Upkeep, {data['plan']['parameters']['replicas']} replicas"
    columns = [
        (f"{_NAMES[row['dht']]}\n{row['servers']:,}", row["upkeep"]) for row in sorted(data["quiet"], key=lambda row: row["servers"])
    ]
    columns += [(f"{_NAMES[row['dht']]}\n{data['plan']['churn_servers']}, churn", row["upkeep"]) for row in data["churn"]]
    with plot(path, title=title, x="servers", y="kB per server and hour") as axes:
        places = range(len(columns))
        height = [0.0] * len(columns)
        for label, amount in [*((label, _of(kind)) for kind, label in _KINDS.items()), (_REST, _rest)]:
            parts = [amount(upkeep) / 1000 for _, upkeep in columns]
            axes.bar(places, parts, bottom=height, width=0.7, label=label)
            height = [below + part for below, part in zip(height, parts, strict=True)]
        for place, top in zip(places, height, strict=True):
            axes.annotate(f"{top:.0f}", (place, top), ha="center", va="bottom")
        axes.set_xticks(places, [label for label, _ in columns], fontsize=8)
        axes.set_ylim(0, 1.35 * max(height))
        axes.legend(loc="upper left", fontsize=8, ncols=2)


def _of(kind: str) -> Callable[[Data], float]:
    return lambda upkeep: float(upkeep["by_kind"].get(kind, {"bytes": 0.0})["bytes"])


def _rest(upkeep: Data) -> float:
    return float(sum(each["bytes"] for kind, each in upkeep["by_kind"].items() if kind not in _KINDS))


def _both(rows: Mapping[str, Data], cell: Callable[[Data], str]) -> str:
    return " / ".join(cell(rows[dht]) for dht in _NAMES)


def _operation(name: str) -> dict[str, Callable[[Data], str]]:
    return {
        f"{name}: messages": lambda row: f"{row[name]['messages']:.1f}",
        f"{name}: kB": lambda row: f"{row[name]['bytes'] / 1000:.1f}",
        f"{name}: virtual ms, mean": lambda row: f"{1000 * row[name]['virtual_s']['mean']:.0f}",
        f"{name}: virtual ms, 99th percentile": lambda row: f"{1000 * row[name]['virtual_s']['p99']:.0f}",
    }


def _quiet(data: Data) -> str:
    sizes = sorted({row["servers"] for row in data["quiet"]})
    by_size = [{row["dht"]: row for row in data["quiet"] if row["servers"] == size} for size in sizes]
    measures: dict[str, Callable[[Data], str]] = {"lookup: hops to the owner": lambda row: f"{row['lookup']['hops']['mean']:.1f}"}
    for name in ("lookup", "get", "put"):
        measures |= _operation(name)
    unsure = f"lookups not exact, gets and puts not sure, of {data['plan']['operations']} each"
    measures[unsure] = lambda row: f"{sum(row[name]['failed'] for name in ('lookup', 'get', 'put'))}"
    measures["records of the fullest server, in means"] = lambda row: f"{row['load']['max_to_mean']:.1f}"
    measures["records per server: deviation, in means"] = lambda row: f"{row['load']['variation']:.2f}"
    measures["upkeep: messages per server and hour"] = lambda row: f"{row['upkeep']['messages']:.0f}"
    measures["upkeep: kB per server and hour"] = lambda row: f"{row['upkeep']['bytes'] / 1000:.0f}"
    head = ["Kademlia / Chord", *(f"{size:,} servers" for size in sizes)]
    return table(head, *([name, *(_both(rows, cell) for rows in by_size)] for name, cell in measures.items()))


def _churn(data: Data) -> str:
    plan, rows = data["plan"], {row["dht"]: row for row in data["churn"]}
    measures: dict[str, Callable[[Data], str]] = {
        "servers that joined, crashed": lambda row: f"{row['joins']}, {row['crashes']}",
        "acknowledged values lost": lambda row: f"**{row['lost']}** of {row['values']}",
        "fewest copies of any value at the end": lambda row: f"{row['fewest_copies']}",
        "writes not acknowledged": lambda row: f"{row['not_acknowledged']} of {row['acknowledged'] + row['not_acknowledged']}",
        "reads that returned the value": lambda row: f"{row['found']:.2%}",
        "reads that were certain (availability)": lambda row: f"{row['confirmed']:.2%} of {row['reads']}",
        "broken promises that the oracle found": lambda row: f"{row['violations']}",
        "upkeep: messages per server and hour": lambda row: f"{row['upkeep']['messages']:.0f}",
        "upkeep: kB per server and hour": lambda row: f"{row['upkeep']['bytes'] / 1000:.0f}",
    }
    head = [f"{plan['churn_servers']} servers, {plan['churn_hours']:g} h of churn", *_NAMES.values()]
    return table(head, *([name, *(cell(rows[dht]) for dht in _NAMES)] for name, cell in measures.items()))


def _options(data: Data) -> str:
    plan: Mapping[str, Any] = data["plan"]
    sizes = " ".join(map(str, plan["sizes"]))
    return f" --sizes {sizes} --servers {plan['churn_servers']} --hours {plan['churn_hours']:g}"


COMPARE_FIGURES: Final[Mapping[str, Figure]] = {
    "compare": Figure(
        command="python -m tests.sim compare",
        shows="Kademlia and Chord side by side: what operations and upkeep cost, how evenly records lie, what churn does",
        keys=("plan.seed", "quiet", "churn", "round_trip_s", "cost.cpu_s"),
        plots={"compare": _plot_upkeep},
        options=_options,
    ),
}
COMPARE_TABLES: Final[Mapping[str, Callable[[Data], str]]] = {"compare": _quiet, "compare churn": _churn}
