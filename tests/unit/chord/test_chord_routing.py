from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_chord.lookup import RingLookup
from peerstack_chord.ring import clockwise
from peerstack_chord.routing import ChordRouting

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.neighbourhood import members_wanted
from peerstack.dht.replica.routing import Routing
from peerstack.dht.replica.rtt import RoundTrips
from tests.unit.chord.ring_world import World, contact, form, parameters

STALE = 3
SMALL = parameters(3, k=4)
NEAR = members_wanted(SMALL)


def routing(*keys: int, own: int = 0) -> ChordRouting:
    made = ChordRouting(contact(own), SMALL)
    for at, key in enumerate(keys):
        made.heard(contact(key), float(at))
    return made


def keys_of(contacts: list[Contact]) -> list[int]:
    return [each.key for each in contacts]


def lookup(table: ChordRouting, target: int, *seeds: int, count: int = 2) -> RingLookup:
    return table.begin_lookup(target, [contact(key) for key in seeds], count=count, trips=RoundTrips(1.0), now=0.0)


def asked(progress: RingLookup) -> list[int]:
    """Whom it asks while nobody answers, until it has nobody left."""
    found = []
    for _ in range(100):
        asks = progress.next(0.0)
        if not asks:
            break
        for ask in asks:
            found.append(ask.contact.key)
            progress.on_failure(ask.contact, 0.0)
    return found


def test_the_engine_can_route_by_it() -> None:
    table: Routing = routing(5)  # for the type checker
    assert len(table) == 1
    assert [known.contact.key for known in table] == [5]


def test_the_closest_are_the_first_clockwise_that_are_not_stale() -> None:
    table = routing(10, 20, 30, 40)
    assert keys_of(table.closest(25, 3)) == [30, 40, 10]
    assert keys_of(table.closest(25, 3, exclude=40)) == [30, 10, 20]
    for _ in range(STALE):
        table.failed(30)
    assert keys_of(table.closest(25, 2)) == [40, 10]
    assert keys_of(table.stale()) == [30]


def test_who_is_met_and_who_falls_silent_is_told_once_and_again_when_it_is_back() -> None:
    table = routing(10, 20)
    assert keys_of(table.take_met()) == [10, 20]
    table.heard(contact(10), 5.0)
    assert table.take_met() == []
    for _ in range(STALE + 2):
        table.failed(20)
    table.give_up(20)
    assert keys_of(table.take_silent()) == [20]
    assert table.take_silent() == []
    table.heard(contact(20), 6.0)
    assert keys_of(table.take_met()) == [20]
    table.give_up(10)
    assert keys_of(table.take_silent()) == [10]


def test_a_revision_stands_for_whoever_is_in_it() -> None:
    table = routing(10)
    before = table.revision
    table.heard(contact(10), 1.0)
    assert table.revision == before
    table.heard(contact(20), 1.0)
    assert table.revision != before
    before = table.revision
    table.remove(20)
    assert table.revision != before


def test_it_holds_not_itself() -> None:
    assert len(routing(7, own=7)) == 0


def test_who_fails_and_was_silent_for_long_is_forgotten() -> None:
    table = routing(10, 20, 30)  # heard of at 0, 1 and 2
    table.failed(10)
    table.failed(30)
    assert keys_of(table.forget_silent(2.0)) == [10]
    assert sorted(known.contact.key for known in table) == [20, 30]


def test_addresses_are_not_lost_to_a_contact_without_any() -> None:
    table = routing()
    known = Contact(contact(5).peer_id, 5, (b"address",))
    table.heard(known, 0.0)
    table.heard(contact(5), 1.0)
    assert table.get(5) is not None
    assert [entry.contact.addresses for entry in table] == [(b"address",)]


@settings(max_examples=50)
@given(st.lists(st.integers(1, (1 << 256) - 1), min_size=1, max_size=400, unique=True), st.integers(0, (1 << 256) - 1))
def test_it_is_bounded_and_keeps_who_stands_next_to_the_node_on_either_side(keys: list[int], own: int) -> None:
    table = routing(*keys, own=own)
    others = sorted((key for key in keys if key != own), key=lambda key: clockwise(own, key))
    held = {known.contact.key for known in table}
    assert held >= {*others[:NEAR], *others[-NEAR:]}
    assert len(held) <= 2 * NEAR + 64
    if len(others) <= 2 * NEAR + 64:
        assert held == set(others)


def member(world: World, key: int) -> ChordRouting:
    table = ChordRouting(contact(key), SMALL)
    table.follow(world.nodes[key].ring)
    return table


def test_a_member_names_who_leads_there_along_the_ring_and_its_successors() -> None:
    world = form(3, [10, 20, 30, 40, 50, 60])
    table = member(world, 20)
    table.heard(contact(55), 0.0)  # known, but no member
    assert keys_of(table.leading_to(52, 20)) == keys_of(list(world.nodes[20].ring.closest(52)))
    assert 50 in keys_of(table.leading_to(52, 20))
    assert 55 not in keys_of(table.leading_to(52, 20))
    assert 50 not in keys_of(table.leading_to(52, 20, exclude=50))
    assert len(table.leading_to(52, 2)) == 2


def test_who_is_no_member_names_whom_it_knows_before_and_after() -> None:
    table = routing(10, 20, 30, 40, 50, 60)
    named = keys_of(table.leading_to(35, 20))
    assert named[0] == 30
    assert set(named) == {10, 20, 30, 40, 50, 60}


def test_a_client_looks_up_from_the_servers_it_knows_around_the_position() -> None:
    progress = lookup(routing(10, 20, 30, 40, 50), 35, 40, 50)
    assert [ask.contact.key for ask in progress.next(0.0)] == [30]
    progress.on_reply(contact(30), [contact(40), contact(50)], 0.1)
    assert {ask.contact.key for ask in progress.next(0.1)} == {40, 50}


def test_a_member_has_answered_itself_already() -> None:
    world = form(3, [10, 20, 30, 40, 50, 60])
    progress = lookup(member(world, 30), 35)
    assert {ask.contact.key for ask in progress.next(0.0)} == {40, 50}


def test_nobody_is_sent_along_the_dead_but_the_responsible_are_asked_even_so() -> None:
    table = routing(10, 20, 30, 40, 50, 60)
    for key in (30, 40):
        for _ in range(2):
            table.failed(key)
    assert 30 not in asked(lookup(table, 35, 40, 50, 60, 10, 20, 30))
    assert 40 in asked(lookup(table, 35, 40, 50, 60, 10, 20, 30))


def test_the_ring_looks_for_itself_where_a_neighbour_did_not_answer() -> None:
    world = form(3, [10, 20, 30, 40, 50, 60])
    ring = world.nodes[20].ring
    table = member(world, 20)
    for key in (30, 50):
        table.heard(contact(key), 0.0)
    world.crash(30)
    table.failed(30)
    sent = world.nodes[20].sent
    assert sent
    for _ in itertools.repeat(None, 5):
        table.failed(30)
    assert world.nodes[20].sent == sent, "it asks once, not at every failure"
    world.run(5.0)
    first = ring.place.successors.first
    assert first is not None
    assert first.key == 40
