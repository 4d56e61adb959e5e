# ruff: noqa: D102 - a test's name says what it promises
"""What a lookup tells, and what a DHT that implements `peerstack.dht.contract.Inspect` lets be seen: part of `DhtConformance`."""

from __future__ import annotations

import json
import unittest
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from peerstack.dht.contract import Dht, HopOutcome, Inspect, Question, RefusalReason
from peerstack.errors import InvalidRecord, PeerstackError, ValueTooLarge

if TYPE_CHECKING:
    from peerstack.testing.dht_conformance import DhtNetwork

__all__ = ["InspectConformance", "raises"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


async def raises(kind: type[ErrorT], call: Awaitable[object]) -> ErrorT:
    """Await a call that has to fail with an error of a kind, and return the error."""
    try:
        result = await call
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}: {result!r}")


def _inspect(dht: Dht) -> Inspect:
    if not isinstance(dht, Inspect):
        raise unittest.SkipTest("this DHT does not implement Inspect")
    return dht


class InspectConformance(ABC):
    """Lookups and their traces; one request to one named peer; what is known without asking."""

    @abstractmethod
    def network(self, size: int) -> AbstractAsyncContextManager[DhtNetwork]:
        """A network for the time of a block."""

    # -- lookups ---------------------------------------------------------------------------------------------------------------------

    async def test_a_trace_tells_of_every_request_of_a_lookup_in_order(self) -> None:
        async with self.network(8) as network:
            client = await network.add_client()
            lookup = await client.lookup("key", trace=True)
            servers = {network.peer_id(number) for number in range(8)}
            assert lookup.complete
            assert len(lookup.position) == 32
            asked = [hop.peer for hop in lookup.hops]
            assert set(lookup.peers) <= set(asked) <= servers
            assert len(set(asked)) == len(asked)
            sent = [hop.sent_at for hop in lookup.hops]
            assert sent == sorted(sent)
            for hop in lookup.hops:
                assert hop.outcome in (HopOutcome.ANSWERED, HopOutcome.PENDING)
                assert (hop.distance >= 0, hop.depth >= 1, hop.path >= 0, hop.seconds > 0) == (True, True, True, True)

    async def test_the_responsible_stand_in_the_order_of_their_distance(self) -> None:
        async with self.network(8) as network:
            client = await network.add_client()
            lookup = await client.lookup("key", trace=True)
            distances = {hop.peer: hop.distance for hop in lookup.hops}
            assert list(lookup.peers) == sorted(lookup.peers, key=distances.__getitem__)

    async def test_a_lookup_without_trace_keeps_none(self) -> None:
        async with self.network(3) as network:
            lookup = await network.dht(1).lookup("key")
            assert (lookup.key, lookup.hops) == (b"key", ())

    async def test_a_node_that_does_not_answer_is_traced_as_such_and_not_among_the_responsible(self) -> None:
        async with self.network(6) as network:
            client = await network.add_client()
            lookup = await client.lookup("key")
            dead = lookup.peers[0]
            (number,) = network.numbers((dead,))
            await network.crash(number)
            lookup = await client.lookup("key", trace=True)
            assert dead not in lookup.peers
            assert all(hop.outcome is not HopOutcome.ANSWERED for hop in lookup.hops if hop.peer == dead)

    # -- Inspect ---------------------------------------------------------------------------------------------------------------------

    async def test_one_named_peer_is_asked_each_question(self) -> None:
        async with self.network(5) as network:
            put = await network.dht(0).put("key", b"value", ttl=600, ack="all")
            holder = put.targets[0]
            (number,) = (other for other in range(5) if network.peer_id(other) == holder)
            asker = _inspect(network.dht((number + 1) % 5))
            pong = await asker.ask(holder, Question(kind="ping"))
            assert (pong.peer, pong.seconds > 0, pong.record, pong.peers) == (holder, True, None, ())
            nodes = await asker.ask(holder, Question(kind="find-node", key="key"))
            assert nodes.peers
            assert nodes.record is None
            found = await asker.ask(holder, Question(kind="find-value", key="key"))
            assert found.record is not None
            assert (found.record.value, found.authoritative, found.refusal) == (b"value", True, None)
            nothing = await asker.ask(holder, Question(kind="find-value", key="key", subkey="another"))
            assert nothing.record is None
            stored = await asker.ask(holder, Question(kind="store", key="key", value=b"later", ttl=600))
            assert stored.refusal is None
            assert stored.record is not None
            assert stored.record.value == b"later"
            again = await asker.ask(holder, Question(kind="find-value", key="key"))
            assert again.record == stored.record

    async def test_a_store_that_one_peer_refuses_says_why(self) -> None:
        async with self.network(4) as network:
            asker, holder = _inspect(network.dht(0)), network.peer_id(1)
            await raises(InvalidRecord, asker.ask(holder, Question(kind="store", key="key", value=b"x", ttl=10**9)))
            await raises(ValueTooLarge, asker.ask(holder, Question(kind="store", key="key", value=bytes(1 << 17))))
            answer = await asker.ask(holder, Question(kind="store", namespace="hash", key=bytes(32), value=b"not its hash", ttl=600))
            assert answer.refusal is not None
            assert answer.refusal.reason is RefusalReason.INVALID

    async def test_a_dead_peer_does_not_answer_in_time(self) -> None:
        async with self.network(3) as network:
            asker, dead = _inspect(network.dht(0)), network.peer_id(2)
            await network.crash(2)
            await raises(PeerstackError, asker.ask(dead, Question(kind="ping"), timeout=3))

    async def test_the_closest_known_are_servers_closest_first_and_no_more_than_asked_for(self) -> None:
        async with self.network(8) as network:
            client = await network.add_client()
            known = _inspect(client).closest("key", count=20)
            assert set(known) <= {network.peer_id(number) for number in range(8)}
            distances = {hop.peer: hop.distance for hop in (await client.lookup("key", trace=True)).hops}
            order = [distances[peer] for peer in known if peer in distances]
            assert order == sorted(order)
            assert list(_inspect(client).closest("key", count=1)) == list(known[:1])

    async def test_the_topology_is_plain_data(self) -> None:
        async with self.network(4) as network:
            topology = _inspect(network.dht(1)).topology()
            assert json.loads(json.dumps(topology)) == topology
            assert topology["peer"] == str(network.peer_id(1))
            assert bytes.fromhex(topology["position"])
            assert topology["kind"]
            assert str(network.peer_id(0)) in json.dumps(topology)
