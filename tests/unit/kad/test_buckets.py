from __future__ import annotations

import pytest
from peerstack_kad.buckets import STALE_AFTER, ContactAdded, ContactRemoved, PingContact, RoutingTable

from peerstack.dht.replica.contacts import Contact
from peerstack.identity import PeerId

K = 3


def contact(key: int, *addresses: bytes) -> Contact:
    return Contact(PeerId(b"\x00\x02" + key.to_bytes(32, "big")[-2:]), key, addresses)


def far(index: int) -> Contact:
    """One of many contacts in bucket 0 of a table at position 0."""
    return contact(1 << 255 | index)


def full_table() -> RoutingTable:
    """Bucket 0 full, nothing near: the neighbourhood is no larger than a bucket."""
    table = RoutingTable(0, k=K, neighbourhood=K)
    for index in range(K):
        table.heard(contact(index + 1), 0.0)  # the neighbourhood, in deep buckets
        table.heard(far(index), float(index))
    table.take_events()
    return table


def bucket_keys(table: RoutingTable) -> list[int]:
    return [entry.contact.key & 0xFF for entry in table.bucket(0)]


def test_a_contact_that_is_heard_of_again_moves_to_the_tail() -> None:
    table = full_table()
    table.heard(far(0), 10.0)
    assert bucket_keys(table) == [1, 2, 0]


def test_a_newcomer_to_a_full_bucket_waits_and_the_longest_silent_contact_is_pinged_once() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    table.heard(far(9), 100.0)
    assert bucket_keys(table) == [0, 1, 2]
    assert [event.contact.key & 0xFF for event in table.take_events() if isinstance(event, PingContact)] == [0]


def test_a_contact_that_answers_the_ping_keeps_its_place() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    table.heard(far(0), 101.0)
    assert bucket_keys(table) == [1, 2, 0]


def pings(table: RoutingTable) -> list[int]:
    return [event.contact.key & 0xFF for event in table.take_events() if isinstance(event, PingContact)]


def test_after_a_ping_was_answered_none_is_sent_in_that_bucket_for_a_minute() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    assert pings(table) == [0]
    table.heard(far(0), 101.0)
    for newcomer in range(9, 60):
        table.heard(far(newcomer), 102.0 + newcomer)
    assert pings(table) == []
    table.heard(far(61), 162.0)
    assert pings(table) == [1]


def test_a_contact_that_does_not_answer_is_pinged_for_every_newcomer_until_it_is_replaced() -> None:
    table = full_table()
    pinged = []
    for newcomer in range(8, 8 + STALE_AFTER):
        table.heard(far(newcomer), 100.0)
        pinged += pings(table)
        table.failed(far(0).key)
    assert pinged == [0] * STALE_AFTER
    assert bucket_keys(table) == [1, 2, 8 + STALE_AFTER - 1]


def test_without_probing_a_newcomer_waits_and_nobody_is_pinged() -> None:
    table = full_table()
    table.probing = False
    table.heard(far(8), 100.0)
    assert table.take_events() == []
    for _ in range(STALE_AFTER):
        table.failed(far(0).key)
    assert bucket_keys(table) == [1, 2, 8]


def test_a_contact_heard_of_just_now_is_not_pinged_for_a_newcomer() -> None:
    table = full_table()
    for index in range(K):
        table.heard(far(index), 99.0)
    table.take_events()
    table.heard(far(8), 100.0)
    assert table.take_events() == []


def test_a_contact_is_replaced_by_the_last_heard_newcomer_only_after_five_failures_in_a_row() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    table.heard(far(9), 101.0)
    table.take_events()
    for _ in range(STALE_AFTER - 1):
        table.failed(far(1).key)
    assert bucket_keys(table) == [0, 1, 2]
    table.failed(far(1).key)
    assert bucket_keys(table) == [0, 2, 9]
    assert [type(event) for event in table.take_events()] == [ContactRemoved, ContactAdded]


