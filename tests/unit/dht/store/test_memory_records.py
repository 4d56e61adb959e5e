from __future__ import annotations

import pytest

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Slot
from peerstack.dht.store import MemoryStore, Outcome, RecordStore, Rules, SourceKind, Status, StoreLimits
from peerstack.errors import ConfigError
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

ALICE = RecordMaker.from_number(1)
SLOT = Slot("kv", b"key")
CLIENT, REPAIR = source_of(SourceKind.CLIENT), source_of(SourceKind.REPAIR)


def make_store(limits: StoreLimits | None = None) -> MemoryStore:
    return MemoryStore(Rules(namespaces=Namespaces(), parameters=KADEMLIA_PRESETS["wan"], limits=limits or StoreLimits()))


def test_it_answers_before_it_returns() -> None:
    store: RecordStore = make_store()
    outcomes: list[Outcome] = []
    store.merge([ALICE.put(SLOT)], source=CLIENT, now=NOW, done=outcomes.extend)
    assert [outcome.status for outcome in outcomes] == [Status.STORED]


def test_overwriting_one_key_for_ever_takes_no_more_room() -> None:
    store = make_store()
    for n in range(1000):
        store.merge([ALICE.put(SLOT, at=NOW + n)], source=CLIENT, now=NOW + n, done=lambda _: None)
    assert len(store._due) < 100
    assert store.usage.records == 1


def test_what_a_client_put_stays_charged_to_it_when_others_renew_it() -> None:
    store = make_store(StoreLimits(max_records=4, client_share=0.5, group_share=0.5, sender_share=0.25))
    outcomes: list[Outcome] = []
    store.merge([ALICE.put(SLOT)], source=CLIENT, now=NOW, done=outcomes.extend)
    store.merge([ALICE.put(SLOT, ttl=2 * HOUR)], source=REPAIR, now=NOW, done=outcomes.extend)
    store.merge([ALICE.put(Slot("kv", b"second"))], source=CLIENT, now=NOW, done=outcomes.extend)
    assert [outcome.status for outcome in outcomes] == [Status.STORED, Status.STORED, Status.FULL]


@pytest.mark.parametrize(
    ("records", "size", "shares"),
    [(0, 1, (0.2, 0.3, 0.4)), (1, 0, (0.2, 0.3, 0.4)), (1, 1, (0, 0.3, 0.4)), (1, 1, (0.5, 0.3, 0.4)), (1, 1, (0.2, 0.3, 1.1))],
)
def test_limits_that_cannot_work_are_refused(records: int, size: int, shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError):
        StoreLimits(max_records=records, max_bytes=size, sender_share=shares[0], group_share=shares[1], client_share=shares[2])
