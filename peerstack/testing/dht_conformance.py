# ruff: noqa: D102 - a test's name says what it promises
"""What every DHT must do, whoever wrote it: the promises of `peerstack.dht.contract.Dht`.

Subclass `DhtConformance`, say how to make a network, and let pytest collect it on a loop in virtual time::

    @pytest.mark.asyncio(loop_factories=["virtual"])
    class TestMyDht(DhtConformance):
        async def make_network(self, size: int) -> DhtNetwork:
            return await MyNetwork.open(size)

The network's parameters are the `local` preset's (three replicas).
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from peerstack.dht.contract import Dht, PutResult, RefusalReason
from peerstack.dht.namespaces import own_key
from peerstack.dht.quorum import majority
from peerstack.dht.records import MAX_KEY_BYTES, MAX_SUBKEY_BYTES, MAX_VALUE_BYTES
from peerstack.errors import InvalidRecord, KeyNotFound, PeerstackError, QuorumNotMet, Unavailable, ValueTooLarge
from peerstack.identity import PeerId
from peerstack.testing.inspect_conformance import InspectConformance, raises

__all__ = ["DhtConformance", "DhtNetwork", "raises"]


_REPLICAS = 3
_REPAIR_S = 5.0
_FORGET_S = 180.0
_LIFETIME_S = 3600.0  # the local preset's max_ttl, and so of a record without ttl


class DhtNetwork(ABC):
    """Some servers of one DHT, by number, and clients; number 0 founded it."""

    @abstractmethod
    def dht(self, number: int) -> Dht:
        """The DHT of a server that is up."""

    @abstractmethod
    def peer_id(self, number: int) -> PeerId:
        """Its peer id."""

    @abstractmethod
    async def add(self) -> int:
        """Start another server, wait until its word counts, and return its number."""

    @abstractmethod
    async def add_client(self) -> Dht:
        """Start a node that serves nobody, and wait until it can ask."""

    @abstractmethod
    async def crash(self, number: int) -> None:
        """Kill a server: it says nothing any more, and its store in memory is gone."""

    @abstractmethod
    async def restart(self, number: int) -> None:
        """Start a crashed server again, under its identity, with an empty store; wait until its word counts."""

    @abstractmethod
    async def restart_with_disk(self, *numbers: int) -> None:
        """Start crashed servers again, all at once, with what their disks hold; wait until the word of each counts."""

    @abstractmethod
    async def leave(self, number: int) -> None:
        """Let a server leave gracefully, and be gone."""

    @abstractmethod
    async def partition(self, *sides: set[int]) -> None:
        """Cut the network into sides of servers."""

    @abstractmethod
    async def heal(self) -> None:
        """Undo `partition`."""

    @abstractmethod
    async def close(self) -> None:
        """Stop everything."""

    def numbers(self, peers: tuple[PeerId, ...]) -> list[int]:
        """The numbers of peers."""
        known = {self.peer_id(number): number for number in range(self.size)}
        return [known[peer] for peer in peers]

    @property
    @abstractmethod
    def size(self) -> int:
        """Servers ever started: numbers are below it."""


class DhtConformance(InspectConformance, ABC):
    """The promises. Every test is a coroutine and takes place in virtual time."""

    @abstractmethod
    async def make_network(self, size: int) -> DhtNetwork:
        """Start `size` servers of one network, each of whose word counts."""

    @asynccontextmanager
    async def network(self, size: int) -> AsyncIterator[DhtNetwork]:
        """A network for the time of a block."""
        network = await self.make_network(size)
        try:
            yield network
        finally:
            await network.close()

    # -- one value -------------------------------------------------------------------------------------------------------------------

    async def test_what_one_node_puts_every_node_gets(self) -> None:
        async with self.network(6) as network:
            put = await network.dht(0).put("greeting", b"hello", ttl=600)
            assert put.promised
            for number in range(6):
                found = await network.dht(number).get("greeting")
                assert (found.value, found.confirmed) == (b"hello", True)
                assert found.record.version == put.version

    async def test_a_network_of_one_works(self) -> None:
        async with self.network(1) as network:
            dht = network.dht(0)
            put = await dht.put("key", b"value", ttl=600)
            assert (put.targets, put.acknowledged, put.needed) == ((network.peer_id(0),), (network.peer_id(0),), 1)
            found = await dht.get("key")
            assert (found.value, found.confirmed, found.local) == (b"value", True, True)
            await dht.delete("key")
            await raises(KeyNotFound, dht.get("key"))

    async def test_a_client_puts_and_gets_and_holds_nothing(self) -> None:
        async with self.network(5) as network:
            client = await network.add_client()
            put = await client.put("key", b"value", ttl=600)
            servers = {network.peer_id(number) for number in range(5)}
            assert set(put.stored) <= servers
            assert len(put.targets) == _REPLICAS
            assert (await network.dht(4).get("key")).value == b"value"
            assert (await client.get("key")).confirmed

    async def test_a_value_is_stored_on_the_responsible_nodes_and_all_nodes_agree_who_they_are(self) -> None:
        async with self.network(8) as network:
            put = await network.dht(3).put("key", b"value", ttl=600, ack="all")
            assert len(put.targets) == _REPLICAS
            assert set(put.acknowledged) == set(put.targets)
            for number in range(8):
                assert (await network.dht(number).lookup("key")).peers == put.targets

    async def test_a_later_put_supersedes_whoever_writes(self) -> None:
        async with self.network(5) as network:
            for turn in range(8):
                await network.dht(turn % 5).put("key", b"value %d" % turn, ttl=600)
                assert (await network.dht((turn + 2) % 5).get("key")).value == b"value %d" % turn

    async def test_empty_and_largest_values_and_keys_are_kept_whole(self) -> None:
        async with self.network(3) as network:
            largest = hashlib.sha256(b"x").digest() * (MAX_VALUE_BYTES // 32)
            for key, subkey, value in ((b"", b"", b""), (b"k" * MAX_KEY_BYTES, b"s" * MAX_SUBKEY_BYTES, largest), (b"/a/\x00", b"/", b"v")):
                await network.dht(0).put(key, value, subkey=subkey, ttl=600)
                assert (await network.dht(2).get(key, subkey=subkey)).value == value

    async def test_a_str_key_is_its_utf8_bytes(self) -> None:
        async with self.network(2) as network:
            await network.dht(0).put("schlüssel", b"value", ttl=600)
            assert (await network.dht(1).get("schlüssel".encode())).value == b"value"

    async def test_what_is_too_large_is_refused_before_anything_is_sent(self) -> None:
        async with self.network(2) as network:
            dht = network.dht(0)
            await raises(ValueTooLarge, dht.put(b"k" * (MAX_KEY_BYTES + 1), b"", ttl=600))
            await raises(ValueTooLarge, dht.put(b"k", b"", subkey=b"s" * (MAX_SUBKEY_BYTES + 1), ttl=600))
            await raises(ValueTooLarge, dht.put(b"k", b"v" * (MAX_VALUE_BYTES + 1), ttl=600))
            await raises(InvalidRecord, dht.put(b"k", b"v", ttl=_LIFETIME_S + 1))
            await raises(InvalidRecord, dht.put(b"k", b"v", namespace="unheard-of", ttl=600))
            await raises(KeyNotFound, network.dht(1).get(b"k"))

    # -- absence and deletion ----------------------------------------------------------------------------------------------------------

    async def test_a_key_nobody_wrote_is_confirmed_as_not_found(self) -> None:
        async with self.network(5) as network:
            for number in range(5):
                await raises(KeyNotFound, network.dht(number).get("nothing"))

    async def test_a_deleted_value_is_not_found_and_can_be_written_again(self) -> None:
        async with self.network(5) as network:
            await network.dht(0).put("key", b"old", ttl=600)
            deleted = await network.dht(1).delete("key")
            assert deleted.promised
            assert deleted.expires_at == 0
            for number in range(5):
                await raises(KeyNotFound, network.dht(number).get("key"))
            await network.dht(2).put("key", b"new", ttl=600)
            assert (await network.dht(3).get("key")).value == b"new"

    async def test_a_value_ends_with_its_ttl_and_its_memory_keeps_older_ones_away(self) -> None:
        async with self.network(4) as network:
            await network.dht(0).put("key", b"long", ttl=3000)
            await network.dht(1).put("key", b"short", ttl=60)
            await asyncio.sleep(59)
            assert (await network.dht(2).get("key")).value == b"short"
            await asyncio.sleep(2)
            for number in range(4):
                await raises(KeyNotFound, network.dht(number).get("key"))

    async def test_a_record_without_ttl_lives_while_its_writer_runs_and_ends_after_it(self) -> None:
        async with self.network(4) as network:
            put = await network.dht(0).put("key", b"value")
            await asyncio.sleep(3 * _LIFETIME_S)
            found = await network.dht(1).get("key")
            assert found.value == b"value"
            assert found.record.version == put.version
            assert found.record.expires_at > put.expires_at
            await network.leave(0)
            await asyncio.sleep(_LIFETIME_S + 1)
            await raises(KeyNotFound, network.dht(1).get("key"))

    async def test_renewal_ends_when_somebody_else_writes(self) -> None:
        async with self.network(4) as network:
            await network.dht(0).put("key", b"renewed")
            await network.dht(1).put("key", b"other", ttl=_LIFETIME_S)
            await asyncio.sleep(0.9 * _LIFETIME_S)
            assert (await network.dht(2).get("key")).value == b"other"
            await asyncio.sleep(0.2 * _LIFETIME_S)
            await raises(KeyNotFound, network.dht(2).get("key"))

    # -- subkeys ---------------------------------------------------------------------------------------------------------------------

    async def test_subkeys_are_written_and_read_one_by_one_and_together(self) -> None:
        async with self.network(5) as network:
            puts: list[PutResult] = []
            for number in range(4):
                subkey = b"from %d" % number
                puts.append(await network.dht(number).put("set", b"value %d" % number, subkey=subkey, ttl=600))
            assert (await network.dht(4).get("set", subkey="from 2")).value == b"value 2"
            await raises(KeyNotFound, network.dht(4).get("set"))
            records = await network.dht(4).get_all("set")
            assert [(record.subkey, record.value) for record in records] == [(b"from %d" % n, b"value %d" % n) for n in range(4)]
            later = await network.dht(4).get_all("set", since=puts[1].version.time)
            assert [record.subkey for record in later] == [b"from 2", b"from 3"]
            await network.dht(0).delete("set", subkey="from 1")
            assert [record.subkey for record in await network.dht(3).get_all("set")] == [b"from 0", b"from 2", b"from 3"]

    async def test_the_set_of_a_key_nobody_wrote_is_empty(self) -> None:
        async with self.network(4) as network:
            assert await network.dht(1).get_all("nothing") == []

    async def test_a_new_subkey_on_a_full_set_is_refused_and_nothing_is_evicted(self) -> None:
        async with self.network(3) as network:
            for index in range(4):
                await network.dht(index % 3).put("set", bytes(60_000), subkey=b"%d" % index, ttl=600)
            error = await raises(QuorumNotMet, network.dht(0).put("set", bytes(60_000), subkey=b"more", ttl=600))
            assert isinstance(error.result, PutResult)
            assert {refusal.reason for refusal in error.result.refused.values()} == {RefusalReason.FULL}
            assert len(await network.dht(1).get_all("set")) == 4

    # -- namespaces ------------------------------------------------------------------------------------------------------------------

    async def test_only_its_owner_writes_an_own_key(self) -> None:
        async with self.network(4) as network:
            key = own_key(network.peer_id(1), b"profile")
            await raises(InvalidRecord, network.dht(0).put(key, b"forged", namespace="own", ttl=600))
            await network.dht(1).put(key, b"mine", namespace="own", ttl=600)
            assert (await network.dht(2).get(key, namespace="own")).value == b"mine"

    async def test_a_hash_key_names_its_value_and_is_never_deleted(self) -> None:
        async with self.network(4) as network:
            value = b"content"
            key = hashlib.sha256(value).digest()
            await raises(InvalidRecord, network.dht(0).put(key, b"something else", namespace="hash", ttl=600))
            await network.dht(0).put(key, value, namespace="hash", ttl=600)
            await network.dht(1).put(key, value, namespace="hash", ttl=300)
            assert (await network.dht(2).get(key, namespace="hash")).value == value
            await raises(InvalidRecord, network.dht(0).delete(key, namespace="hash"))

    async def test_namespaces_do_not_share_keys(self) -> None:
        async with self.network(3) as network:
            key = own_key(network.peer_id(0), b"")
            await network.dht(0).put(key, b"own", namespace="own", ttl=600)
            await raises(KeyNotFound, network.dht(1).get(key, namespace="kv"))

    # -- truth -----------------------------------------------------------------------------------------------------------------------

    async def test_acknowledged_means_a_majority_really_holds_it(self) -> None:
        async with self.network(6) as network:
            put = await network.dht(0).put("key", b"value", ttl=600)
            assert len(put.acknowledged) >= put.needed == majority(len(put.targets))
            assert set(put.acknowledged) <= set(put.targets)

    async def test_what_is_acknowledged_survives_the_crash_of_all_but_one_who_acknowledged(self) -> None:
        for keep in range(2):
            async with self.network(6) as network:
                put = await network.dht(0).put("key", b"value", ttl=600)
                holders = network.numbers(put.acknowledged)
                survivor = holders[keep]
                for number in holders:
                    if number != survivor:
                        await network.crash(number)
                reader = next(number for number in range(6) if number not in holders)
                assert (await network.dht(reader).get("key", timeout=30)).value == b"value"

    async def test_without_a_majority_nothing_is_acknowledged_and_absence_is_not_claimed(self) -> None:
        async with self.network(3) as network:
            await network.dht(0).put("old", b"value", ttl=600)
            await network.crash(1)
            await network.crash(2)
            dht = network.dht(0)
            found = await dht.get("old", timeout=20)
            assert (found.value, found.confirmed) == (b"value", False)
            await raises(Unavailable, dht.get("old", quorum=2, timeout=20))
            await raises(Unavailable, dht.get("nothing", timeout=20))
            await raises(Unavailable, dht.get_all("nothing", timeout=20))
            await raises(Unavailable, dht.put("old", b"newer", ttl=600, timeout=20))
            weak = await dht.put("weak", b"value", ttl=600, ack="one", timeout=20)
            assert not weak.promised

    async def test_one_dead_holder_stops_neither_reads_nor_writes(self) -> None:
        async with self.network(5) as network:
            put = await network.dht(0).put("key", b"value", ttl=600, ack="all")
            victim = next(number for number in network.numbers(put.targets) if number != 0)
            await network.crash(victim)
            found = await network.dht(0).get("key")
            assert (found.value, found.confirmed) == (b"value", True)
            again = await network.dht(0).put("key", b"newer", ttl=600)
            assert again.promised
            assert network.peer_id(victim) not in again.stored

    async def test_a_stale_holder_is_repaired_by_a_get(self) -> None:
        async with self.network(5) as network:
            put = await network.dht(0).put("key", b"old", ttl=3000, ack="all")
            stale, *fresh = network.numbers(put.targets)
            others = {number for number in range(5) if number != stale}
            await network.partition(others, {stale})
            await network.dht(fresh[0]).put("key", b"new", ttl=3000)
            await network.heal()
            await self.eventually(lambda: self._reads(network, stale, "key", b"new"))
            await asyncio.sleep(5)
            for number in fresh:
                await network.crash(number)
            assert (await network.dht(stale).get("key", timeout=30)).value == b"new"

    # -- change ----------------------------------------------------------------------------------------------------------------------

    async def test_newcomers_never_make_a_value_disappear(self) -> None:
        async with self.network(2) as network:
            keys = [f"key {index}" for index in range(12)]
            for key in keys:
                await network.dht(0).put(key, key.encode(), ttl=3000)
            for _ in range(6):
                newcomer = await network.add()
                for key in keys:
                    found = await network.dht(newcomer).get(key)
                    assert (found.value, found.confirmed) == (key.encode(), True)

    async def test_graceful_leaves_lose_nothing_down_to_the_last_server(self) -> None:
        async with self.network(6) as network:
            keys = [f"key {index}" for index in range(12)]
            for index, key in enumerate(keys):
                await network.dht(index % 6).put(key, key.encode(), ttl=3000)
            for number in range(5):
                await network.leave(number)
                for key in keys:
                    found = await network.dht(5).get(key)
                    assert (found.value, found.confirmed) == (key.encode(), True)

    async def test_a_leave_reports_what_it_handed_over(self) -> None:
        async with self.network(4) as network:
            for index in range(5):
                await network.dht(0).put(f"key {index}", b"value", ttl=3000, ack="all")
            report = await network.dht(1).leave()
            assert report.complete
            assert report.records == report.handed_over
            assert set(report.peers) == {network.peer_id(number) for number in (0, 2, 3)}
            assert not report.failed

    async def test_a_server_that_comes_back_empty_takes_over_before_its_word_counts(self) -> None:
        async with self.network(4) as network:
            keys = [f"key {index}" for index in range(8)]
            for key in keys:
                await network.dht(0).put(key, key.encode(), ttl=3000)
            for number in range(1, 4):
                await network.crash(number)
                await network.restart(number)
            for key in keys:
                found = await network.dht(2).get(key)
                assert (found.value, found.confirmed) == (key.encode(), True)

    async def test_a_server_without_its_memory_does_not_help_to_deny_what_was_acknowledged(self) -> None:
        async with self.network(3) as network:
            await network.partition({0, 1}, {2})
            await network.dht(0).put("key", b"value", ttl=3000)
            await network.partition({0}, {1, 2})
            await network.crash(1)
            restart = asyncio.ensure_future(network.restart(1))
            await asyncio.sleep(40)
            await raises(Unavailable, network.dht(2).get("key", timeout=20))  # 1 forgot it and 2 never had it: they are no majority
            await network.heal()
            await restart
            found = await network.dht(2).get("key")
            assert (found.value, found.confirmed) == (b"value", True)

    async def test_a_deleted_value_stays_away_when_a_holder_that_missed_it_returns(self) -> None:
        async with self.network(4) as network:
            put = await network.dht(0).put("key", b"value", ttl=3000, ack="all")
            missing = network.numbers(put.targets)[0]
            others = {number for number in range(4) if number != missing}
            await network.partition(others, {missing})
            await network.dht(next(iter(others))).delete("key")
            await network.heal()
            for number in others:
                await raises(KeyNotFound, network.dht(number).get("key"))

    # -- durability ------------------------------------------------------------------------------------------------------------------

    async def test_after_one_quiet_repair_round_any_holder_alone_keeps_the_value(self) -> None:
        for keep in range(_REPLICAS):
            async with self.network(6) as network:
                put = await network.dht(keep).put("key", b"value", ttl=3000)
                await asyncio.sleep(2 * _REPAIR_S)
                holders = network.numbers(put.targets)
                for number in holders:
                    if number != holders[keep]:
                        await network.crash(number)
                reader = next(number for number in range(6) if number not in holders)
                assert (await network.dht(reader).get("key", timeout=30)).value == b"value"

    async def test_a_server_that_restarts_with_its_disk_is_heard_again(self) -> None:
        async with self.network(4) as network:
            put = await network.dht(0).put("key", b"value", ttl=3000)
            for number in range(4):
                await network.crash(number)
                await network.restart_with_disk(number)
                found = await network.dht(number).get("key")
                assert (found.value, found.confirmed, found.record.version) == (b"value", True, put.version)
            assert (await network.dht(0).put("key", b"newer", ttl=3000)).promised

    async def test_all_servers_may_crash_at_once_and_restart_with_their_disks(self) -> None:
        async with self.network(5) as network:
            keys = [f"key {index}" for index in range(8)]
            for index, key in enumerate(keys):
                await network.dht(index % 5).put(key, key.encode(), ttl=3000)
            await network.dht(0).delete(keys[0])
            for number in range(5):
                await network.crash(number)
            await network.restart_with_disk(*range(5))
            for number in range(5):
                await raises(KeyNotFound, network.dht(number).get(keys[0]))
                for key in keys[1:]:
                    found = await network.dht(number).get(key)
                    assert (found.value, found.confirmed) == (key.encode(), True)

    async def test_a_network_of_one_restarts_with_its_disk(self) -> None:
        async with self.network(1) as network:
            await network.dht(0).put("key", b"value", ttl=600)
            await network.crash(0)
            await network.restart_with_disk(0)
            found = await network.dht(0).get("key")
            assert (found.value, found.confirmed) == (b"value", True)

    async def test_the_next_run_of_the_writer_renews_what_it_wrote(self) -> None:
        async with self.network(4) as network:
            put = await network.dht(1).put("key", b"value")
            await network.crash(1)
            await network.restart_with_disk(1)
            await asyncio.sleep(0.6 * _LIFETIME_S)  # past the first expiry
            found = await network.dht(2).get("key")
            assert (found.value, found.record.version) == (b"value", put.version)

    async def test_sides_of_a_long_partition_find_each_other_again(self) -> None:
        async with self.network(6) as network:
            await network.partition({0, 1, 2, 3}, {4, 5})
            await asyncio.sleep(3 * _FORGET_S)
            await network.dht(0).put("key", b"value", ttl=3000)
            await network.heal()
            for number in range(6):
                await self.eventually(lambda: self._reads(network, number, "key", b"value"))  # noqa: B023  (awaited at once)

    async def _reads(self, network: DhtNetwork, number: int, key: str, value: bytes) -> bool:
        try:
            found = await network.dht(number).get(key)
        except PeerstackError:
            return False
        return found.value == value and found.confirmed