def test_failures_count_only_in_a_row() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    for _ in range(STALE_AFTER):
        table.failed(far(1).key)
        table.heard(far(1), 101.0)
    assert 1 in bucket_keys(table)


def test_without_a_newcomer_a_stale_contact_stays_but_is_named_to_nobody() -> None:
    table = full_table()
    for _ in range(STALE_AFTER):
        table.failed(far(1).key)
    assert 1 in bucket_keys(table)
    assert far(1).key not in {each.key for each in table.closest(far(1).key, 10)}


def test_a_newcomer_takes_the_place_of_a_stale_contact_at_once() -> None:
    table = full_table()
    for _ in range(STALE_AFTER):
        table.failed(far(1).key)
    table.heard(far(9), 100.0)
    assert bucket_keys(table) == [0, 2, 9]


def test_the_neighbourhood_is_kept_whole_whatever_its_buckets_hold() -> None:
    table = RoutingTable(0, k=K, neighbourhood=10)
    for index in range(10):
        table.heard(far(index), 0.0)
    assert len(table) == 10
    table.heard(far(10), 0.0)
    assert len(table) == 10


def test_the_replacement_cache_is_bounded_by_k() -> None:
    table = full_table()
    for index in range(10, 30):
        table.heard(far(index), 100.0)
    for index in range(K):
        for _ in range(STALE_AFTER):
            table.failed(far(index).key)
    assert bucket_keys(table) == [29, 28, 27]


def test_our_own_position_never_enters() -> None:
    table = RoutingTable(5)
    table.heard(contact(5), 0.0)
    assert len(table) == 0


def test_a_contact_that_left_is_gone_from_the_cache_too() -> None:
    table = full_table()
    table.heard(far(8), 100.0)
    table.remove(far(8).key)
    for _ in range(STALE_AFTER):
        table.failed(far(1).key)
    assert bucket_keys(table) == [0, 1, 2]


def test_new_addresses_replace_the_old_ones_and_none_replace_nothing() -> None:
    table = RoutingTable(0)
    table.heard(contact(7, b"old"), 0.0)
    table.heard(contact(7), 1.0)
    assert table.closest(7, 1)[0].addresses == (b"old",)
    table.heard(contact(7, b"new"), 2.0)
    assert table.closest(7, 1)[0].addresses == (b"new",)


def test_only_failing_contacts_are_forgotten_for_their_silence() -> None:
    table = RoutingTable(0)
    table.heard(contact(1), 0.0)
    table.heard(contact(2), 0.0)
    table.failed(2)
    assert [each.key for each in table.forget_silent(10.0)] == [2]
    assert 1 in table


def test_admission_decides_who_enters() -> None:
    table = RoutingTable(0, admission=lambda newcomer, _table, _index: newcomer.key != 3)
    table.heard(contact(3), 0.0)
    table.heard(contact(4), 0.0)
    assert [entry.contact.key for entry in table] == [4]


def test_a_bucket_is_due_for_refresh_until_something_in_it_was_looked_up() -> None:
    table = full_table()
    assert 0 in table.due_for_refresh(50.0)
    table.looked_up(far(0).key, 60.0)
    assert 0 not in table.due_for_refresh(50.0)


def test_the_corner_is_what_a_lookup_around_us_has_to_exhaust() -> None:
    table = full_table()  # K in bucket 0, one in bucket 254 (at position 2 or 3) or 255 (at 1) each
    assert [len(table.bucket(index)) for index in (0, 254, 255)] == [3, 2, 1]
    assert table.corner(7) == 0
    assert table.corner(6) == 1
    assert table.corner(4) == 1
    assert table.corner(3) == 255
    assert table.corner(1) == table.depth


@pytest.mark.parametrize("count", [0, 1, 4, 100])
def test_whoever_asks_is_not_told_of_itself(count: int) -> None:
    table = full_table()
    found = table.closest(0, count, exclude=1)
    assert 1 not in {each.key for each in found}
    assert len(found) == min(count, 2 * K - 1)
