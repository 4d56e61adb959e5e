"""Every figure that the documents name is there, holds what they quote, and is drawn of the data beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sim.figures import FIGURES, FOLDER, draw, index
from tests.sim.simulation_page import PAGE, TABLES, filled

_MAX_PLOT_BYTES = 100 << 10


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        data = data[name]
    return data


@pytest.mark.parametrize("name", FIGURES)
def test_a_figures_data_have_what_plots_and_pages_quote(name: str) -> None:
    data = json.loads((FOLDER / f"{name}.json").read_text())
    for path in FIGURES[name].keys:
        assert _at(data, path) is not None


@pytest.mark.parametrize("plot", [plot for figure in FIGURES.values() for plot in figure.plots])
def test_a_plot_is_small_and_its_text_is_text(plot: str) -> None:
    drawn = (FOLDER / f"{plot}.svg").read_text()
    assert len(drawn) < _MAX_PLOT_BYTES
    assert "<text" in drawn
    assert "dc:date" not in drawn


def test_the_readme_names_every_figure_and_nothing_lies_about() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert readme == index()
    assert {path.name for path in FOLDER.iterdir()} == set(re.findall(r"\]\((\w[\w-]*\.(?:json|svg))\)", readme)) | {"README.md"}


def test_the_page_quotes_what_the_data_say() -> None:
    page = PAGE.read_text()
    assert set(re.findall(r"<!-- (?!end)([a-z -]+) -->", page)) == set(TABLES)
    assert filled(page, FOLDER) == page
    for plot in re.findall(r"\(\.\./figures/([\w-]+\.svg)\)", page):
        assert (FOLDER / plot).exists()


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_data_give_the_same_plot(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="installed by `make sim`, not for the tests")
    (tmp_path / f"{name}.json").write_bytes((FOLDER / f"{name}.json").read_bytes())
    first = [path.read_bytes() for path in draw(name, tmp_path)]
    assert [path.read_bytes() for path in draw(name, tmp_path)] == first
    assert len(first) == len(FIGURES[name].plots)
