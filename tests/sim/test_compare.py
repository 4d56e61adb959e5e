"""``python -m tests.sim compare``, in small: it repeats itself, and what it says of both DHTs is true."""

from __future__ import annotations

import re
from typing import Any

import pytest

from peerstack.dht.parameters import NetworkParameters
from tests.sim.compare import ComparePlan, compare
from tests.sim.compare_figures import COMPARE_FIGURES, COMPARE_TABLES, GUIDE
from tests.sim.figures import FOLDER
from tests.sim.simulation_page import filled

_SERVERS = 24
_PLAN = ComparePlan(
    sizes=(_SERVERS,),
    server_hours=2.0,
    operations=12,
    churn_servers=16,
    churn_hours=0.3,
    parameters=NetworkParameters(k=4, replicas=3, r=3),
)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return compare(_PLAN)


def test_the_same_plan_gives_the_same_figures(report: dict[str, Any]) -> None:
    assert {**compare(_PLAN), "cost": None} == {**report, "cost": None}


@pytest.mark.parametrize("number", [0, 1])
def test_every_operation_ends_well_where_nobody_fails(report: dict[str, Any], number: int) -> None:
    row = report["quiet"][number]
    assert row["dht"] == ("kad", "chord")[number]
    assert [row[name]["failed"] for name in ("lookup", "put", "get")] == [0, 0, 0]
    assert row["put"]["messages"] > row["get"]["messages"] >= 2
    assert row["lookup"]["hops"]["mean"] < 4


@pytest.mark.parametrize("number", [0, 1])
def test_upkeep_is_what_no_operation_set_off_and_all_of_it(report: dict[str, Any], number: int) -> None:
    upkeep = report["quiet"][number]["upkeep"]
    assert not {"GetValue", "PutValue"} & set(upkeep["by_kind"])
    assert upkeep["messages"] == pytest.approx(sum(kind["messages"] for kind in upkeep["by_kind"].values()))
    assert upkeep["bytes"] == pytest.approx(sum(kind["bytes"] for kind in upkeep["by_kind"].values()), rel=1e-4)
    assert upkeep["bytes"] > 2 * upkeep["messages"]
    assert not {"GetValue", "PutValue"} & set(report["churn"][number]["upkeep"]["by_kind"])


def test_a_ring_asks_its_successor_every_fifteen_seconds_or_so(report: dict[str, Any]) -> None:
    states = report["quiet"][1]["upkeep"]["by_kind"]["GetState"]
    assert states["messages"] == pytest.approx(2 * 3600 / 15, rel=0.1)  # a request and an answer each
    assert "GetState" not in report["quiet"][0]["upkeep"]["by_kind"]


@pytest.mark.parametrize("number", [0, 1])
def test_every_copy_lies_somewhere(report: dict[str, Any], number: int) -> None:
    load = report["quiet"][number]["load"]
    assert load["mean"] == pytest.approx(3 * load["keys"] / _SERVERS)
    assert load["max_to_mean"] > 1
    assert load["variation"] > 0


@pytest.mark.parametrize("number", [0, 1])
def test_churn_loses_nothing_acknowledged(report: dict[str, Any], number: int) -> None:
    row = report["churn"][number]
    assert row["values"] > 10
    assert (row["lost"], row["violations"]) == (0, 0)


def test_the_tables_can_be_filled_in(report: dict[str, Any]) -> None:
    for fill in COMPARE_TABLES.values():
        assert "| upkeep: kB per server and hour |" in fill(report)
    assert set(COMPARE_FIGURES["compare"].keys) <= {"plan.seed", "quiet", "churn", "round_trip_s", "cost.cpu_s"}


def test_the_guide_quotes_what_the_data_say() -> None:
    guide = GUIDE.read_text()
    assert set(re.findall(r"<!-- (?!end)([a-z -]+) -->", guide)) == set(COMPARE_TABLES)
    assert filled(guide, FOLDER, COMPARE_TABLES) == guide
