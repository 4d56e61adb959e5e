from __future__ import annotations

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.graveyard import Graveyard
from peerstack.identity import PeerId


def contact(key: int) -> Contact:
    return Contact(PeerId(b"\x00\x02" + key.to_bytes(2, "big")), key)


def graveyard(capacity: int = 10) -> Graveyard:
    return Graveyard(first_pause_s=4, longest_pause_s=30, forget_s=1000, capacity=capacity)


def test_who_fell_silent_is_pinged_after_pauses_that_double_up_to_a_bound() -> None:
    made = graveyard()
    made.bury(contact(1), 0.0)
    pings = [now for now in range(200) if made.due(float(now), 8)]
    assert pings == [4, 8, 16, 32, 62, 92, 122, 152, 182]


def test_the_more_are_buried_the_less_often_each_is_pinged() -> None:
    pings_of: dict[int, int] = {}
    for buried in (8, 32, 64, 256):
        made = Graveyard(first_pause_s=4, longest_pause_s=30, forget_s=10_000)
        for key in range(buried):
            made.bury(contact(key), 0.0)
        pings = [len(made.due(float(now), buried)) for now in range(10_000)]
        pings_of[buried] = sum(pings[1000:])
    assert pings_of[32] == 4 * pings_of[8]  # few are asked as often as if they were alone
    assert max(pings_of.values()) == pings_of[32]


def test_however_many_are_buried_each_is_pinged_again() -> None:
    made = graveyard(capacity=300)
    for key in range(256):
        made.bury(contact(key), 0.0)
    for now in range(500):
        made.due(float(now), 8)
    assert {each.key for now in range(500, 1000) for each in made.due(float(now), 8)} == set(range(256))


def test_who_is_known_from_before_is_due_at_once() -> None:
    made = graveyard()
    made.bury(contact(1), 5.0, at_once=True)
    assert [each.key for each in made.due(5.0, 8)] == [1]
    assert made.due(5.0, 8) == []


def test_the_longest_due_come_first_and_no_more_than_wanted() -> None:
    made = graveyard()
    for key in (3, 1, 2):
        made.bury(contact(key), float(key))
    assert [each.key for each in made.due(100.0, 2)] == [1, 2]
    assert [each.key for each in made.due(100.0, 2)] == [3]


def test_who_is_heard_of_or_forgotten_is_pinged_no_more() -> None:
    made = graveyard()
    made.bury(contact(1), 0.0)
    made.bury(contact(2), 0.0)
    made.exhume(1)
    made.exhume(7)
    assert [each.key for each in made.due(10.0, 8)] == [2]
    assert made.due(1001.0, 8) == []
    assert len(made) == 0


def test_it_is_bounded_and_the_longest_buried_goes_first() -> None:
    made = graveyard(capacity=2)
    for key in (1, 2, 1, 3):
        made.bury(contact(key), float(key))
    assert [each.key for each in made.contacts] == [3, 2]
    assert 1 not in made


def test_nobody_is_kept_for_longer_though_nobody_is_due() -> None:
    made = Graveyard(first_pause_s=4, longest_pause_s=100, forget_s=1000)
    made.bury(contact(1), 0.0)
    made.bury(contact(2), 10.0)
    pings = [now for now in range(1000) if made.due(float(now), 8)]
    assert pings[-2:] == [928, 938]  # nobody is due again before 1028
    assert made.due(1001.0, 8) == []
    assert [each.key for each in made.contacts] == [2]
    assert made.due(1011.0, 8) == []
    assert len(made) == 0
