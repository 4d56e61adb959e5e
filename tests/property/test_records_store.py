"""The store in memory, against a reference that recomputes everything from the bare list of what it holds."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.policy import DELETED, Lifetime, draft_record
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MemoryStore, Occupancy, Outcome, Rules, Source, SourceKind, Status, StoreLimits, Usage, current, decide
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

NAMESPACES = Namespaces()
PARAMETERS = KADEMLIA_PRESETS["wan"]
LIMITS = StoreLimits(max_records=12, max_bytes=4000, client_share=0.8, group_share=0.6, sender_share=0.4)
RULES = Rules(namespaces=NAMESPACES, parameters=PARAMETERS, limits=LIMITS)
WRITER = RecordMaker.from_number(1).signer
SLOTS = [Slot("kv", b"key %d" % n, b"%d" % m) for n in range(4) for m in range(3)]
SOURCES = [source_of(SourceKind.CLIENT, n, group) for n, group in enumerate((b"a", b"a", b"b", b""))]
SOURCES += [source_of(SourceKind.LOCAL, 4), source_of(SourceKind.REPAIR, 5), source_of(SourceKind.HANDOFF, 0, b"a")]


class Reference:
    """A dictionary and no books."""

    def __init__(self) -> None:
        self.held: dict[Slot, tuple[Record, Source | None]] = {}

    def sweep(self, now: int) -> None:
        left = {slot: (current(record, now, RULES), payer) for slot, (record, payer) in self.held.items()}
        self.held = {slot: (record, payer) for slot, (record, payer) in left.items() if record is not None}

    def usage(self, *, key: bytes | None = None, sender: Source | None = None, group: bytes | None = None) -> Usage:
        chosen = [
            record.size
            for slot, (record, payer) in self.held.items()
            if (key is None or slot.key == key)
            and (sender is None or (payer is not None and payer.peer == sender.peer))
            and (group is None or (payer is not None and payer.ip_group == group))
        ]
        return Usage(len(chosen), sum(chosen))

    def merge(self, record: Record, source: Source, now: int) -> Outcome:
        self.sweep(now)
        held, payer = self.held.get(record.slot, (None, None))
        occupancy = Occupancy(self.usage(key=record.key), self.usage(), self.usage(sender=source), self.usage(group=source.ip_group))
        outcome = decide(record, held, occupancy, source, now, RULES)
        if outcome.status is Status.STORED:
            assert outcome.record is not None
            self.held[record.slot] = (outcome.record, source if source.kind is SourceKind.CLIENT else payer)
        return outcome


def draw_record(rng: random.Random, now: int) -> Record:
    slot, time = rng.choice(SLOTS), now - rng.randrange(3) * HOUR
    life = rng.choice([DELETED, Lifetime(time + HOUR, False), Lifetime(time + 48 * HOUR, True)])
    value = b"" if life is DELETED else bytes(rng.choice([0, 10, 400]))
    return Record.sign(draft_record(slot, value, time, life, 0, PARAMETERS), WRITER)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 64))
def test_the_books_agree_with_what_is_held(seed: int) -> None:
    rng = random.Random(seed)
    store, reference, now = MemoryStore(RULES), Reference(), NOW
    outcomes: list[Outcome] = []
    for _ in range(80):
        match rng.choice(["merge", "merge", "merge", "merge", "drop", "wait", "sweep"]):
            case "merge":
                record, source = draw_record(rng, now), rng.choice(SOURCES)
                expected = reference.merge(record, source, now)
                store.merge([record], source=source, now=now, done=outcomes.extend)
                assert outcomes.pop() == expected
            case "drop" if reference.held:
                slot = rng.choice(list(reference.held))
                store.drop([reference.held.pop(slot)[0]], done=lambda _: None)
            case "wait":
                now += int(rng.choice([0.01, 1, 30]) * HOUR * rng.random())
            case _:
                reference.sweep(now)
                store.sweep(now, done=lambda _: None)
        reads = {slot: current(record, now, RULES) for slot, (record, _) in reference.held.items()}
        assert {slot: store.get(slot, now=now) for slot in SLOTS} == {slot: reads.get(slot) for slot in SLOTS}
        expected_walk = sorted((record for record in reads.values() if record is not None), key=lambda r: (r.position, r.subkey))
        assert store.scan(bytes(32), None, now=now) == expected_walk
        assert store.usage == reference.usage()
        assert store.usage.within(LIMITS.total)
    forgotten = now + 100 * 24 * HOUR
    store.sweep(forgotten, done=lambda _: None)
    assert store.usage == Usage(0, 0)
