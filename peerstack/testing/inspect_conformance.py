# ruff: noqa: D102 - a test's name says what it promises
"""What a lookup tells, and what a DHT that implements `peerstack.dht.contract.Inspect` lets be seen: part of `DhtConformance`."""

from __future__ import annotations

import asyncio
import json
import unittest
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from peerstack.dht.contract import Dht, HopOutcome, Inspect, Question, RefusalReason
from peerstack.errors import InvalidRecord, PeerstackError, QuorumNotMet, Unavailable, ValueTooLarge

if TYPE_CHECKING:
    from peerstack.identity import PeerId
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
    """Lookups and their traces; one request to one named peer; what is known without asking; forgetting who is gone for good."""

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

    async def test_a_server_that_lost_its_majority_acknowledges_again_once_it_is_told_to_forget(self) -> None:
        for size, refused in ((2, QuorumNotMet), (3, Unavailable)):
            async with self.network(size) as network:
                left, dead = network.dht(0), range(1, size)
                await left.put("key", b"old", ttl=3000, ack="all")
                for number in dead:
                    await network.crash(number)
                await raises(refused, left.put("key", b"undecided", ttl=3000))
                assert set(await _inspect(left).forget()) == {network.peer_id(number) for number in dead}
                put = await left.put("key", b"new", ttl=3000)
                assert (put.targets, put.acknowledged, put.promised) == ((network.peer_id(0),), (network.peer_id(0),), True)
                found = await left.get("key")
                assert (found.value, found.confirmed) == (b"new", True)

    async def test_nobody_is_forgotten_who_answers(self) -> None:
        async with self.network(4) as network:
            assert [await _inspect(network.dht(number)).forget() for number in range(4)] == [()] * 4
            before = await network.dht(0).put("key", b"value", ttl=3000, ack="all")
            await network.crash(3)
            for number in range(3):
                assert await _inspect(network.dht(number)).forget() == (network.peer_id(3),)
            left = {network.peer_id(number) for number in range(3)}
            await self.eventually(lambda: self._acknowledges(network, 0, left))
            found = await network.dht(1).get("key")
            assert (found.value, found.confirmed) == (b"value", True)
            assert found.record.version > before.version

    async def test_several_servers_that_are_left_acknowledge_again_once_each_is_told_to_forget(self) -> None:
        async with self.network(5) as network:
            for number in (2, 3, 4):
                await network.crash(number)
            keys = [f"key {index}" for index in range(6)]
            refusals = [await self._refused(network.dht(0), key) for key in keys]
            assert any(refusals)
            for number in (0, 1):
                forgotten = await _inspect(network.dht(number)).forget()
                assert set(forgotten) == {network.peer_id(dead) for dead in (2, 3, 4)}
            for number in (0, 1):
                await self.eventually(lambda: self._acknowledges(network, number, {network.peer_id(0), network.peer_id(1)}))  # noqa: B023  (awaited at once)
                assert not any([await self._refused(network.dht(number), key) for key in keys])

    async def test_a_forgotten_server_that_comes_back_is_counted_again_and_undoes_nothing(self) -> None:
        async with self.network(2) as network:
            await network.dht(0).put("key", b"old", ttl=3000, ack="all")
            await network.crash(1)
            await _inspect(network.dht(0)).forget()
            await network.dht(0).put("key", b"new", ttl=3000)
            await network.restart_with_disk(1)
            await self.eventually(lambda: self._acknowledges(network, 0, {network.peer_id(0), network.peer_id(1)}, key="another"))
            for number in range(2):
                found = await network.dht(number).get("key")
                assert (found.value, found.confirmed) == (b"new", True)

    async def eventually(self, check: Callable[[], Awaitable[bool]], *, within_s: float = 300.0) -> None:
        """Wait, in virtual time, until a check holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not await check():
            assert loop.time() < deadline, f"it does not hold after {within_s:g} s"
            await asyncio.sleep(1)

    async def _acknowledges(self, network: DhtNetwork, number: int, by: set[PeerId], *, key: str = "key") -> bool:
        """Whether a put is acknowledged, by certain servers and with no others responsible."""
        try:
            put = await network.dht(number).put(key, b"value", ttl=3000, ack="all")
        except PeerstackError:
            return False
        return put.promised and set(put.targets) == set(put.acknowledged) == by

    async def _refused(self, dht: Dht, key: str) -> bool:
        try:
            await dht.put(key, b"value", ttl=3000)
        except (QuorumNotMet, Unavailable):
            return True
        return False
