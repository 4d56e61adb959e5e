from __future__ import annotations

from dataclasses import replace

import pytest

from peerstack.dht.order import merge, order
from peerstack.dht.records import Draft, Record, Slot
from peerstack.identity import PrivateKey

KEYS = [PrivateKey.from_seed(bytes([n]) * 32) for n in range(4)]
DRAFT = Draft(slot=Slot("kv", b"key"), value=b"value", version_time=1000, expires_at=5000, remember_until=9000)


def test_a_later_version_wins_however_short_it_lives() -> None:
    old = Record.sign(replace(DRAFT, remember_until=99_999), KEYS[0])
    for later in (replace(DRAFT, version_time=1001, expires_at=1), replace(DRAFT, version_time=1001, value=b"", expires_at=0)):
        new = Record.sign(later, KEYS[0])
        assert merge(old, new) is new is merge(new, old)


def test_of_one_version_the_later_expiry_wins_then_the_longer_memory() -> None:
    first = Record.sign(DRAFT, KEYS[0])
    renewed = Record.sign(replace(DRAFT, expires_at=6000), KEYS[0])
    remembered = Record.sign(replace(DRAFT, expires_at=6000, remember_until=9001), KEYS[0])
    assert sorted([remembered, first, renewed], key=order) == [first, renewed, remembered]


def test_two_writers_at_one_microsecond_are_ordered_by_their_keys() -> None:
    records = [Record.sign(replace(DRAFT, value=bytes([n]), expires_at=5000 + n), key) for n, key in enumerate(KEYS)]
    assert max(records, key=order).version.writer == max(record.version.writer for record in records)


def test_a_copy_with_the_value_is_kept() -> None:
    record = Record.sign(DRAFT, KEYS[0])
    assert merge(record, record.without_value()) is record is merge(record.without_value(), record)


def test_records_of_different_slots_are_not_merged() -> None:
    with pytest.raises(ValueError, match="different slots"):
        merge(Record.sign(DRAFT, KEYS[0]), Record.sign(replace(DRAFT, slot=Slot("kv", b"key", b"sub")), KEYS[0]))
