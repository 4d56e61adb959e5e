from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from peerstack_chord.member_map import MemberMap
from peerstack_chord.messages import Entry, Status
from peerstack_chord.ring import Member

from tests.unit.chord.ring_world import contact, member

ENTRIES = st.lists(
    st.builds(lambda key, life, standing: Entry(member(key, life), standing), st.integers(0, 5), st.integers(1, 3), st.sampled_from(Status))
)


def merged(*parts: list[Entry]) -> tuple[Entry, ...]:
    found = MemberMap(100)
    for part in parts:
        found.merge(part)
    return found.entries


@given(ENTRIES, ENTRIES, ENTRIES)
def test_maps_merge_in_any_order_and_any_number_of_times(a: list[Entry], b: list[Entry], c: list[Entry]) -> None:
    assert merged(a, b, c) == merged(c, a, b, a) == merged([*merged(b, c)], a)


@given(ENTRIES, ENTRIES)
def test_two_maps_have_one_digest_if_and_only_if_neither_would_change_the_other(a: list[Entry], b: list[Entry]) -> None:
    one, other = MemberMap(100), MemberMap(100)
    one.merge(a)
    other.merge(b)
    same = one.digest == other.digest
    assert same == (merged(a) == merged(b)) == (not one.merge(other.entries) and not other.merge(one.entries))


def test_a_digest_says_nothing_of_addresses() -> None:
    here, moved = MemberMap(100), MemberMap(100)
    here.merge([Entry(member(1))])
    moved.merge([Entry(Member(replace(contact(1), addresses=(b"elsewhere",)), 1))])
    assert here.digest == moved.digest


def test_of_two_lives_the_higher_counts_and_of_one_that_it_is_over() -> None:
    assert merged([Entry(member(1, 2))], [Entry(member(1, 1), Status.GONE)]) == (Entry(member(1, 2)),)
    assert merged([Entry(member(1, 2))], [Entry(member(1, 2), Status.GONE)]) == (Entry(member(1, 2), Status.GONE),)


def test_a_map_is_bounded_and_the_living_take_the_place_of_the_gone() -> None:
    members = MemberMap(3, lambda each: each.incarnation < 1 << 62)
    members.merge([Entry(member(1)), Entry(member(2), Status.GONE), Entry(member(3)), Entry(member(4), Status.GONE), Entry(member(5))])
    assert [entry.member.key for entry in members.entries] == [1, 3, 5]
    members.merge([Entry(member(6)), Entry(member(7, 1 << 62))])
    assert [entry.member.key for entry in members.entries] == [1, 3, 5]
