from __future__ import annotations

import dataclasses

import pytest

from peerstack.dht import contract
from peerstack.dht.contract import PutResult, RefusalReason
from peerstack.dht.records import Slot
from peerstack.dht.store import Outcome, Status
from peerstack.identity import PeerId
from peerstack.testing.store_conformance import NOW, RecordMaker

PEERS = tuple(PeerId(b"\x00\x01" + bytes([n])) for n in range(3))
RECORD = RecordMaker.from_number(1).put(Slot("kv", b"key"))


@pytest.mark.parametrize(("acknowledged", "promised"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_put_promises_what_a_majority_acknowledged(acknowledged: int, promised: bool) -> None:
    result = PutResult(
        namespace="kv",
        key=b"key",
        subkey=b"",
        version=RECORD.version,
        expires_at=NOW,
        targets=PEERS,
        acknowledged=PEERS[:acknowledged],
        stored=PEERS,
        refused={},
        asked=1,
        needed=2,
    )
    assert result.promised is promised


def test_results_cannot_be_changed_afterwards() -> None:
    kinds = [getattr(contract, name) for name in contract.__all__]
    results = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    assert len(results) == 9
    for result in results:
        assert vars(result)["__dataclass_params__"].frozen
        assert "__slots__" in vars(result)


@pytest.mark.parametrize("status", Status)
def test_every_outcome_of_a_store_is_an_answer_to_a_put(status: Status) -> None:
    outcome = Outcome(status, RECORD, "why")
    refusal = outcome.refusal()
    assert (refusal is None) == outcome.holds == (status in (Status.STORED, Status.EQUAL))
    if refusal is not None:
        assert refusal.reason in RefusalReason
        assert (refusal.record, refusal.message) == (RECORD, "why")


def test_a_displaced_copy_may_go_where_an_equal_or_greater_record_is_held_or_none_has_to_be() -> None:
    assert {status for status in Status if Outcome(status).covers} == {
        Status.STORED,
        Status.EQUAL,
        Status.SUPERSEDED,
        Status.FORGOTTEN,
    }
