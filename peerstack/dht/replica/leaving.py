"""Leaving: hand everything over to whoever remains responsible, wait for the acknowledgements, tell everybody, then go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from peerstack.dht.contract import LeaveReport, Refusal, RefusalReason
from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import Contact, key_bytes
from peerstack.dht.replica.engine import Engine, failure_reason
from peerstack.dht.replica.geometry import closest
from peerstack.dht.replica.messages import Leave, Push, PushReply, Reply
from peerstack.dht.replica.repair_round import batches
from peerstack.errors import PeerstackError

__all__ = ["Leaving"]

_ATTEMPTS: Final = 5  # an unheard goodbye costs the others an hour of waiting
_PARALLEL: Final = 8
_FAREWELLS: Final = 2  # times the servers we count: who counts us need not be counted by us
_START: Final = key_bytes(0)


class Leaving:
    """One graceful leave. Writes are refused from its start on.

    Args:
        engine: Whose node.
        timeout: Seconds for all of it.
        finished: Gets the report.
    """

    def __init__(self, engine: Engine, *, timeout: float, finished: Callable[[LeaveReport], None]) -> None:
        self._engine = engine
        self._finished = finished
        self._authoritative = engine.hood.settled
        engine.holder.leaving = True
        self._owed: dict[bytes, int] = {}  # by record digest: copies that are still to be confirmed
        self._tried: dict[bytes, set[int]] = {}  # by record digest: whom it was or is pushed to
        self._batches: list[tuple[Contact, tuple[Record, ...], int]] = []
        self._under_way = 0
        self._failed: dict[Contact, Refusal] = {}
        self._told: set[int] = set()
        self._unread: Refusal | None = None
        self._telling = False
        self._over = False
        self._seen_off: Callable[[], None] | None = None
        self._remaining = [member.contact for member in engine.hood.members.values() if not member.gone]
        self._greeted = {contact.key for contact in self._remaining}
        self._cancel = engine.outside.call_later(timeout, self._end)

    def start(self) -> None:
        """Begin."""
        self._plan()
        self._proceed()

    def see_off(self, done: Callable[[], None]) -> None:
        """Tell those who came since, while this node gave up its place: they were handed to, count it, and would wait for it in vain.

        Args:
            done: Called once they have answered, or have not.
        """
        self._seen_off = done
        self._proceed()

    def _plan(self) -> None:
        try:
            held = list(self._records())
        except PeerstackError as error:
            # What cannot be read cannot be handed over: those who remain have to hear it from each other.
            self._unread = Refusal(RefusalReason.FAILED, str(error))
            self._failed[self._engine.own] = self._unread
            return
        copies = min(self._engine.parameters.replicas, len(self._remaining))
        for record in held:
            self._owed[record.digest] = copies
            self._tried[record.digest] = set()
        self._assign(held, copies)

    def _assign(self, records: Sequence[Record], copies: int) -> None:
        """Have each record pushed to the closest that it was not pushed to yet."""
        contacts = {contact.key: contact for contact in self._remaining if contact not in self._failed}
        per_target: dict[int, list[Record]] = {}
        for record in records:
            tried = self._tried[record.digest]
            untried = [key for key in contacts if key not in tried]
            for key in closest(self._engine.geometry, untried, int.from_bytes(record.position, "big"), copies):
                tried.add(key)
                per_target.setdefault(key, []).append(record)
        for key, owed in per_target.items():
            self._batches += [(contacts[key], batch, 1) for batch in batches(owed)]

    def _records(self) -> Iterator[Record]:
        store, wall = self._engine.store, self._engine.outside.wall_us()
        page = store.scan(_START, None, now=wall)
        while page:
            yield from page
            page = store.scan(_START, None, now=wall, after=(page[-1].position, page[-1].subkey))

    def _proceed(self) -> None:
        if self._over:
            if self._seen_off is not None and not self._under_way and not self._bid_farewells():
                done, self._seen_off = self._seen_off, None
                done()
            return
        while self._batches and self._under_way < _PARALLEL:
            contact, batch, attempt = self._batches.pop(0)
            self._push(contact, batch, attempt)
        if not self._under_way and not self._batches:
            if not self._telling:
                self._tell()
            elif not self._bid_farewells():
                self._end()

    def _push(self, contact: Contact, batch: tuple[Record, ...], attempt: int) -> None:
        self._under_way += 1

        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            self._under_way -= 1
            if isinstance(reply, PushReply):
                self._confirm(contact, batch, reply)
            elif attempt < _ATTEMPTS:
                self._batches.append((contact, batch, attempt + 1))
            else:
                self._fail(contact, reply)
                self._assign(batch, 1)
            self._proceed()

        self._engine.ask(contact, Push(batch), answered)

    def _confirm(self, contact: Contact, batch: tuple[Record, ...], reply: PushReply) -> None:
        refused: list[Record] = []
        for record, outcome in zip(batch, reply.outcomes, strict=True):
            if outcome.covers:
                self._owed[record.digest] -= 1
            else:
                self._failed[contact] = outcome.refusal() or Refusal(RefusalReason.FAILED, outcome.message)
                refused.append(record)
        self._assign(refused, 1)

    def _tell(self) -> None:
        self._telling = True
        for contact in self._remaining:
            self._tell_one(contact, attempt=1)
        self._bid_farewells()
        if not self._under_way:
            self._end()

    def _bid_farewells(self) -> bool:
        """Tell servers that we do not count and that may count us, or are about to; whether there were any."""
        engine = self._engine
        near = [*engine.routing.closest(engine.own.key, _FAREWELLS * engine.hood.size), *engine.callers.values()]
        others = {contact.key: contact for contact in near if contact.key not in self._greeted}
        self._greeted |= others.keys()
        for contact in others.values():
            self._bid_farewell(contact)
        return bool(others)

    def _bid_farewell(self, contact: Contact) -> None:
        """Tell a server that was handed nothing. Nothing depends on it."""
        self._under_way += 1
        # All that is ours lies closer to those we count than to who is too far away to be counted.
        nothing_owed = self._authoritative and self._unread is None and not self._engine.hood.is_near(contact.key)

        def answered(_reply: Reply | PeerstackError, _now: float) -> None:
            self._under_way -= 1
            self._proceed()

        self._engine.ask(contact, Leave(nothing_owed, self._named(contact)), answered)

    def _tell_one(self, contact: Contact, *, attempt: int) -> None:
        self._under_way += 1

        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            self._under_way -= 1
            if not isinstance(reply, PeerstackError):
                self._told.add(contact.key)
            elif attempt < _ATTEMPTS and not self._over:
                self._tell_one(contact, attempt=attempt + 1)
            else:
                self._fail(contact, reply)
            self._proceed()

        handed = self._authoritative and self._unread is None and contact not in self._failed
        self._engine.ask(contact, Leave(handed, self._named(contact)), answered)

    def _named(self, to: Contact) -> tuple[Contact, ...]:
        return tuple(contact for contact in self._remaining if contact.key != to.key and contact not in self._failed)

    def _fail(self, contact: Contact, reply: Reply | PeerstackError) -> None:
        if isinstance(reply, PeerstackError):
            self._failed[contact] = Refusal(failure_reason(reply), str(reply))
        else:
            self._failed[contact] = Refusal(RefusalReason.FAILED, "an answer of another kind")

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        handed = sum(missing == 0 for missing in self._owed.values()) if self._remaining else 0
        all_handed = handed == len(self._owed) and self._authoritative and self._unread is None
        everybody_told = all(contact.key in self._told for contact in self._remaining)
        alone = not self._remaining and not self._owed and self._unread is None
        self._finished(
            LeaveReport(
                complete=alone or (bool(self._remaining) and everybody_told and all_handed),
                records=len(self._owed),
                handed_over=handed,
                peers=tuple(contact.peer_id for contact in self._remaining),
                failed={contact.peer_id: refusal for contact, refusal in self._failed.items()},
            )
        )
