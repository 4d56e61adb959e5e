"""The defects that ``make mutations`` puts back still find what they replace, and the page about them says what is tried."""

from __future__ import annotations

import pytest

from tests.sim.defect import PLACES, Outdated, Patch
from tests.sim.mutations import MUTATIONS, PAGE, page
from tests.sim.schedules import SCHEDULES


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_defect_replaces_something_and_can_be_undone(name: str) -> None:
    patch = Patch()
    mutation = MUTATIONS[name]
    assert set(mutation.shows) <= set(SCHEDULES)
    before = {place: patch.real(place) for place in PLACES}
    try:
        mutation.defect(patch)
        changed = [place for place in PLACES if patch.real(place) is not before[place]]
        assert changed
    finally:
        patch.undo()
    assert all(patch.real(place) is real for place, real in before.items())


def test_a_defect_whose_place_is_gone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for gone in ("peerstack_kad.nowhere:thing", "peerstack_kad.node:KademliaNode.nothing"):
        monkeypatch.setitem(PLACES, "serve", gone)
        with pytest.raises(Outdated, match=gone):
            Patch().real("serve")


def test_every_place_is_replaced_by_some_defect() -> None:
    used: set[str] = set()

    class Noting(Patch):
        def set(self, place: str, value: object) -> None:
            used.add(place)
            super().set(place, value)

    for mutation in MUTATIONS.values():
        patch = Noting()
        mutation.defect(patch)
        patch.undo()
    assert used == set(PLACES)


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.sim.mutations --write"
