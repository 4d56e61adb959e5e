"""Nothing older than an acknowledged write comes back: a few holders, skewed clocks, late and repeated messages, sweeps, deletes, renewals.

Holders never change here (who is responsible is the DHTs' business); what is under test is the record's own memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.dht.clock import MICROSECONDS, HybridClock
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS, NetworkParameters
from peerstack.dht.policy import DELETED, draft_record, draft_renewal, lifetime
from peerstack.dht.quorum import GetTally, Placement, PutTally, ReadVerdict
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MemoryStore, Outcome, Rules, SourceKind
from peerstack.identity import PeerId
from peerstack.testing.store_conformance import NOW, RecordMaker, source_of

SLOT = Slot("kv", b"key")
KV = Namespaces()["kv"]
REPAIR = source_of(SourceKind.REPAIR)
MINUTE = 60 * MICROSECONDS
SKEW_US = 15 * MINUTE // 2
"""Clocks are right to this much, so that no two differ by more than what the rules allow for."""


def nearest(position: bytes, peers: Iterable[PeerId]) -> list[PeerId]:
    return sorted(peers)


@dataclass
class Writer:
    maker: RecordMaker
    skew: int
    clock: HybridClock = field(default_factory=HybridClock)
    latest: Record | None = None
    acknowledged_expiry: int = 0
    superseded: bool = False


class Network:
    """`n` holders of one slot, and whoever writes it."""

    def __init__(self, parameters: NetworkParameters, skews: list[int], writer_skews: list[int]) -> None:
        rules = Rules(namespaces=Namespaces(), parameters=parameters)
        self.parameters = parameters
        self.now = NOW
        self.skews = skews
        self.peers = [PeerId(b"\x00\x01" + bytes([n])) for n in range(len(skews))]
        self.stores = [MemoryStore(rules) for _ in skews]
        self.placement = Placement(len(skews), nearest)
        self.writers = [Writer(RecordMaker.from_number(n), skew) for n, skew in enumerate(writer_skews)]
        self.signed: list[Record] = []
        self.acknowledged: list[Record] = []

    def held(self, holder: int) -> Record | None:
        return self.stores[holder].get(SLOT, now=self.now + self.skews[holder])

    def deliver(self, record: Record, holder: int) -> Outcome:
        now = self.now + self.skews[holder]
        outcomes: list[Outcome] = []
        arriving = record.without_value() if record.is_dead(now) else record
        self.stores[holder].merge([arriving], source=REPAIR, now=now, done=outcomes.extend)
        return outcomes[0]

    def read(self, holders: set[int]) -> GetTally:
        tally = GetTally(SLOT.position, KV, self.placement, known=self.peers)
        for holder in sorted(holders):
            record = self.held(holder)
            tally.answer(self.peers[holder], [] if record is None else [record], authoritative=True)
        return tally

    def write(self, writer: Writer, ttl: float | None, *, delete: bool, ask: set[int], reach: set[int]) -> None:
        """A put or a delete, as the rules want it: a look-up that is confirmed, one version past it, a majority of acknowledgements."""
        looked_up = self.read(ask)
        if not looked_up.confirmed:
            return
        wall, best = self.now + writer.skew, looked_up.best()
        if best is not None and not writer.clock.observe(best.version.time, wall):
            return
        life = DELETED if delete else lifetime(ttl, wall, self.parameters)
        value = b"" if delete else b"value %d" % len(self.signed)
        seen = 0 if best is None else best.remember_until
        record = Record.sign(draft_record(SLOT, value, writer.clock.next(wall), life, seen, self.parameters), writer.maker.signer)
        writer.latest, writer.acknowledged_expiry, writer.superseded = record, 0, False
        self.send(writer, record, reach)

    def renew(self, writer: Writer, reach: set[int]) -> None:
        if writer.latest is None or writer.superseded:
            return
        draft = draft_renewal(writer.latest, writer.acknowledged_expiry, self.now + writer.skew, self.parameters)
        if draft is not None:
            writer.latest = Record.sign(draft, writer.maker.signer)
            self.send(writer, writer.latest, reach)

    def send(self, writer: Writer, record: Record, reach: set[int]) -> None:
        self.signed.append(record)
        tally = PutTally(record, KV, self.placement, known=self.peers)
        for holder in sorted(reach):
            tally.answer(self.peers[holder], self.deliver(record, holder).refusal(), authoritative=True)
        writer.superseded = writer.superseded or tally.superseded_by is not None
        if tally.satisfied:
            writer.acknowledged_expiry = max(writer.acknowledged_expiry, record.expires_at)
            self.acknowledged.append(record)

    def check(self, holders: set[int], skew: int) -> None:
        """Read, and hold the answer against everything that was ever acknowledged."""
        tally = self.read(holders)
        if not tally.confirmed or not self.acknowledged:
            return
        clock = self.now + skew
        greatest = max(record.version for record in self.acknowledged)
        verdict, best = tally.verdict(b"", clock, exhausted=True), tally.best()
        if verdict is ReadVerdict.FOUND:
            assert best is not None
            assert best.version >= greatest, "something older came back"
            assert any(best.header == record.header for record in self.signed)
            return
        assert verdict is ReadVerdict.NOT_FOUND
        newest = max(record.version for record in self.signed)
        expiry = max(record.expires_at for record in self.acknowledged if record.version == greatest)
        # Where nobody tried to write anything newer, the acknowledged record lives as long as it was acknowledged for, on every clock.
        assert newest > greatest or expiry <= self.now + SKEW_US, "an acknowledged record is gone before its time"


ACTIONS = {"put": 2, "renewable": 2, "delete": 1, "renew": 5, "replay": 4, "repair": 2, "sweep": 2, "wait": 8}


class Schedule:
    """Everything that happens, drawn from one seed."""

    def __init__(self, seed: int, parameters: NetworkParameters, holders: int) -> None:
        self.random = random.Random(seed)
        # At the edge of what is allowed for as often as inside it.
        skews = [self.random.choice([-SKEW_US, SKEW_US, self.random.randint(-SKEW_US, SKEW_US)]) for _ in range(holders + 3)]
        self.network = Network(parameters, skews[:holders], skews[holders:])
        self.everybody = set(range(holders))

    def some(self) -> set[int]:
        return {holder for holder in sorted(self.everybody) if self.random.random() < 0.65}

    def step(self) -> None:
        network, writer = self.network, self.random.choice(self.network.writers)
        match self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]:
            case "put":
                ttl = network.parameters.max_ttl_s * self.random.choice([0.001, 0.1, 1])
                network.write(writer, ttl, delete=False, ask=self.some(), reach=self.some())
            case "renewable":
                network.write(writer, None, delete=False, ask=self.some(), reach=self.some())
            case "delete":
                network.write(writer, None, delete=True, ask=self.some(), reach=self.some())
            case "renew":
                network.renew(writer, self.some())
            case "replay":
                late = self.random.choice(network.signed) if network.signed else None
                self.pass_on(late)
            case "repair":
                self.pass_on(network.held(self.random.choice(sorted(self.everybody))))
            case "sweep":
                for holder in sorted(self.some()):
                    network.stores[holder].sweep(network.now + network.skews[holder], done=lambda _: None)
            case "wait":
                network.now += int(
                    network.parameters.max_ttl_us * self.random.choice([0.0001, 0.01, 0.13, 0.26, 0.99]) * self.random.random()
                )
        for holders in (self.everybody, self.some(), self.some()):
            for skew in (-SKEW_US, SKEW_US):
                network.check(holders, skew)

    def pass_on(self, record: Record | None) -> None:
        for holder in sorted(self.some()):
            if record is not None:
                self.network.deliver(record, holder)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 64), parameters=st.sampled_from(list(KADEMLIA_PRESETS.values())), holders=st.sampled_from([1, 2, 3, 5]))
def test_nothing_older_than_an_acknowledged_write_comes_back(seed: int, parameters: NetworkParameters, holders: int) -> None:
    schedule = Schedule(seed, parameters, holders)
    for _ in range(150):
        schedule.step()


def test_a_delete_outlives_what_a_writer_that_is_cut_off_may_still_renew() -> None:
    for parameters in KADEMLIA_PRESETS.values():
        network = Network(parameters, [0, 0, 0], [0, 0])
        cut_off, other = network.writers
        network.write(cut_off, None, delete=False, ask={0, 1}, reach={0, 1, 2})
        assert cut_off.latest is not None
        network.write(other, None, delete=True, ask={0, 1}, reach={0, 1})
        network.now = cut_off.latest.expires_at - 1
        network.renew(cut_off, {2})
        renewed = cut_off.latest
        assert network.held(2) == renewed
        network.now = renewed.expires_at - 1
        network.renew(cut_off, {2})
        assert cut_off.latest is renewed, "what was not acknowledged is not renewed again"
        network.check({0, 2}, 0)
        assert network.read({0, 2}).verdict(b"", network.now, exhausted=True) is ReadVerdict.NOT_FOUND


def test_a_delete_is_remembered_for_the_difference_of_the_clocks_too() -> None:
    for parameters in KADEMLIA_PRESETS.values():
        network = Network(parameters, [SKEW_US, SKEW_US, -SKEW_US], [SKEW_US, -SKEW_US])
        fast, slow = network.writers
        network.write(fast, parameters.max_ttl_s, delete=False, ask={0, 1}, reach={0, 1, 2})
        network.write(slow, None, delete=True, ask={0, 1}, reach={0, 1})
        assert fast.latest is not None
        network.now = fast.latest.expires_at + SKEW_US - 1  # the last moment of the value on the slowest clock
        assert network.held(2) == fast.latest
        network.check({0, 2}, -SKEW_US)
        network.check({1, 2}, -SKEW_US)
