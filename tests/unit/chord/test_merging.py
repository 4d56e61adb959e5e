from __future__ import annotations

import pytest
from peerstack_chord import ring
from peerstack_chord.merging import Acquaintances
from peerstack_chord.messages import Meet

from tests.unit.chord.ring_world import World, contact, form


def test_contacts_have_their_turn_and_neighbours_are_left_out() -> None:
    acquaintances = Acquaintances([contact(1), contact(2)])
    for key in range(10, 200):
        acquaintances.bury(contact(key))
    assert len(list(acquaintances)) == 2 + 64
    found = {each.key for _ in range(100) if (each := acquaintances.next({2, 199})) is not None}
    assert found == {1, *range(136, 199)}
    assert Acquaintances([contact(1)]).next({1}) is None


def two_rings(r: int, first: list[int], second: list[int]) -> World:
    """Two that formed apart; one member of the second has one of the first configured."""
    world = form(r, first)
    for key in second:
        world.groups[key] = 1
    world.add(second[0], [first[0]])
    world.run(10)
    for key in second[1:]:
        world.add(key, [second[0]])
        world.run(0.5)
    world.run_until(lambda: ring.ideal([state for state in world.states() if state.member.key in second], r), 60)
    world.groups.clear()
    return world


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([10, 30, 50, 70, 90], [20, 40, 60, 80, 100]),
        ([20, 40, 60, 80, 100], [10, 30, 50, 70, 90]),
        ([10, 30], [20, 40]),
        ([20], [10, 30, 40, 50, 60, 70]),
        ([10, 30, 40, 50, 60, 70], [20]),
    ],
)
def test_two_rings_that_meet_become_one(first: list[int], second: list[int]) -> None:
    world = two_rings(2, first, second)
    assert len(world.states()) == len(first) + len(second)
    assert not ring.ideal(world.states(), 2)
    world.run_until(lambda: len(world.states()) == len(first) + len(second) and ring.ideal(world.states(), 2), 300)


def test_a_partition_that_heals_leaves_one_ring() -> None:
    keys = [10 * step for step in range(1, 13)]
    world = form(2, keys)
    for key in keys[::2]:
        world.groups[key] = 1
    world.run(60)
    world.groups.clear()
    world.run_until(lambda: len(world.states()) == 12 and ring.ideal(world.states(), 2), 600)


def test_a_contact_on_the_same_ring_changes_nothing() -> None:
    world = form(2, [10, 20, 30, 40, 50])
    life = world.nodes[20].ring.place.own
    world.nodes[20].ring.serve(contact(30), Meet(contact(50)), lambda reply: None)
    world.nodes[20].ring.serve(contact(30), Meet(contact(99)), lambda reply: None)
    world.run(10)
    assert world.nodes[20].ring.place.own == life
    assert ring.ideal(world.states(), 2)
