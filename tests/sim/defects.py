"""Defects that DHTs have had, each as a patch of ours: one rule taken out, or another stack's way of doing it put in its place."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from typing import Any

from peerstack.dht import policy
from peerstack.dht.contract import GetResult, RefusalReason
from peerstack.dht.order import merge
from peerstack.dht.quorum import majority, read_quorum
from peerstack.dht.records import Record
from peerstack.dht.replica.messages import Push, PutReply
from peerstack.dht.store.contract import Outcome, Status, Swept
from peerstack.errors import PeerstackError
from tests.sim.defect import Patch

# -- the rules of records


def renew_as_new(patch: Patch) -> None:
    def draft_renewal(record: Record, _acknowledged: int, now: int, parameters: Any) -> Any:
        life = policy.Lifetime(now + policy.default_lifetime_us(parameters), renewable=True)
        return policy.draft_record(record.slot, record.value or b"", now, life, record.remember_until, parameters)

    patch.set("draft_renewal", draft_renewal)


def renew_the_ended(patch: Patch) -> None:
    real = patch.real("draft_renewal")
    patch.set("draft_renewal", lambda record, acknowledged, now, parameters: real(record, max(acknowledged, now + 1), now, parameters))


def forget_the_ended(patch: Patch) -> None:
    patch.set("forget_at", lambda _self, record: record.remember_until if record.is_delete else record.expires_at)


def delete_without_tombstone(patch: Patch) -> None:
    real = patch.real("MemoryStore.merge")

    def merge_or_forget(self: Any, records: Any, *, source: Any, now: int, done: Any) -> None:
        deletes = [record for record in records if record.is_delete]
        if not deletes:
            real(self, records, source=source, now=now, done=done)
            return
        held = [self.get(record.slot, now=now) for record in deletes]
        self.drop([record for record in held if record is not None], done=lambda _count: None)
        done([Outcome(Status.STORED, record) for record in records])

    patch.set("MemoryStore.merge", merge_or_forget)


def last_writer_wins(patch: Patch) -> None:
    patch.set("decide", lambda record, _held, *_rest: Outcome(Status.STORED, record))


def get_then_put(patch: Patch) -> None:
    real = patch.real("MemoryStore.merge")

    def get_wait_put(self: Any, records: Any, *, source: Any, now: int, done: Any) -> None:
        seen = [self.get(record.slot, now=now) for record in records]

        def put() -> None:
            outcomes: list[Outcome] = []
            for record, before in zip(records, seen, strict=True):
                held = self.get(record.slot, now=now)
                if held is not None and (before is None or merge(before, record) is record):
                    self.drop([held], done=lambda _count: None)  # it was the greater of the two when it was read
                real(self, [record], source=source, now=now, done=outcomes.extend)
            done(outcomes)

        asyncio.get_running_loop().call_later(0.01, put)

    patch.set("MemoryStore.merge", get_wait_put)


def holder_restarts_the_life(patch: Patch) -> None:
    real = patch.real("decide")

    def decide(record: Record, held: Any, occupancy: Any, source: Any, now: int, rules: Any) -> Any:
        if not record.is_delete:
            record = dataclasses.replace(record, expires_at=now + policy.default_lifetime_us(rules.parameters))
        return real(record, held, occupancy, source, now, rules)

    patch.set("decide", decide)


def refused_write_sets_the_end(patch: Patch) -> None:
    real_merge, real_get_all = patch.real("MemoryStore.merge"), patch.real("MemoryStore.get_all")

    def expire(self: Any, now: int) -> None:
        for record in self.scan(bytes(32), None, now=now, limit=1_000_000):
            if self.__dict__.setdefault("ends", {}).get(record.slot, now + 1) <= now:
                self.drop([record], done=lambda _count: None)

    def merge_after_the_index(self: Any, records: Any, *, source: Any, now: int, done: Any) -> None:
        self.__dict__.setdefault("ends", {}).update((record.slot, record.expires_at) for record in records)
        real_merge(self, records, source=source, now=now, done=done)

    def get_all(self: Any, namespace: str, key: bytes, *, now: int) -> Any:
        expire(self, now)
        return real_get_all(self, namespace, key, now=now)

    patch.set("MemoryStore.merge", merge_after_the_index)
    patch.set("MemoryStore.get_all", get_all)


def sweep_the_living(patch: Patch) -> None:
    def sweep(self: Any, now: int, *, done: Any) -> None:
        living = [record for record in self.scan(bytes(32), None, now=now, limit=1_000_000) if record.expires_at > now]
        self.drop(living, done=lambda _count: None)
        done(Swept(len(living), 0))

    patch.set("MemoryStore.sweep", sweep)


def serve_the_ended(patch: Patch) -> None:
    patch.set("current", lambda record, _now, _rules: record)
    patch.set("GetTally.live", lambda self, subkey, _now: self._merged.get(subkey))


# -- the rules of answers


def dead_is_no(patch: Patch) -> None:
    real = patch.real("GetTally.answer")

    def answer(self: Any, peer: Any, records: Any, **rest: Any) -> None:
        real(self, peer, [record for record in records if record.value is not None], **rest)

    patch.set("GetTally.answer", answer)


def everybody_counts(patch: Patch) -> None:
    patch.set("is_authoritative", lambda self, position: self.keeps(position, self.replicas))


def majority_of_found(patch: Patch) -> None:
    lost = (RefusalReason.TIMEOUT, RefusalReason.UNREACHABLE)

    def needed(self: Any) -> int:
        refused = getattr(self, "_refused", {})
        away = [peer for peer in self.members if peer in refused and refused[peer].reason in lost]
        return majority(max(1, len(self.members) - len(away)))

    patch.set("Tally.majority", property(needed))
    patch.set("Tally.read_quorum", property(lambda self: read_quorum(max(1, sum(peer in self._heard for peer in self.members)))))


def one_acknowledgement(patch: Patch) -> None:
    patch.set("Tally.majority", property(lambda _self: 1))


def put_never_fails(patch: Patch) -> None:
    patch.set("PutTally.conclude", lambda self: self.result())


def no_restamp(patch: Patch) -> None:
    patch.set("PutTally.superseded_by", property(lambda _self: None))


def quorum_and_one(patch: Patch) -> None:
    patch.set("Tally.read_quorum", property(lambda self: read_quorum(len(self.members)) + 1))


def own_copy_first(patch: Patch) -> None:
    real = patch.real("Get.start")

    def start(self: Any) -> None:
        engine = self._engine
        held = engine.store.get(self._slot, now=engine.outside.wall_us()) if engine.serving else None
        if held is None or held.value is None:
            real(self)
            return
        self._over = True
        self._cancel()
        found = GetResult(value=held.value, record=held, confirmed=True, answers=1, asked=1, needed=1, repaired=0, local=True)
        engine.outside.call_later(0, lambda: self._finished(found))

    patch.set("Get.start", start)


def failed_repair_fails_the_get(patch: Patch) -> None:
    real = patch.real("Get")

    def init(self: Any, engine: Any, slot: Any, *, quorum: Any, timeout: float, finished: Any) -> None:
        def repair_first(result: Any) -> None:
            reading = self._reading
            waiting = [reading.contacts[peer] for peer in reading.tally.outdated(slot.subkey) if peer in reading.contacts]
            if not waiting:
                finished(result)
                return
            failed: list[PeerstackError] = []
            left = len(waiting)

            def answered(reply: Any, _now: float) -> None:
                nonlocal left
                left -= 1
                if isinstance(reply, PeerstackError):
                    failed.append(reply)
                if not left:
                    finished(failed[0] if failed else result)

            for contact in waiting:
                engine.ask(contact, Push((reading.tally.best(slot.subkey),)), answered)

        real(self, engine, slot, quorum=quorum, timeout=timeout, finished=repair_first)

    patch.set("Get", init)


def unreachable_aborts(patch: Patch) -> None:
    real_failure, real_done = patch.real("lookup.on_failure"), patch.real("lookup.done")
    aborted: set[int] = set()

    def on_failure(self: Any, *arguments: Any, **named: Any) -> None:
        aborted.add(id(self))
        real_failure(self, *arguments, **named)

    patch.set("lookup.on_failure", on_failure)
    patch.set("lookup.done", property(lambda self: id(self) in aborted or real_done.fget(self)))


# -- the rules of sets


def one_source(patch: Patch) -> None:
    real = patch.real("awaited")
    patch.set("awaited", lambda self: [] if self._handed_over else real(self))


def take_over_unverified(patch: Patch) -> None:
    patch.set("PullFrom.doubt", lambda _self, _page, _outcomes, _wall_us: None)


def name_when_done(patch: Patch) -> None:
    real = patch.real("Holder.page")

    def page(self: Any, sender: Any, request: Any, known: bool, now: float, wall_us: int) -> Any:
        reply = real(self, sender, request, known, now, wall_us)
        if reply.next is None:
            self._hood.count_in(sender, now)
        elif not known:
            self._hood.count_out(sender.key, now)
        return reply

    patch.set("Holder.page", page)


def save_when_there_is_time(patch: Patch) -> None:
    patch.set("keep", lambda _self, _contact, done: done(True))


def acknowledge_first(patch: Patch) -> None:
    real = patch.real("Holder.put")

    def put(self: Any, source: Any, sender: Any, record: Any, respond: Any, wall_us: int) -> None:
        respond(PutReply(None, self.standing(int.from_bytes(record.position, "big"))))
        real(self, source, sender, record, lambda _reply: None, wall_us)

    patch.set("Holder.put", put)


def drop_at_the_first(patch: Patch) -> None:
    real = patch.real("Round.drop")

    def drop(self: Any) -> None:
        for duty in self._duties:
            if duty.confirmed:
                duty.confirmed = len(duty.targets)
        self._failed.clear()  # nor does it matter who fell silent
        real(self)

    patch.set("Round.drop", drop)


def skip_uncompared(patch: Patch) -> None:
    real = patch.real("note")

    def answer(self: Any, sender: Any, offer: Any, *, now: float, wall_us: int) -> Any:
        self.__dict__.setdefault("offered", {}).update(((each.position, each.subkey), now) for each in offer.entries)
        return real(self, sender, offer, now=now, wall_us=wall_us)

    def covered(self: Any, record: Record, _members: bytes, since: float) -> bool:
        offered: dict[Any, float] = self.__dict__.get("offered", {})
        return offered.get((record.position, record.subkey), float("-inf")) >= since

    patch.set("note", answer)
    patch.set("covered", covered)


def never_replicate(patch: Patch) -> None:
    patch.set("repair", lambda _self: None)


class _Instead:
    """An object with some of its attributes replaced, for whoever is given it."""

    def __init__(self, real: Any, **instead: Any) -> None:
        self._real = real
        self.__dict__.update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _hashed_again(hood: Any) -> _Instead:
    """A neighbourhood that takes the hash of a position for the position."""

    def again(position: int) -> int:
        return int.from_bytes(hashlib.sha256(position.to_bytes(32, "big")).digest(), "big")

    return _Instead(
        hood,
        rank_of=lambda key, position: hood.rank_of(key, again(position)),
        responsible=lambda position: hood.responsible(again(position)),
    )


def hand_over_by_hash_of_hash(patch: Patch) -> None:
    real_page, real_given = patch.real("Holder.page"), patch.real("hand_to")

    def page(self: Any, *arguments: Any, **named: Any) -> Any:
        hood = self._hood
        self._hood = _hashed_again(hood)
        try:
            return real_page(self, *arguments, **named)
        finally:
            self._hood = hood

    def hand_to(self: Any, contact: Any) -> None:
        real_given(_Instead(self, _engine=_Instead(self._engine, hood=_hashed_again(self._engine.hood))), contact)

    patch.set("Holder.page", page)
    patch.set("hand_to", hand_to)


def keep_authority(patch: Patch) -> None:
    patch.set("reaches_majority", lambda _self, _since: True)


def forget_on_return(patch: Patch) -> None:
    real = patch.real("watch_silence")

    def watch_silence(self: Any, now: float) -> None:
        self._cut_off_at = float("-inf")
        real(self, now)

    patch.set("watch_silence", watch_silence)


def leave_empty_handed(patch: Patch) -> None:
    patch.set("Leaving.plan", lambda _self: None)


# -- finding the way


def first_hop_only(patch: Patch) -> None:
    real = patch.real("Reading.read")

    def read(self: Any, peer: Any, reply: Any) -> Any:
        named = real(self, peer, reply)
        return None if named is None else [peer for _ in named]

    patch.set("Reading.read", read)


def no_lookup(patch: Patch) -> None:
    real_read = patch.real("Reading.read")
    patch.set("Reading.read", lambda self, peer, reply: None if real_read(self, peer, reply) is None else [])
    for tally in ("GetTally.answer", "PutTally.answer"):
        real = patch.real(tally)
        patch.set(
            tally,
            lambda self, peer, what, *, authoritative, named=(), real=real: real(self, peer, what, authoritative=authoritative),
        )


def refresh_anywhere(patch: Patch) -> None:
    patch.set("refresh.spread", lambda _own, _index, noise: noise)


def whoever_asks_is_a_server(patch: Patch) -> None:
    real = patch.real("serve")

    def serve(self: Any, sender: Any, request: Any, respond: Any, *, is_server: bool, **rest: Any) -> None:
        real(self, sender, request, respond, is_server=True, **rest)

    patch.set("serve", serve)


def announce_every_minute(patch: Patch) -> None:
    patch.set("reprovide_s", 60.0)
