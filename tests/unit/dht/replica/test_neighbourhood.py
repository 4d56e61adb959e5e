from __future__ import annotations

from peerstack_kad.geometry import XorGeometry

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.identity import PeerId


def contact(key: int) -> Contact:
    return Contact(PeerId(b"\x00\x02" + (key % 65536).to_bytes(2, "big")), key)


def hood(*members: int, own: int = 0, replicas: int = 3, size: int = 10) -> Neighbourhood:
    made = Neighbourhood(contact(own), XorGeometry(), replicas=replicas, size=size)
    for key in members:
        made.count_in(contact(key), 0.0)
    return made


def settled(*members: int, replicas: int = 3, size: int = 10) -> Neighbourhood:
    made = hood(*members, replicas=replicas, size=size)
    made.begin_takeover(settled=True)
    for key in members:
        made.handed_over(key, authoritative=True)
    made.end_takeover()
    return made


def test_the_responsible_are_the_closest_counted_and_this_node_among_them() -> None:
    assert [each.key for each in hood(1, 2, 4, 8).responsible(3)] == [2, 1, 0]
    assert [each.key for each in hood(1, 2, 4, 8).responsible(12)] == [8, 4, 0]
    assert [each.key for each in hood().responsible(7)] == [0]


def test_a_settled_node_speaks_for_what_it_is_responsible_for_and_for_nothing_else() -> None:
    made = settled(1, 2, 4, 8)
    assert made.is_authoritative(3)
    assert not settled(1, 2, 3, 4).is_authoritative(7)
    assert settled().is_authoritative(7)


def test_a_newcomer_speaks_for_a_key_once_a_majority_of_its_set_has_handed_over_with_authority() -> None:
    made = hood(1, 2, 3)
    made.begin_takeover(settled=False)
    assert not made.is_authoritative(0)
    made.handed_over(1, authoritative=True)
    assert not made.is_authoritative(0)
    made.handed_over(2, authoritative=False)
    assert not made.is_authoritative(0)
    made.handed_over(3, authoritative=True)
    assert made.is_authoritative(0)


def test_only_the_set_entered_counts_for_a_newcomer() -> None:
    made = hood(1, 2, 3, 12, 13)
    made.begin_takeover(settled=False)
    made.handed_over(12, authoritative=True)
    made.handed_over(13, authoritative=True)
    assert not made.is_authoritative(0)


def test_who_restarts_stands_in_its_sets_without_a_vote() -> None:
    made = hood(1, 2)
    made.counted = True
    made.begin_takeover(settled=False)
    made.handed_over(1, authoritative=True)
    assert not made.is_authoritative(0)  # 2 of {0, 1, 2} are needed, and it has only one
    made.handed_over(2, authoritative=True)
    assert made.is_authoritative(0)


def test_everybody_who_is_not_gone_has_to_hand_over_before_it_is_settled() -> None:
    made = hood(1, 2, 3)
    made.members[2].gone = True
    made.begin_takeover(settled=False)
    assert [each.key for each in made.awaited()] == [1, 3]
    made.handed_over(1, authoritative=False)
    made.handed_over(3, authoritative=False)
    assert made.awaited() == []
    assert not made.end_takeover([2])
    assert made.settled
    assert sorted(made.members) == [1, 3]


def test_a_takeover_is_certain_only_with_a_majority_of_every_set() -> None:
    for lacking, certain in ((0, True), (1, True), (2, False)):
        made = hood(1, 2, 3, 4)
        made.begin_takeover(settled=False)
        for key in (1, 2, 3, 4):
            made.handed_over(key, authoritative=key > lacking)
        assert made.end_takeover() is certain


def test_who_is_gone_stays_counted_until_the_exchange_is_over() -> None:
    made = settled(1, 2, 3)
    made.members[1].gone = True
    made.begin_takeover(settled=True)
    assert 1 in {each.key for each in made.responsible(0)}
    assert made.is_authoritative(0)
    for key in (2, 3):
        made.handed_over(key, authoritative=True)
    made.end_takeover([1])
    assert 1 not in {each.key for each in made.responsible(0)}


