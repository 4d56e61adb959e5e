"""What figures and pages are made of: a plot saved as SVG, a table in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Data", "Figure", "plot", "table"]

_STYLE: Final = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "peerstack",  # the same names for the same things
}

Data = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measurement and its plots."""

    command: str
    """What writes the JSON."""
    shows: str
    keys: tuple[str, ...]
    """What plots and pages need of the JSON, as paths with dots."""
    plots: Mapping[str, Callable[[Data, Path], None]]
    """Draws each, by the plot's name."""
    options: Callable[[Data], str] = lambda _data: ""
    """What the command was told besides, by what it measured."""


@contextmanager
def plot(path: Path, *, title: str, x: str, y: str) -> Iterator[Any]:
    """One pair of axes, saved as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(7, 4.2))
        axes.set(title=title, xlabel=x, ylabel=y)
        yield axes
        figure.tight_layout()
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def table(*rows: Sequence[str]) -> str:
    """A table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])
