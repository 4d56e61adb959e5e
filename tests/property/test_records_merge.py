"""The laws of merging, and of what one holder keeps whatever comes in whatever order."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.dht.namespaces import ContentHash, LatestVersion, Namespace, Namespaces
from peerstack.dht.order import order
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.policy import DELETED, Lifetime, draft_record
from peerstack.dht.records import Draft, Record, Slot
from peerstack.dht.store import MemoryStore, Outcome, Rules, Source, SourceKind, StoreLimits
from peerstack.errors import InvalidRecord
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

WRITERS = [RecordMaker.from_number(n).signer for n in range(3)]
SLOT = Slot("kv", b"key")
PARAMETERS = KADEMLIA_PRESETS["wan"]
DAY = 24 * HOUR

# Few values each, so that every kind of tie comes up.
DRAFTS = st.builds(
    lambda value, time, expires, remember: Draft(
        slot=SLOT, value=value if expires else b"", version_time=time, expires_at=expires, remember_until=30 + remember
    ),
    st.sampled_from([b"", b"a", b"b"]),
    st.integers(1, 3),
    st.sampled_from([0, 2, 20, 21]),
    st.integers(0, 2),
)
RECORDS = st.builds(
    lambda draft, writer, bare: Record.sign(draft, writer).without_value() if bare else Record.sign(draft, writer),
    DRAFTS,
    st.sampled_from(WRITERS),
    st.booleans(),
)
RULES = pytest.mark.parametrize("rules", [LatestVersion("kv"), ContentHash()], ids=["kv", "hash"])


@RULES
@given(a=RECORDS, b=RECORDS, c=RECORDS)
def test_merging_is_commutative_associative_and_idempotent(rules: Namespace, a: Record, b: Record, c: Record) -> None:
    assert rules.merge(a, b) == rules.merge(b, a)
    assert rules.merge(a, rules.merge(b, c)) == rules.merge(rules.merge(a, b), c)
    assert rules.merge(a, a) == a
    assert rules.merge(a, b) in (a, b)


@given(st.lists(RECORDS, min_size=1, max_size=6))
def test_the_greatest_of_many_is_found_in_every_order(records: list[Record]) -> None:
    greatest = max(order(record) for record in records)
    rules = LatestVersion("kv")
    for shuffled in itertools.islice(itertools.permutations(records), 24):
        merged = shuffled[0]
        for record in shuffled[1:]:
            merged = rules.merge(merged, record)
        assert order(merged) == greatest
        assert (merged.value is None) == all(record.value is None for record in records if order(record) == greatest)


@given(RECORDS)
def test_every_record_survives_its_encoding(record: Record) -> None:
    assert Record.decode(record.encode()) == record


@given(RECORDS, st.data())
def test_no_bytes_make_decoding_raise_anything_else(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(record.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(encoded) - 1))
        encoded[index : index + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    with suppress(InvalidRecord):
        Record.decode(bytes(encoded), lambda *_: True)


# -- one holder, against a reference that never forgets ---------------------------------------------------------------------------------

OFFSETS = st.integers(0, 20 * 4).map(lambda quarter_days: NOW + quarter_days * 6 * HOUR)
LIFETIMES = st.sampled_from([0, HOUR, DAY, 7 * DAY])


@st.composite
def honest_records(draw: st.DrawFn) -> Record:
    time, life = draw(OFFSETS) + draw(st.integers(0, 2)), draw(LIFETIMES)
    lifetime = Lifetime(time + life, renewable=False) if life else DELETED
    draft = draft_record(SLOT, b"%d" % time if life else b"", time, lifetime, 0, PARAMETERS)
    return Record.sign(draft, draw(st.sampled_from(WRITERS)))


STEPS = st.lists(st.tuples(OFFSETS, st.integers(0, 7), st.booleans(), st.booleans()), min_size=4, max_size=30).map(sorted)


@settings(max_examples=300, deadline=None)
@given(st.lists(honest_records(), min_size=2, max_size=8), STEPS)
def test_nothing_older_comes_back_at_a_holder_in_any_order_of_delivery(
    records: list[Record], steps: list[tuple[int, int, bool, bool]]
) -> None:
    store = MemoryStore(Rules(namespaces=Namespaces(), parameters=PARAMETERS, limits=StoreLimits()))
    source = source_of(SourceKind.REPAIR)
    delivered: list[Record] = []
    for now, index, sweeps, bare in steps:
        record = records[index % len(records)]
        if record.version.time <= now:
            arriving = record.without_value() if bare and record.is_dead(now) else record
            _merge(store, arriving, source, now)
            delivered.append(record)
        if sweeps:
            store.sweep(now, done=lambda _: None)
        held = store.get(SLOT, now=now)
        reference = max(delivered, key=order, default=None)
        alive = reference is not None and not reference.is_dead(now)
        assert (held is not None and held.value is not None) == alive
        if held is not None:
            assert reference is not None
            assert held.digest == reference.digest
        assert (held is None) == (reference is None or reference.remember_until <= now)


def _merge(store: MemoryStore, record: Record, source: Source, now: int) -> Outcome:
    outcomes: list[Outcome] = []
    store.merge([record], source=source, now=now, done=outcomes.extend)
    return outcomes[0]
