"""Whom a Chord node knows beside its ring."""

from __future__ import annotations

from peerstack_chord.routing import ChordRouting

from tests.unit.chord.ring_world import contact, form, parameters


def routing(*, is_member: bool) -> ChordRouting:
    """Knows 20, heard of early, 30, heard of early and failing since, and 40, heard of late."""
    made = ChordRouting(contact(10), parameters(2))
    if is_member:
        made.follow(form(2, [10, 50, 60, 70, 80]).nodes[10].ring)
    for key, at in ((20, 1.0), (30, 1.0), (40, 9.0)):
        made.heard(contact(key), at)
    made.failed(30)
    return made


def test_a_member_lets_go_of_whom_it_did_not_hear_of_lest_the_dead_pass_for_responsible() -> None:
    known = routing(is_member=True)
    assert [each.key for each in known.forget_silent(5.0)] == [30]
    assert [each.key for each in known.closest(15, 3)] == [40]


def test_a_client_lets_go_of_the_failing_only_for_it_knows_nobody_else() -> None:
    known = routing(is_member=False)
    assert [each.key for each in known.forget_silent(5.0)] == [30]
    assert [each.key for each in known.closest(15, 3)] == [20, 40]
