# ruff: noqa: D102 - a test's name says what it promises
"""What every record store must do, whoever wrote it.

Subclass `StoreConformance`, say how to make a store, and let pytest collect it::

    @pytest.mark.asyncio
    class TestMyStore(StoreConformance):
        async def make_store(self, rules: Rules) -> RecordStore:
            return await MyStore.open(path, rules)
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.policy import DELETED, Lifetime, draft_record
from peerstack.dht.records import Record, Slot
from peerstack.dht.store import MAX_SET_BYTES, MAX_SUBKEYS, Outcome, RecordStore, Rules, Source, SourceKind, Status, StoreLimits, Swept
from peerstack.errors import Closed
from peerstack.identity import PrivateKey

__all__ = ["HOUR", "NOW", "RecordMaker", "StoreConformance", "source_of"]

HOUR = 3600 * MICROSECONDS
NOW = 1_800_000_000 * MICROSECONDS
"""When these tests take place."""

_PARAMETERS = KADEMLIA_PRESETS["wan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordMaker:
    """Makes signed records around `NOW`."""

    signer: PrivateKey

    @classmethod
    def from_number(cls, number: int) -> RecordMaker:
        """The maker of writer number `number`."""
        return cls(signer=PrivateKey.from_seed(hashlib.sha256(b"writer %d" % number).digest()))

    def put(self, slot: Slot, value: bytes = b"value", *, at: int = NOW, ttl: int = HOUR, seen: int = 0, renewable: bool = False) -> Record:
        """A record written at `at` that lives for `ttl` (both microseconds)."""
        return Record.sign(draft_record(slot, value, at, Lifetime(at + ttl, renewable), seen, _PARAMETERS), self.signer)

    def delete(self, slot: Slot, *, at: int = NOW, seen: int = 0) -> Record:
        """A delete written at `at`."""
        return Record.sign(draft_record(slot, b"", at, DELETED, seen, _PARAMETERS), self.signer)


def source_of(kind: SourceKind, number: int = 0, ip_group: bytes = b"\x0a\x00\x00") -> Source:
    """Sender number `number`."""
    return Source(kind, RecordMaker.from_number(1000 + number).signer.peer_id, ip_group)


_CLIENT = source_of(SourceKind.CLIENT)
_REPAIR = source_of(SourceKind.REPAIR, 1)
_OWED = (SourceKind.REPAIR, SourceKind.HANDOFF, SourceKind.LEAVE, SourceKind.PULL)
_SLOT = Slot("kv", b"key")
_ALICE = RecordMaker.from_number(1)
_BOB = RecordMaker.from_number(2)


class StoreConformance:
    """The promises of `peerstack.dht.store.RecordStore`. Every test is a coroutine."""

    async def make_store(self, rules: Rules) -> RecordStore:
        """Open an empty store."""
        raise NotImplementedError

    # -- what is kept ---------------------------------------------------------------------------------------------------------------

    async def test_a_stored_record_is_read_back_whole(self) -> None:
        async with self._store() as store:
            record = _ALICE.put(_SLOT, b"\x00\xffbytes")
            outcome = await _merge_one(store, record)
            assert (outcome.status, outcome.holds, outcome.refusal()) == (Status.STORED, True, None)
            assert store.get(_SLOT, now=NOW) == record
            assert store.usage.records == 1
            assert store.usage.bytes == record.size

    async def test_nothing_is_held_for_what_was_never_stored(self) -> None:
        async with self._store() as store:
            await _merge_one(store, _ALICE.put(_SLOT))
            assert store.get(Slot("kv", b"other"), now=NOW) is None
            assert store.get(Slot("own", b"key"), now=NOW) is None
            assert store.get(Slot("kv", b"key", b"sub"), now=NOW) is None
            assert store.get_all("kv", b"other", now=NOW) == []

    async def test_a_later_version_replaces_an_earlier_one_and_never_the_reverse(self) -> None:
        async with self._store() as store:
            old, new = _ALICE.put(_SLOT, b"old"), _BOB.put(_SLOT, b"new", at=NOW + 1)
            for record, status in ((old, Status.STORED), (new, Status.STORED), (new, Status.EQUAL), (old, Status.SUPERSEDED)):
                outcome = await _merge_one(store, record)
                assert outcome.status is status
            assert outcome.record == new
            refusal = outcome.refusal()
            assert refusal is not None
            assert refusal.record == new
            assert store.get(_SLOT, now=NOW) == new
            assert store.usage.bytes == new.size

    async def test_outcomes_come_in_order_and_records_of_one_slot_are_merged_in_order(self) -> None:
        async with self._store() as store:
            records = [_ALICE.put(_SLOT, b"%d" % n, at=NOW + at) for n, at in enumerate((5, 1, 9, 9))]
            outcomes = await _merge(store, [*records, _ALICE.put(Slot("kv", b"b"))])
            assert outcomes[1].status is Status.SUPERSEDED
            assert [outcomes[i].status for i in (0, 4)] == [Status.STORED, Status.STORED]
            held = store.get(_SLOT, now=NOW)
            assert held is not None
            assert held.digest == max(records[2].digest, records[3].digest)

    async def test_merging_nothing_is_answered(self) -> None:
        async with self._store() as store:
            assert await _merge(store, []) == []

    async def test_the_records_of_a_key_come_ordered_by_subkey(self) -> None:
        async with self._store() as store:
            records = [_ALICE.put(Slot("kv", b"key", subkey)) for subkey in (b"b", b"", b"a\x00", b"a")]
            await _merge(store, [*records, _ALICE.put(Slot("kv", b"key2", b"x"))])
            assert [record.subkey for record in store.get_all("kv", b"key", now=NOW)] == [b"", b"a", b"a\x00", b"b"]

    # -- time -----------------------------------------------------------------------------------------------------------------------

    async def test_after_expiry_the_header_stands_without_its_value_and_beats_older_values(self) -> None:
        async with self._store() as store:
            old, record = _ALICE.put(_SLOT, b"old", ttl=24 * HOUR), _ALICE.put(_SLOT, b"x" * 500, at=NOW + 1)
            await _merge_one(store, record)
            later = record.expires_at
            assert store.get(_SLOT, now=later - 1) == record
            assert store.get(_SLOT, now=later) == record.without_value()
            assert store.get_all("kv", b"key", now=later) == [record.without_value()]
            assert store.scan(bytes(32), None, now=later) == [record.without_value()]
            assert await _sweep(store, later) == Swept(expired=1, forgotten=0)
            assert store.usage.bytes == record.without_value().size
            assert (await _merge_one(store, old, now=later)).status is Status.SUPERSEDED
            assert store.get(_SLOT, now=later) == record.without_value()

    async def test_a_delete_is_remembered_and_then_forgotten(self) -> None:
        async with self._store() as store:
            record = _ALICE.put(_SLOT, ttl=24 * HOUR)
            delete = _BOB.delete(_SLOT, at=NOW + 1, seen=record.remember_until)
            await _merge(store, [record, delete])
            assert (await _merge_one(store, record)).status is Status.SUPERSEDED
            held = store.get(_SLOT, now=delete.remember_until - 1)
            assert held == delete
            assert store.get(_SLOT, now=delete.remember_until) is None
            assert await _sweep(store, delete.remember_until) == Swept(expired=0, forgotten=1)
            assert (store.usage.records, store.usage.bytes) == (0, 0)
            assert (await _merge_one(store, record, now=delete.remember_until)).status is Status.FORGOTTEN
            assert store.usage.records == 0

    async def test_a_sweep_before_its_time_drops_nothing(self) -> None:
        async with self._store() as store:
            record = _ALICE.put(_SLOT)
            await _merge_one(store, record)
            assert await _sweep(store, record.expires_at - 1) == Swept(0, 0)
            assert store.get(_SLOT, now=NOW) == record

    async def test_a_renewal_keeps_the_value_alive_and_a_late_copy_does_not_shorten_it(self) -> None:
        async with self._store() as store:
            record = _ALICE.put(_SLOT, renewable=True)
            renewed = _ALICE.put(_SLOT, renewable=True, ttl=5 * HOUR, seen=record.remember_until)
            await _merge_one(store, record)
            await _sweep(store, NOW)
            assert (await _merge_one(store, renewed)).status is Status.STORED
            assert (await _merge_one(store, record)).status is Status.SUPERSEDED
            assert await _sweep(store, record.expires_at) == Swept(0, 0)
            assert store.get(_SLOT, now=record.expires_at) == renewed

    async def test_a_header_is_completed_by_its_value_but_not_stripped_again(self) -> None:
        async with self._store() as store:
            record = _ALICE.put(_SLOT, ttl=HOUR // 60)
            assert (await _merge_one(store, record.without_value(), source=_REPAIR)).status is Status.STORED
            assert (await _merge_one(store, record, source=_REPAIR)).status is Status.STORED
            assert (await _merge_one(store, record.without_value(), source=_REPAIR)).status is Status.EQUAL
            assert store.get(_SLOT, now=NOW) == record

    async def test_a_live_record_without_its_value_is_refused(self) -> None:
        async with self._store() as store:
            assert (await _merge_one(store, _ALICE.put(_SLOT).without_value(), source=_REPAIR)).status is Status.INVALID
            assert store.usage.records == 0

    async def test_nobody_owns_the_future(self) -> None:
        async with self._store() as store:
            assert (await _merge_one(store, _ALICE.put(_SLOT, at=NOW + HOUR // 4 + 1))).status is Status.CLOCK
            assert (await _merge_one(store, _ALICE.put(_SLOT, at=NOW + HOUR // 4))).status is Status.STORED

    async def test_what_its_namespace_forbids_is_invalid(self) -> None:
        async with self._store() as store:
            for slot in (Slot("own", _BOB.signer.peer_id.to_bytes()), Slot("hash", b"k" * 32), Slot("nowhere", b"k")):
                outcome = await _merge_one(store, _ALICE.put(slot))
                assert outcome.status is Status.INVALID
                assert outcome.message
            assert store.usage.records == 0

    async def test_content_lives_as_long_as_anybody_said_and_leaves_no_trace(self) -> None:
        async with self._store() as store:
            slot = Slot("hash", hashlib.sha256(b"content").digest())
            long, short = _ALICE.put(slot, b"content", ttl=5 * HOUR), _BOB.put(slot, b"content", at=NOW + 1)
            assert (await _merge_one(store, long)).status is Status.STORED
            assert (await _merge_one(store, short)).status is Status.SUPERSEDED
            assert (await _merge_one(store, long.without_value(), source=_REPAIR)).status is Status.INVALID
            assert store.get(slot, now=long.expires_at - 1) == long
            assert store.get(slot, now=long.expires_at) is None
            assert await _sweep(store, long.expires_at) == Swept(expired=0, forgotten=1)

    # -- room -----------------------------------------------------------------------------------------------------------------------

    async def test_a_set_takes_so_many_subkeys_and_evicts_none_for_more(self) -> None:
        async with self._store() as store:
            records = [_ALICE.put(Slot("kv", b"key", b"%d" % n)) for n in range(MAX_SUBKEYS)]
            assert {outcome.status for outcome in await _merge(store, records)} == {Status.STORED}
            extra = Slot("kv", b"key", b"one more")
            assert (await _merge_one(store, _ALICE.put(extra))).status is Status.FULL
            assert (await _merge_one(store, _ALICE.put(extra), source=source_of(SourceKind.LOCAL))).status is Status.FULL
            assert (await _merge_one(store, _ALICE.delete(records[0].slot, at=NOW + 1))).status is Status.STORED
            assert (await _merge_one(store, _ALICE.put(extra))).status is Status.FULL, "a remembered header counts"
            assert len(store.get_all("kv", b"key", now=NOW)) == MAX_SUBKEYS
            assert (await _merge_one(store, _ALICE.put(Slot("kv", b"other key")))).status is Status.STORED
            for n, kind in enumerate(_OWED):
                owed = _ALICE.put(Slot("kv", b"key", b"owed %d" % n))
                assert (await _merge_one(store, owed, source=source_of(kind))).status is Status.STORED

    async def test_a_set_takes_so_many_bytes_and_always_a_smaller_value_or_a_delete(self) -> None:
        async with self._store() as store:
            each = MAX_SET_BYTES // 5 - 400
            records = [_ALICE.put(Slot("kv", b"key", b"%d" % n), bytes(each)) for n in range(5)]
            assert {outcome.status for outcome in await _merge(store, records)} == {Status.STORED}
            assert (await _merge_one(store, _ALICE.put(Slot("kv", b"key", b"5"), bytes(1500)))).status is Status.FULL
            assert (await _merge_one(store, _ALICE.put(records[0].slot, bytes(each + 1500), at=NOW + 1))).status is Status.FULL
            assert store.get(records[0].slot, now=NOW) == records[0]
            assert (await _merge_one(store, _ALICE.put(records[0].slot, bytes(each), at=NOW + 2))).status is Status.STORED
            assert (await _merge_one(store, _ALICE.delete(records[1].slot, at=NOW + 2))).status is Status.STORED
            assert (await _merge_one(store, _ALICE.put(Slot("kv", b"key", b"5"), bytes(1500)))).status is Status.STORED

    async def test_one_sender_and_one_network_get_a_share_and_what_is_owed_is_never_charged(self) -> None:
        limits = StoreLimits(max_records=100, client_share=0.75, group_share=0.5, sender_share=0.25)
        async with self._store(limits) as store:
            assert await self._fill(store, _CLIENT, 40) == 25
            assert await self._fill(store, source_of(SourceKind.CLIENT, 1), 40) == 25
            assert await self._fill(store, source_of(SourceKind.CLIENT, 2), 40) == 0, "the network's share is used up"
            assert await self._fill(store, source_of(SourceKind.CLIENT, 2, b"elsewhere"), 40) == 25
            assert await self._fill(store, source_of(SourceKind.CLIENT, 3, b"third"), 40) == 0, "the rest is for what is owed"
            assert await self._fill(store, source_of(SourceKind.LOCAL, 3), 40) == 0
            assert await self._fill(store, _REPAIR, 40) == 25
            assert store.usage.records == 100

    async def test_a_quota_counts_what_stands_and_not_what_was_sent(self) -> None:
        limits = StoreLimits(max_records=8, client_share=0.5, group_share=0.5, sender_share=0.25)
        async with self._store(limits) as store:
            record = _ALICE.put(_SLOT)
            for n in range(20):
                assert (await _merge_one(store, _ALICE.put(_SLOT, at=NOW + n))).status is Status.STORED
            assert await self._fill(store, _CLIENT, 5) == 1
            await _sweep(store, record.remember_until + HOUR)
            assert store.usage.records == 0
            assert await self._fill(store, _CLIENT, 5, at=record.remember_until + HOUR) == 2

    async def test_a_full_store_makes_room_by_what_is_due_and_by_nothing_else(self) -> None:
        limits = StoreLimits(max_records=4, client_share=1, group_share=1, sender_share=1)
        async with self._store(limits) as store:
            assert await self._fill(store, _REPAIR, 6) == 4
            assert await self._fill(store, _REPAIR, 1, at=NOW + 2 * HOUR) == 0, "dead but remembered"
            forgotten = NOW + 8 * 24 * HOUR
            assert await self._fill(store, _REPAIR, 6, at=forgotten) == 4

    # -- order and commits ------------------------------------------------------------------------------------------------------------

    async def test_calls_that_nobody_waited_for_take_effect_in_their_order_and_are_answered_in_it(self) -> None:
        async with self._store() as store:
            answers: list[tuple[int, object]] = []
            record, later = _ALICE.put(_SLOT), _ALICE.put(_SLOT, at=NOW + 1)
            calls: tuple[Callable[[Callable[[object], None]], None], ...] = (
                lambda done: store.merge([record], source=_CLIENT, now=NOW, done=lambda outcomes: done(outcomes[0].status)),
                lambda done: store.merge([later], source=_CLIENT, now=NOW, done=lambda outcomes: done(outcomes[0].status)),
                lambda done: store.drop([record], done=done),
                lambda done: store.drop([later], done=done),
                lambda done: store.merge([record], source=_CLIENT, now=NOW, done=lambda outcomes: done(outcomes[0].status)),
                lambda done: store.sweep(record.expires_at, done=done),
                lambda done: store.merge([record], source=_CLIENT, now=NOW, done=lambda outcomes: done(outcomes[0].status)),
            )
            for number, call in enumerate(calls):
                call(lambda answer, number=number: answers.append((number, answer)))  # type: ignore[misc]
            await _merge(store, [])
            stored = Status.STORED
            assert answers == list(enumerate((stored, stored, 0, 1, stored, Swept(expired=1, forgotten=0), stored)))

    async def test_whoever_is_told_can_read_it(self) -> None:
        async with self._store() as store:
            seen: list[Record | None] = []
            records = [_ALICE.put(Slot("kv", b"%d" % n)) for n in range(20)]
            for record in records:
                store.merge([record], source=_CLIENT, now=NOW, done=lambda _, slot=record.slot: seen.append(store.get(slot, now=NOW)))  # type: ignore[misc]
            await _merge(store, [])
            assert seen == records

    async def test_closing_answers_whatever_was_asked_before(self) -> None:
        async with self._store() as store:
            statuses: list[Status] = []
            for n in range(20):
                record = _ALICE.put(Slot("kv", b"%d" % n))
                store.merge([record], source=_CLIENT, now=NOW, done=lambda outcomes: statuses.append(outcomes[0].status))
            await store.close()
            assert statuses == [Status.STORED] * 20

    async def test_closing_leaves_no_answer_behind_whenever_it_comes(self) -> None:
        for turns in range(6):
            async with self._store() as store:
                statuses: list[Status] = []
                record = _ALICE.put(Slot("kv", b"%d" % turns))
                store.merge([record], source=_CLIENT, now=NOW, done=lambda outcomes: statuses.append(outcomes[0].status))  # noqa: B023
                for _ in range(turns):
                    await asyncio.sleep(0)
                await store.close()
                assert statuses == [Status.STORED]

    async def test_a_callback_may_ask_for_more(self) -> None:
        async with self._store() as store:
            outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            record = _ALICE.put(_SLOT)

            def stored(_: list[Outcome]) -> None:
                store.merge([record], source=_CLIENT, now=NOW, done=outcomes.set_result)

            store.merge([record], source=_CLIENT, now=NOW, done=stored)
            assert [outcome.status for outcome in await outcomes] == [Status.EQUAL]

    async def test_senders_list_may_change_after_the_call(self) -> None:
        async with self._store() as store:
            records = [_ALICE.put(_SLOT)]
            outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            store.merge(records, source=_CLIENT, now=NOW, done=outcomes.set_result)
            records.clear()
            assert len(await outcomes) == 1

    # -- walking and dropping ---------------------------------------------------------------------------------------------------------

    async def test_a_range_is_walked_in_order_page_by_page(self) -> None:
        async with self._store() as store:
            records = [_ALICE.put(Slot("kv", b"key %d" % (n // 3), b"%d" % n)) for n in range(60)]
            await _merge(store, records)
            expected = sorted(records, key=lambda record: (record.position, record.subkey))
            assert store.scan(bytes(32), None, now=NOW, limit=1000) == expected
            low, high = expected[10].position, expected[40].position
            inside = [record for record in expected if low <= record.position < high]
            assert store.scan(low, high, now=NOW) == inside
            walked: list[Record] = []
            while page := store.scan(low, high, now=NOW, after=(walked[-1].position, walked[-1].subkey) if walked else None, limit=7):
                assert len(page) <= 7
                walked += page
            assert walked == inside

    async def test_only_what_is_still_held_is_dropped(self) -> None:
        async with self._store() as store:
            old, new = _ALICE.put(_SLOT, b"old"), _ALICE.put(_SLOT, b"new", at=NOW + 1)
            other = _ALICE.put(Slot("kv", b"other"))
            await _merge(store, [old, new, other])
            assert await _drop(store, [old, _ALICE.put(Slot("kv", b"never"))]) == 0
            assert store.get(_SLOT, now=NOW) == new
            assert await _drop(store, [new.without_value(), new]) == 1
            assert store.get(_SLOT, now=NOW) is None
            assert store.scan(bytes(32), None, now=NOW) == [other]
            assert store.usage.bytes == other.size
            assert (await _merge_one(store, old)).status is Status.STORED

    async def test_a_closed_store_says_so(self) -> None:
        async with self._store() as store:
            await store.close()
            await store.close()
            attempts: tuple[Callable[[], object], ...] = (
                lambda: store.get(_SLOT, now=NOW),
                lambda: store.sweep(NOW, done=_ignore),
                lambda: store.merge([], source=_CLIENT, now=NOW, done=_ignore),
            )
            for attempt in attempts:
                try:
                    attempt()
                except Closed:
                    continue
                raise AssertionError("a closed store answered")

    @asynccontextmanager
    async def _store(self, limits: StoreLimits | None = None) -> AsyncIterator[RecordStore]:
        store = await self.make_store(Rules(namespaces=Namespaces(), parameters=_PARAMETERS, limits=limits or StoreLimits()))
        try:
            yield store
        finally:
            await store.close()

    async def _fill(self, store: RecordStore, source: Source, count: int, *, at: int = NOW) -> int:
        """Store records of keys never used before; how many were taken. The rest must be refused as full."""
        name = b"%b %b " % (source.kind.encode(), source.peer.to_bytes()[-4:])
        records = [_ALICE.put(Slot("kv", name + b"%d %d" % (at, n)), at=at) for n in range(count)]
        statuses = [outcome.status for outcome in await _merge(store, records, source=source, now=at)]
        assert set(statuses) <= {Status.STORED, Status.FULL}
        return statuses.count(Status.STORED)


async def _merge(store: RecordStore, records: Sequence[Record], *, source: Source = _CLIENT, now: int = NOW) -> list[Outcome]:
    future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.merge(records, source=source, now=now, done=future.set_result)
    return await future


async def _merge_one(store: RecordStore, record: Record, *, source: Source = _CLIENT, now: int = NOW) -> Outcome:
    (outcome,) = await _merge(store, [record], source=source, now=now)
    return outcome


async def _drop(store: RecordStore, records: Sequence[Record]) -> int:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    store.drop(records, done=future.set_result)
    return await future


async def _sweep(store: RecordStore, now: int) -> Swept:
    future: asyncio.Future[Swept] = asyncio.get_running_loop().create_future()
    store.sweep(now, done=future.set_result)
    return await future


def _ignore(_: object) -> None:
    pass
