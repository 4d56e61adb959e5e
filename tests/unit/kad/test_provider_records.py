from __future__ import annotations

from peerstack_kad.provider_records import ProviderLimits, ProviderRecords

from peerstack.dht.contract import RefusalReason
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.store.storage import MemorySideTable
from peerstack.identity import PeerId

HOUR = 3600 * 1_000_000
NOW = 1_800_000_000 * 1_000_000
OWN = position_of(b"own")
ADDRESS = b"\x04\x7f\x00\x00\x01\x06\x10\x00"


def contact(number: int, *addresses: bytes) -> Contact:
    return Contact.of(PeerId(b"\x00\x02" + number.to_bytes(2, "big")), addresses or (ADDRESS,))


def seen(records: ProviderRecords, key: bytes, now: int) -> list[tuple[PeerId, tuple[bytes, ...]]]:
    return [(each.peer_id, each.addresses) for each in records.get(key, now)]


ALICE, BOB = contact(1), contact(2)


def test_the_latest_comes_first_and_who_says_it_again_is_there_once() -> None:
    records = ProviderRecords(OWN)
    assert records.add([b"key", b"other"], ALICE, NOW) is None
    records.add([b"key"], BOB, NOW + 1)
    assert [each.peer_id for each in records.get(b"key", NOW + 1)] == [BOB.peer_id, ALICE.peer_id]
    records.add([b"key"], contact(1, b"\x04\x7f\x00\x00\x02\x06\x10\x00"), NOW + 2)
    assert seen(records, b"key", NOW + 2)[0] == (ALICE.peer_id, (b"\x04\x7f\x00\x00\x02\x06\x10\x00",))
    assert len(records) == 3


def test_addresses_are_given_out_for_24_hours_and_the_record_for_48() -> None:
    table = MemorySideTable()
    records = ProviderRecords(OWN, table)
    records.add([b"key"], ALICE, NOW)
    assert seen(records, b"key", NOW + 24 * HOUR - 1) == [(ALICE.peer_id, (ADDRESS,))]
    assert seen(records, b"key", NOW + 24 * HOUR) == [(ALICE.peer_id, ())]
    assert seen(records, b"key", NOW + 48 * HOUR - 1) == [(ALICE.peer_id, ())]
    assert seen(records, b"key", NOW + 48 * HOUR) == []
    records.sweep(NOW + 48 * HOUR)
    assert len(records) == len(table.items()) == 0


def test_a_clock_set_back_ends_nothing() -> None:
    records = ProviderRecords(OWN)
    records.add([b"key"], ALICE, NOW)
    records.sweep(NOW - 100 * HOUR)
    assert seen(records, b"key", NOW - 100 * HOUR) == [(ALICE.peer_id, (ADDRESS,))]


def test_providers_of_a_key_are_bounded_and_those_there_stay() -> None:
    records = ProviderRecords(OWN, limits=ProviderLimits(max_per_key=3))
    refusals = [records.add([b"key"], contact(number), NOW) for number in range(5)]
    assert [refusal and refusal.reason for refusal in refusals] == [None, None, None, RefusalReason.FULL, RefusalReason.FULL]
    assert records.add([b"key"], contact(0), NOW + 1) is None  # says it again
    records.sweep(NOW + 48 * HOUR)
    assert records.add([b"key"], contact(4), NOW + 48 * HOUR) is None


def test_keys_of_a_provider_are_bounded() -> None:
    records = ProviderRecords(OWN, limits=ProviderLimits(max_per_provider=10))
    refusal = records.add([str(number).encode() for number in range(20)], ALICE, NOW)
    assert refusal is not None
    assert len(records) == 10
    assert records.add([b"19"], BOB, NOW) is None
    records.sweep(NOW + 48 * HOUR)
    assert records.add([b"19"], ALICE, NOW + 48 * HOUR) is None


def test_beyond_the_limit_the_keys_closest_to_the_node_stay() -> None:
    table = MemorySideTable()
    records = ProviderRecords(OWN, table, limits=ProviderLimits(max_keys=10))
    keys = sorted((str(number).encode() for number in range(100)), key=lambda key: position_of(key) ^ OWN)
    for key in reversed(keys):
        records.add([key], ALICE, NOW)
        records.add([key], BOB, NOW)
    assert [key for key in keys if records.get(key, NOW)] == keys[:10]
    assert len(records) == len(table.items()) == 20
    assert records.add([keys[50]], ALICE, NOW) is not None
    fewer = ProviderRecords(OWN, table, limits=ProviderLimits(max_keys=5), now=NOW)
    assert [key for key in keys if fewer.get(key, NOW)] == keys[:5]
    assert len(fewer) == len(table.items()) == 10


def test_what_is_on_disk_is_there_again_until_it_ends() -> None:
    table = MemorySideTable()
    records = ProviderRecords(OWN, table)
    records.add([b"key", bytes(80)], ALICE, NOW)
    records.add([b"key"], BOB, NOW - 48 * HOUR)
    table.put(b"garbage", b"\xff" * 20)
    again = ProviderRecords(OWN, table, now=NOW + 1)
    assert seen(again, b"key", NOW + 1) == [(ALICE.peer_id, (ADDRESS,))]
    assert seen(again, bytes(80), NOW + 1) == [(ALICE.peer_id, (ADDRESS,))]
    assert len(again) == len(table.items()) == 2


def test_a_record_that_could_not_be_stored_is_refused() -> None:
    table = MemorySideTable()
    records = ProviderRecords(OWN, table)
    table.close()
    refusal = records.add([b"key"], ALICE, NOW)
    assert refusal is not None
    assert refusal.reason is RefusalReason.FAILED
