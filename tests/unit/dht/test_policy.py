from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.contract import RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.policy import (
    DELETED,
    MEMORY_MARGIN_US,
    Lifetime,
    admit,
    draft_record,
    draft_renewal,
    lifetime,
    remember_until,
    renewal_due,
    validate,
)
from peerstack.dht.records import Draft, Record, Slot
from peerstack.errors import InvalidRecord
from peerstack.identity import PrivateKey

KEY = PrivateKey.from_seed(bytes(32))
WAN, LOCAL = KADEMLIA_PRESETS["wan"], KADEMLIA_PRESETS["local"]
MINUTE = 60 * MICROSECONDS
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_800_000_000 * MICROSECONDS
SLOT = Slot("kv", b"key")
NAMESPACES = Namespaces()


def put(*, at: int = NOW, expires_at: int = NOW + HOUR, seen: int = 0, renewable: bool = False) -> Record:
    return Record.sign(draft_record(SLOT, b"value", at, Lifetime(expires_at, renewable), seen, WAN), KEY)


def reason(record: Record, now: int = NOW) -> RefusalReason | None:
    refusal = admit(record, now, WAN, NAMESPACES)
    return None if refusal is None else refusal.reason


def test_a_ttl_is_exact_and_not_renewed() -> None:
    assert lifetime(1.5, NOW, WAN) == Lifetime(NOW + 1_500_000, renewable=False)
    assert lifetime(7 * 24 * 3600, NOW, WAN) == Lifetime(NOW + 7 * DAY, renewable=False)


def test_without_ttl_a_record_lives_48_hours_or_half_of_what_the_network_allows() -> None:
    assert lifetime(None, NOW, WAN) == Lifetime(NOW + 48 * HOUR, renewable=True)
    assert lifetime(None, NOW, LOCAL) == Lifetime(NOW + 30 * MINUTE, renewable=True)


@pytest.mark.parametrize("ttl", [0, -1, 7 * 24 * 3600 + 1, float("nan"), float("inf")])
def test_a_ttl_out_of_range_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidRecord, match="ttl"):
        lifetime(ttl, NOW, WAN)


def test_every_record_is_remembered_as_long_as_something_older_may_live() -> None:
    assert remember_until(NOW + HOUR, NOW, 0, WAN) == NOW + 7 * DAY + MEMORY_MARGIN_US
    assert remember_until(0, NOW, 0, WAN) == NOW + 7 * DAY + MEMORY_MARGIN_US
    assert remember_until(NOW + 9 * DAY, NOW, 0, WAN) == NOW + 9 * DAY + MEMORY_MARGIN_US
    assert remember_until(0, NOW, NOW + 10 * DAY, WAN) == NOW + 10 * DAY


def test_overwriting_again_and_again_does_not_lengthen_the_memory() -> None:
    seen = 0
    for n in range(1000):
        seen = remember_until(NOW + HOUR, NOW + n, seen, WAN)
    assert seen == NOW + 999 + 7 * DAY + MEMORY_MARGIN_US


def test_a_delete_is_a_put_that_is_dead_from_the_start() -> None:
    delete = Record.sign(draft_record(SLOT, b"", NOW, DELETED, 0, WAN), KEY)
    assert delete.is_delete
    assert admit(delete, NOW, WAN, NAMESPACES) is None


def test_renewing_keeps_version_and_value_and_never_shortens_the_memory() -> None:
    record = put(renewable=True, expires_at=NOW + 48 * HOUR, seen=NOW + 30 * DAY)
    due = renewal_due(record, WAN)
    assert due == NOW + 24 * HOUR
    draft = draft_renewal(record, record.expires_at, due, WAN)
    assert draft is not None
    renewed = Record.sign(draft, KEY)
    assert (renewed.version, renewed.value, renewed.slot) == (record.version, record.value, record.slot)
    assert renewed.expires_at == due + 48 * HOUR
    assert renewed.remember_until == NOW + 30 * DAY
    assert admit(renewed, due, WAN, NAMESPACES) is not None, "nobody may have seen so long a memory"
    assert validate(renewed, due, WAN, NAMESPACES) is None


def test_a_record_is_not_renewed_once_others_may_have_seen_it_end() -> None:
    record = put(renewable=True, expires_at=NOW + HOUR)
    assert draft_renewal(record, record.expires_at, record.expires_at - 1, WAN) is not None
    assert draft_renewal(record, record.expires_at, record.expires_at, WAN) is None
    assert draft_renewal(record, NOW + HOUR // 2, NOW + HOUR // 2, WAN) is None


def test_what_is_not_renewable_is_not_renewed() -> None:
    assert draft_renewal(put(), NOW + HOUR, NOW, WAN) is None
    assert draft_renewal(put(renewable=True).without_value(), NOW + HOUR, NOW, WAN) is None
    assert draft_renewal(put(renewable=True, expires_at=NOW + 48 * HOUR), NOW + 48 * HOUR, NOW, WAN) is None, "it would gain nothing"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (put(), None),
        (put(at=NOW + 15 * MINUTE, expires_at=NOW + HOUR), None),
        (put(at=NOW + 15 * MINUTE + 1, expires_at=NOW + HOUR), RefusalReason.CLOCK),
        (put(expires_at=NOW + 7 * DAY + 15 * MINUTE), None),
        (put(expires_at=NOW + 7 * DAY + 15 * MINUTE + 1), RefusalReason.CLOCK),
        (put(seen=NOW + 7 * DAY + 60 * MINUTE), None),
        (put(seen=NOW + 7 * DAY + 60 * MINUTE + 1), RefusalReason.CLOCK),
        (put().without_value(), RefusalReason.INVALID),
        (put(expires_at=NOW + 15 * MINUTE).without_value(), None),
        (put(expires_at=NOW - HOUR).without_value(), None),
        (put(at=NOW - 100 * DAY, expires_at=NOW - 99 * DAY), None),
    ],
)
def test_a_holder_judges_by_its_own_clock(record: Record, expected: RefusalReason | None) -> None:
    assert reason(record) is expected


def test_what_an_honest_writer_makes_is_taken_by_clocks_a_quarter_of_an_hour_apart() -> None:
    for skew in (-15 * MINUTE, 0, 15 * MINUTE):
        life = lifetime(WAN.max_ttl_s, NOW + skew, WAN)
        record = Record.sign(draft_record(SLOT, b"value", NOW + skew, life, 0, WAN), KEY)
        assert reason(record) is None


def test_a_memory_shorter_than_the_networks_is_invalid() -> None:
    memory = remember_until(NOW + HOUR, NOW, 0, WAN)
    draft = Draft(slot=SLOT, value=b"", version_time=NOW, expires_at=NOW + HOUR, remember_until=memory - 1)
    assert reason(Record.sign(draft, KEY)) is RefusalReason.INVALID
    assert reason(Record.sign(replace(draft, remember_until=memory), KEY)) is None


def test_a_namespaces_refusal_and_one_that_is_not_served_are_invalid() -> None:
    digest = hashlib.sha256(b"").digest()
    for slot in (Slot("own", b"key"), Slot("nope", b"key"), Slot("hash", digest)):
        record = Record.sign(draft_record(slot, b"", NOW, DELETED, 0, WAN), KEY)
        assert reason(record) is RefusalReason.INVALID


def test_a_reader_with_a_slow_clock_can_still_read() -> None:
    record = put()
    assert reason(record, NOW - DAY) is RefusalReason.CLOCK
    assert validate(record, NOW - DAY, WAN, NAMESPACES) is None
