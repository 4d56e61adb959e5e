from __future__ import annotations

from collections.abc import Sequence

import pytest
from peerstack_kad.raw_values import MAX_RAW_BYTES, RawNamespaces, RawValues, namespace_of

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.replica.contacts import position_of
from peerstack.dht.store.storage import MemorySideTable
from peerstack.errors import InvalidRecord

HOUR = 3600 * 1_000_000
NOW = 1_800_000_000 * 1_000_000
OWN = position_of(b"own")


class Numbers:
    """Values are numbers, the greatest is the best; 13 is none after a while."""

    name = "number"

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        if not value.isdigit() or (value == b"13" and now > NOW):
            raise InvalidRecord("no number")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        return max(range(len(values)), key=lambda index: int(values[index]))


NUMBERS = RawNamespaces([Numbers()])
KEY = b"/number/one"


def put(values: RawValues, value: bytes, now: int = NOW, key: bytes = KEY) -> Refusal | None:
    told: list[Refusal | None] = []
    values.put(key, value, now, told.append)
    assert len(told) == 1
    return told[0]


def test_a_better_value_replaces_what_is_held_and_a_worse_one_never_does() -> None:
    values = RawValues(OWN, NUMBERS)
    assert put(values, b"2") is None
    refusal = put(values, b"1")
    assert refusal is not None
    assert refusal.reason is RefusalReason.SUPERSEDED
    assert values.get(KEY, NOW) == (b"2", NOW)
    assert put(values, b"3", NOW + 1) is None
    assert values.get(KEY, NOW + 1) == (b"3", NOW + 1)


def test_the_same_value_again_lives_longer() -> None:
    values = RawValues(OWN, NUMBERS)
    put(values, b"2")
    assert put(values, b"2", NOW + 40 * HOUR) is None
    assert values.get(KEY, NOW + 87 * HOUR) == (b"2", NOW + 40 * HOUR)
    assert values.get(KEY, NOW + 88 * HOUR) is None


def test_values_end_after_48_hours_whether_anybody_looks_or_not() -> None:
    table = MemorySideTable()
    values = RawValues(OWN, NUMBERS, table)
    put(values, b"2")
    values.sweep(NOW + 48 * HOUR - 1)
    assert len(values) == len(table.items()) == 1
    values.sweep(NOW + 48 * HOUR)
    assert len(values) == len(table.items()) == 0


def test_an_ended_value_does_not_stand_in_the_way_of_a_worse_one() -> None:
    values = RawValues(OWN, NUMBERS)
    put(values, b"5")
    assert put(values, b"1", NOW + 48 * HOUR) is None


def test_what_is_not_valid_any_more_is_not_given_out() -> None:
    values = RawValues(OWN, NUMBERS)
    assert put(values, b"13") is None
    assert values.get(KEY, NOW) is not None
    assert values.get(KEY, NOW + 1) is None
    assert len(values) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [(KEY, b"x"), (b"/other/one", b"1"), (b"number/one", b"1"), (b"/number/", b"1"), (b"//one", b"1"), (KEY, b"1" * (MAX_RAW_BYTES + 1))],
)
def test_what_no_namespace_vouches_for_is_refused(key: bytes, value: bytes) -> None:
    values = RawValues(OWN, NUMBERS)
    refusal = put(values, value, key=key)
    assert refusal is not None
    assert refusal.reason is RefusalReason.INVALID
    assert len(values) == 0


def test_a_namespace_ends_at_the_second_slash() -> None:
    assert namespace_of(b"/pk/a/b\xff") == "pk"
    with pytest.raises(InvalidRecord):
        namespace_of("/é/x".encode())


def test_a_flood_of_keys_drives_out_none_that_is_closer() -> None:
    table = MemorySideTable()
    values = RawValues(OWN, NUMBERS, table, max_keys=10)
    keys = sorted((f"/number/{number}".encode() for number in range(100)), key=lambda key: position_of(key) ^ OWN)
    refusals = [put(values, b"1", key=key) for key in reversed(keys)]
    assert refusals == [None] * 100  # each was closer than all before
    assert all(values.get(key, NOW) for key in keys[:10])
    assert {key for key, _ in table.items()} == set(keys[:10])
    farther = put(values, b"1", key=keys[50])
    assert farther is not None
    assert farther.reason is RefusalReason.FULL
    fewer = RawValues(OWN, NUMBERS, table, max_keys=5, now=NOW)
    assert {key for key, _ in table.items()} == set(keys[:5])
    assert len(fewer) == 5


def test_what_is_on_disk_is_there_again_and_judged_again() -> None:
    table = MemorySideTable()
    values = RawValues(OWN, NUMBERS, table)
    put(values, b"2")
    put(values, b"13", key=b"/number/two")
    put(values, b"3", NOW - 48 * HOUR, key=b"/number/three")
    again = RawValues(OWN, NUMBERS, table, now=NOW + 1)
    assert again.get(KEY, NOW + 1) == (b"2", NOW)
    assert len(again) == len(table.items()) == 1


def test_a_value_that_could_not_be_committed_is_not_acknowledged() -> None:
    table = MemorySideTable()
    values = RawValues(OWN, NUMBERS, table)
    table.close()
    refusal = put(values, b"2")
    assert refusal is not None
    assert refusal.reason is RefusalReason.FAILED