def test_who_answers_after_all_is_not_gone() -> None:
    made = settled(1, 2, 3)
    made.members[1].gone = True
    made.begin_takeover(settled=True)
    made.heard(1, 50.0)
    assert 1 in {each.key for each in made.awaited()}
    made.end_takeover([1])
    assert 1 in made.members


def test_who_was_counted_before_it_said_where_it_listens_is_named_with_its_addresses_once_it_has() -> None:
    made = settled(1, 2)
    assert made.members[1].contact.addresses == ()
    listening = Contact(contact(1).peer_id, 1, (b"an address",))
    made.heard(1, 50.0, listening)
    made.heard(1, 51.0, contact(1))
    assert [each.addresses for each in made.responsible(1) if each.key == 1] == [(b"an address",)]


def test_who_left_comes_back_by_its_own_word_only() -> None:
    made = settled(1, 2)
    made.count_out(1, 98.0)
    assert not made.count_in(contact(1), 99.0, hearsay=True)
    assert made.count_in(contact(1), 101.0)
    made.count_out(2, 101.0)
    made.count_in(contact(2), 102.0)
    assert sorted(made.members) == [1, 2]


def test_what_was_said_before_a_leave_does_not_undo_it() -> None:
    made = settled(1, 2)
    made.count_out(1, 98.0)
    assert not made.count_in(contact(1), 97.0)
    assert made.count_in(contact(1), 98.5)


def test_a_bucket_of_few_is_kept_however_many_are_closer() -> None:
    made = hood(*range(1, 8), 64, 65, size=5)
    assert {64, 65} <= set(made.members)
    assert made.knows(66)


def test_of_the_first_bucket_beyond_some_are_kept_once_enough_are_closer() -> None:
    made = hood(*range(1, 64), size=5, replicas=2)
    assert sorted(made.members) == list(range(1, 12))  # 8 to 15 lie beyond seven who are closer
    assert made.knows(7)
    assert not made.knows(8)
    assert not made.is_near(14)
    assert not made.count_in(contact(14), 1.0)
    made.count_out(9, 1.0)
    made.count_in(contact(15), 2.0)
    assert not made.knows(8)


def test_a_node_does_not_speak_for_keys_beyond_those_it_knows_all_about() -> None:
    made = hood(*range(1, 32), size=5)
    made.settled = True
    assert made.is_authoritative(0)
    assert not made.is_authoritative(1 << 200)
    assert not made.keeps(1 << 200, 100)


def test_the_majority_reached_includes_this_node() -> None:
    made = hood(1, 2, 3)
    made.heard(1, 100.0)
    assert not made.reaches_majority(50.0)  # 2 of 4
    made.heard(2, 100.0)
    assert made.reaches_majority(50.0)
    assert hood().reaches_majority(50.0)
    made = hood(1, 2, 3)
    made.heard(1, 100.0)
    made.members[2].gone = True
    assert made.reaches_majority(50.0)  # 2 of the 3 that are not gone


def test_the_region_ends_where_others_have_whole_sets_of_their_own() -> None:
    top = 1 << 255
    crowd = [top | index for index in range(6)]
    assert hood(*crowd, size=50).region() == 1
    assert hood(*crowd[:5], size=50).region() == 0


def test_whom_an_earlier_run_counted_is_counted_until_those_in_authority_do_not() -> None:
    made = hood(1, 2, 3)
    made.remember(contact(4), -100.0)
    made.remember(contact(5), -100.0)
    assert made.counted
    made.begin_takeover(settled=False)
    made.miss(4)
    made.compare(1, {0, 1, 2, 3, 5})
    assert 4 in made.members
    made.compare(1, {0, 1, 2, 3, 5})
    assert 4 in made.members, "one source counts once"
    made.compare(2, {0, 1, 2, 3, 5})
    assert [key for key in (4, 5) if key in made.members] == [5]


def test_whom_an_earlier_run_counted_is_asked_before_others_deny_it() -> None:
    made = hood(1, 2)
    made.remember(contact(4), -100.0)
    made.compare(1, {1, 2})
    made.compare(2, {1, 2})
    assert 4 in made.members
    made.miss(4)
    assert 4 not in made.members


