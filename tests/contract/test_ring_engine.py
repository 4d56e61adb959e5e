"""The DHT suite on the data engine over the ring, with the simplest of tables: whoever was heard of is known, and asked.

It shows that the engine depends on nothing but its `Geometry` and `Routing`: the promises hold without fingers and successor lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from peerstack_chord.geometry import RingGeometry

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.parameters import CHORD_PRESETS, NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.geometry import closest
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.routing import Ask
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht.replica.topology import describe, describe_peer
from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.sim.node_network import NodeOptions, SimulatedNetwork

RING = RingGeometry()
STALE_AFTER = 5


@dataclass(slots=True)
class Entry:
    contact: Contact
    last_heard: float
    failures: int = 0

    @property
    def stale(self) -> bool:
        return self.failures >= STALE_AFTER


class FlatLookup:
    """Asks the first of a position's servers, and whoever they name before them, until the first `count` have answered."""

    def __init__(self, target: int, seeds: Iterable[Contact], *, own: int, count: int, trips: RoundTrips, now: float) -> None:
        self._target = target
        self._own = own
        self._count = count
        self._trips = trips
        self._began = now
        self._known: dict[int, Contact] = {}
        self._hops: dict[int, Hop] = {}
        self._learn(seeds)

    def next(self, now: float) -> list[Ask]:
        asks = []
        for key in self._useful():
            if key not in self._hops:
                contact = self._known[key]
                distance = RING.distance_from(self._target)(key)
                self._hops[key] = Hop(
                    peer=contact.peer_id,
                    distance=distance,
                    depth=1,
                    path=0,
                    sent_at=now - self._began,
                    seconds=0.0,
                    outcome=HopOutcome.PENDING,
                    learned=0,
                )
                asks.append(Ask(contact, self._trips.timeout(key)))
        return asks

    def on_reply(self, peer: Contact, closer: Sequence[Contact], now: float) -> None:
        self._settle(peer, HopOutcome.ANSWERED, now)
        self._learn(closer)

    def on_failure(self, peer: Contact, now: float, outcome: HopOutcome = HopOutcome.TIMEOUT) -> None:
        self._settle(peer, outcome, now)

    def deadline(self) -> float | None:
        return None

    def extend(self, count: int) -> None:
        self._count = max(self._count, count)

    @property
    def done(self) -> bool:
        return all(key in self._hops and self._hops[key].outcome is HopOutcome.ANSWERED for key in self._useful())

    @property
    def complete(self) -> bool:
        return self.done and bool(self._useful())

    @property
    def converged(self) -> bool:
        return self.complete

    def result(self) -> list[Contact]:
        return [self._known[key] for key in self._useful() if key in self._hops and self._hops[key].outcome is HopOutcome.ANSWERED]

    def trace(self, now: float) -> tuple[Hop, ...]:
        ended = now - self._began
        return tuple(replace(hop, seconds=ended - hop.sent_at) if hop.outcome is HopOutcome.PENDING else hop for hop in self._hops.values())

    def _useful(self) -> list[int]:
        dead = {key for key, hop in self._hops.items() if hop.outcome not in (HopOutcome.PENDING, HopOutcome.ANSWERED)}
        return closest(RING, self._known.keys() - dead, self._target, self._count)

    def _learn(self, contacts: Iterable[Contact]) -> None:
        self._known.update((contact.key, contact) for contact in contacts if contact.key != self._own and contact.key not in self._known)

    def _settle(self, peer: Contact, outcome: HopOutcome, now: float) -> None:
        hop = self._hops[peer.key]
        self._hops[peer.key] = replace(hop, seconds=now - self._began - hop.sent_at, outcome=outcome)


class FlatTable:
    """Everybody who was heard of."""

    def __init__(self, own: int) -> None:
        self.revision = 0
        self._own = own
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: int) -> Entry | None:
        return self._entries.get(key)

    def heard(self, contact: Contact, now: float) -> None:
        if contact.key != self._own:
            self.revision += contact.key not in self._entries
            self._entries[contact.key] = Entry(contact, now)

    def failed(self, key: int) -> None:
        if (entry := self._entries.get(key)) is not None:
            entry.failures += 1

    def remove(self, key: int) -> None:
        if self._entries.pop(key, None) is not None:
            self.revision += 1

    def forget_silent(self, before: float) -> list[Contact]:
        silent = [entry.contact for entry in self if entry.failures and entry.last_heard < before]
        for contact in silent:
            self.remove(contact.key)
        return silent

    def stale(self) -> list[Contact]:
        return [entry.contact for entry in self if entry.stale]

    def closest(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        fit = [entry.contact.key for entry in self if not entry.stale and entry.contact.key != exclude]
        return [self._entries[key].contact for key in closest(RING, fit, target, count)]

    def leading_to(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        return self.closest(target, count, exclude=exclude)

    def begin_lookup(self, target: int, seeds: Iterable[Contact], *, count: int, trips: RoundTrips, now: float) -> FlatLookup:
        return FlatLookup(target, seeds, own=self._own, count=count, trips=trips, now=now)

    def looked_up(self, target: int, now: float) -> None:
        pass

    def adopt(self, parameters: NetworkParameters) -> None:
        pass


class RingNode(DhtNode):
    """Joins by asking for everybody."""

    def __init__(self, parts: NodeParts) -> None:
        self._table = FlatTable(parts.own.key)
        self._considered: set[int] = set()
        super().__init__(parts, geometry=RING, routing=self._table)

    def topology(self) -> dict[str, Any]:
        return {**describe(self.engine, "ring"), "ring": [describe_peer(self.engine, entry) for entry in self._table]}

    def _join(self) -> None:
        own = self.engine.own
        request = FindNode(own.peer_id.to_bytes(), own.key)
        Locate(self.engine, request, count=100, timeout=60.0, finished=self._located).start()

    def _located(self, locate: Locate) -> None:
        self._found_surroundings([contact for contact in locate.contacts if contact.key != self.engine.own.key])

    def _attend(self) -> None:
        for entry in list(self._table):
            key = entry.contact.key
            if entry.stale:
                self.acquaintances.lost(entry.contact)
                self._considered.discard(key)
            elif key not in self._considered:
                self._considered.add(key)
                self.acquaintances.heard(key)
                self.membership.consider(entry.contact)

    def _set_timers(self) -> None:
        pass


class SimulatedRing(SimulatedNetwork[RingNode]):
    """A network of them."""

    preset = CHORD_PRESETS["local"]
    geometry = RING

    def make_node(self, parts: NodeParts, _options: NodeOptions) -> RingNode:
        return RingNode(parts)


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestTheDataEngineOnTheRing(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        return await SimulatedRing.open(size)
