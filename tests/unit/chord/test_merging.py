from __future__ import annotations

import pytest
from peerstack_chord import ring
from peerstack_chord.merging import Acquaintances
from peerstack_chord.messages import Meet
from peerstack_chord.ring import Mode

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


def test_nobody_steps_out_because_a_newcomer_has_yet_to_notice_that_the_owner_of_position_0_is_dead() -> None:
    world = form(3, [10, 20, 30, 40, 50, 60])
    newcomer = world.add(65, [60], timers=False)
    world.run_until(lambda: newcomer.ring.mode is Mode.RING, 5)
    for node in world.live():
        node.ring._timers.stop()
    world.bag.clear()
    world.crash(10)
    last, member = world.nodes[60].ring.place, world.nodes[20].ring
    last.adopt(member.place.own, member.place.successors.entries)  # it noticed, and took nobody in yet
    life = member.place.own
    member._merger.meet(contact(65))
    world.run(30)
    assert member.place.own == life
    assert member.mode is Mode.RING


def test_who_owns_a_position_has_to_say_so_itself() -> None:
    world = form(3, [10, 20, 30, 40, 50, 60])
    for node in world.live():
        node.ring._timers.stop()
    world.bag.clear()
    found: list[int] = []
    merger = world.nodes[30].ring._merger
    merger._find_owner(0, [contact(40)], lambda owner: found.append(owner.key))
    world.run(5)
    assert found == [10]
    world.crash(10)  # 20 still has it for its predecessor
    merger._find_owner(0, [contact(40)], lambda owner: found.append(owner.key))
    world.run(5)
    assert found == [10]
    world.nodes[20].ring.place.predecessor = world.nodes[60].ring.place.own
    merger._find_owner(0, [contact(40)], lambda owner: found.append(owner.key))
    world.run(5)
    assert found == [10, 20]


def test_who_goes_over_to_another_ring_tells_near_ones_and_far_ones() -> None:
    keys = [step << 251 for step in range(1, 31)]
    world = form(2, keys)
    world.run(60)
    node = world.nodes[keys[20]]
    far = {each.key for each in node.ring.way.fingers} - {each.key for each in node.ring.place.neighbours}
    world.bag.clear()
    met: set[int] = set()
    for other in world.live():
        other.ring._server._calls.meet = lambda _contact, key=other.contact.key: met.add(key)  # type: ignore[misc]
    node.ring._lose(contact(5))
    world.run(1)
    assert len(met & far) > 2
    assert keys[21] in met
    assert keys[19] in met


def test_nobody_of_the_ring_one_left_becomes_a_finger_into_the_next() -> None:
    world = form(2, [10, 20, 30, 40, 50])
    node = world.nodes[20]
    for each in world.live():
        each.ring._timers.stop()
    world.bag.clear()
    node.ring.stabilise()  # answers are under way when it goes
    node.ring._lose(contact(5))
    assert not list(node.ring.way.fingers)
    world.run(0.3)  # they arrive, and it looks for the other ring
    assert node.ring.mode is Mode.OUTSIDE
    assert not list(node.ring.way.fingers)