def test_whom_an_earlier_run_counted_and_who_was_heard_since_is_denied_by_nobody() -> None:
    made = hood(1, 2)
    made.remember(contact(4), -100.0)
    made.heard(4, 1.0)
    made.compare(1, {1, 2})
    made.compare(2, {1, 2})
    assert 4 in made.members


def test_a_source_whose_neighbourhood_is_full_denies_nobody_beyond_it() -> None:
    made = hood(1, size=3)
    made.remember(contact(1 << 200), -100.0)
    made.miss(1 << 200)
    made.compare(1, {1, 2, 3})
    assert 1 << 200 in made.members
    made.compare(1, {1, 2})
    assert 1 << 200 not in made.members


def test_only_who_shares_a_set_with_the_gone_is_heard_before_the_sets_close() -> None:
    bit = 1 << 250
    near, far = [bit * place for place in range(1, 8)], [bit * place for place in range(32, 40)]
    made = settled(*near, *far, size=64)
    made.members[far[0]].gone = True
    made.begin_takeover(settled=True)
    assert made.awaited() == []
    assert made.end_takeover([far[0]])
    assert far[0] not in made.members
    made.members[near[0]].gone = True
    made.begin_takeover(settled=True)
    assert {each.key for each in made.awaited()} == set(near[1:])


def test_the_dead_are_asked_less_and_less_and_never_keep_the_living_from_being_asked() -> None:
    made = settled(*range(1, 31), size=64)
    living = set(range(11, 31))
    asked: dict[int, int] = {}
    for now in range(0, 3600, 15):
        for contact in made.to_ping(float(now), silence=600.0, first_pause=15.0, limit=3):
            asked[contact.key] = asked.get(contact.key, 0) + 1
            if contact.key in living:
                made.heard(contact.key, float(now))
        assert all(now - made.members[key].last_heard <= 2 * 600 for key in living)
    assert all(4 <= asked[key] <= 12 for key in range(1, 11))


def test_who_left_and_is_still_heard_of_stays_gone_until_it_takes_over_again() -> None:
    made = settled(1, 2, 3)
    made.members[2].gone = True
    made.depart(2, 5.0)
    made.heard(2, 6.0)
    made.count_in(contact(2), 7.0, hearsay=True)
    made.count_in(contact(2), 4.0)
    assert made.silent_since(10.0) == [made.members[1], made.members[3]]
    made.count_in(contact(2), 8.0)
    made.heard(2, 9.0)
    assert [member.last_heard for member in made.silent_since(10.0)] == [0.0, 0.0, 9.0]


def newcomer(**authority: bool) -> Neighbourhood:
    """Counts 1 and 2, heard of late, and 4 and 8, long silent; some handed over."""
    made = hood(1, 2, 4, 8)
    made.begin_takeover(settled=False)
    for key in (1, 2):
        made.heard(key, 9.0)
    for name, authoritative in authority.items():
        made.handed_over(int(name[1:]), authoritative=authoritative)
    return made


def test_a_newcomer_begins_anew_without_the_silent_while_somebody_in_authority_is_there() -> None:
    made = newcomer(_1=True)
    assert made.unlearn(5.0)
    assert set(made.members) == {1, 2}
    assert not made.unlearn(5.0)


def test_a_newcomer_waits_for_the_silent_where_nobody_left_has_authority() -> None:
    for made in (newcomer(), newcomer(_1=False), newcomer(_4=True)):
        assert not made.unlearn(5.0)
        assert set(made.members) == {1, 2, 4, 8}


def test_who_was_settled_or_remembers_others_waits_for_the_silent() -> None:
    before = settled(1, 2, 4)
    before.begin_takeover(settled=False)
    restarted = newcomer(_1=True)
    restarted.remember(contact(16), 0.0)
    for made in (before, restarted):
        made.handed_over(1, authoritative=True)
        made.heard(1, 9.0)
        assert not made.unlearn(5.0)
