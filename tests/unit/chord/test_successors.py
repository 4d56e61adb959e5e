from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from peerstack_chord.ring import Member, clockwise
from peerstack_chord.successors import SuccessorList

from tests.unit.chord.ring_world import member, members


def keys(successors: SuccessorList) -> list[int]:
    return [entry.key for entry in successors]


def listing(*entries: int, own: int = 10, r: int = 3) -> SuccessorList:
    successors = SuccessorList(own, r)
    successors.copy(members(*entries))
    return successors


def test_it_becomes_who_answered_and_its_list_without_the_last() -> None:
    successors = listing()
    assert successors.adopt(member(20), members(30, 40, 50))
    assert keys(successors) == [20, 30, 40]


def test_a_dead_first_entry_is_dropped_and_the_last_place_is_padded() -> None:
    successors = listing(20, 30, 40)
    assert successors.drop(member(20))
    assert keys(successors) == [30, 40]
    successors.adopt(member(30), members(40, 50, 60))
    assert keys(successors) == [30, 40, 50]


def test_another_life_of_the_dead_stays() -> None:
    successors = listing(20, 30)
    assert not successors.drop(Member(member(20).contact, 2))
    assert keys(successors) == [20, 30]


def test_it_ends_before_its_own_position_and_says_that_it_came_round() -> None:
    successors = listing(r=4)
    theirs = members(30, 10, 20)
    successors.adopt(member(20), theirs)
    assert keys(successors) == [20, 30]
    assert successors.comes_round(theirs)
    assert not successors.comes_round(members(30, 40))


def test_the_version_grows_with_changes_alone() -> None:
    successors = listing(20, 30)
    version = successors.version
    assert not successors.adopt(member(20), members(30))
    assert successors.version == version
    assert successors.adopt(member(20), members(25))
    assert successors.version > version


@given(st.integers(0, 31), st.integers(1, 4), st.lists(st.integers(0, 31), max_size=12))
def test_no_answer_brings_disorder_duplicates_or_ourselves(own: int, r: int, told: list[int]) -> None:
    successors = SuccessorList(own, r)
    successors.copy(members(*told))
    distances = [clockwise(own, key) for key in keys(successors)]
    assert len(distances) <= r
    assert distances == sorted(set(distances))
    assert 0 not in distances
    assert keys(successors) == told[: len(distances)]
