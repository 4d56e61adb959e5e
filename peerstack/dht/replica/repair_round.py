"""Keeping alive what is held: each round every record is compared with the copies of its responsible servers, and what differs is sent.

A server is first *offered* digests, so that copies that are equal cost no value bytes; what it does not hold equal is pushed, and where it
holds something greater that comes back and is adopted. A record outside this node's responsibility is offered too, and dropped once all who
are responsible have confirmed it with authority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import Contact, key_bytes
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.geometry import closest
from peerstack.dht.replica.limits import MAX_PAGE_BYTES, MAX_PAGE_RECORDS
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode, Offer, OfferAnswer, Offered, OfferReply, Push, PushReply, Reply
from peerstack.dht.replica.offers import members_digest
from peerstack.dht.store.contract import Cursor, Outcome, Source, SourceKind, Status
from peerstack.errors import PeerstackError

__all__ = ["Count", "Plan", "Round", "batches"]

_START: Final = key_bytes(0)
_ATTEMPTS: Final = 3
_LOOKUP_TIMEOUT_S: Final = 30.0

Count = Callable[[str, int], None]
"""Adds to a counter."""


def batches(records: Iterable[Record]) -> Iterator[tuple[Record, ...]]:
    """Cut records into what one `Push` may carry."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) == MAX_PAGE_RECORDS or size + record.size > MAX_PAGE_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield tuple(batch)


@dataclass(slots=True, eq=False)
class _Duty:
    """One record of the page at hand."""

    record: Record
    targets: list[Contact]
    members: bytes
    displaced: bool
    confirmed: int = 0


Plan = Callable[[Record], "tuple[list[Contact], bool] | None"]
"""``record`` -> its targets and whether this node is not responsible for it; None: nothing to do."""


class Round:
    """One pass over all that is held.

    Args:
        engine: Whose node.
        plan: Whom to offer what.
        count: Counts what was done.
        done: Called once with whether the whole store was passed through; not called after `stop`.
    """

    def __init__(self, engine: Engine, plan: Plan, count: Count, done: Callable[[bool], None]) -> None:
        self._engine = engine
        self._plan = plan
        self._count = count
        self._done = done
        self._failed: set[int] = set()  # who did not answer: left alone for the rest of this round
        self._awaited = 0
        self._duties: list[_Duty] = []
        self._distant: list[Record] = []
        self._looked = False  # for the sets of the displaced records of this page
        self._last: Cursor | None = None
        self._over = False

    def start(self) -> None:
        """Begin."""
        self._turn_page()

    def stop(self) -> None:
        """Ask nobody any more."""
        self._over = True

    def _turn_page(self) -> None:
        engine = self._engine
        try:
            page = engine.store.scan(_START, None, now=engine.outside.wall_us(), after=self._last, limit=MAX_PAGE_RECORDS)
        except PeerstackError:
            self._count("replication_failures", 1)
            self._finish(complete=False)
            return
        if not page:
            self._finish(complete=True)
            return
        self._last = (page[-1].position, page[-1].subkey)
        self._duties = []
        self._distant = []
        self._looked = False
        for record in page:
            if engine.hood.knows(int.from_bytes(record.position, "big")):
                self._plan_for(record)
            else:
                self._distant.append(record)
        self._offer(self._duties)

    def _plan_for(self, record: Record) -> None:
        planned = self._plan(record)
        if planned is not None and planned[0]:
            targets, displaced = planned
            members = self._engine.hood.responsible(int.from_bytes(record.position, "big"))
            self._duties.append(_Duty(record, targets, members_digest(members), displaced))

    def _offer(self, duties: Sequence[_Duty]) -> None:
        per_target: dict[int, tuple[Contact, list[_Duty]]] = {}
        for duty in duties:
            for target in duty.targets:
                per_target.setdefault(target.key, (target, []))[1].append(duty)
        self._awaited += 1  # until all are under way
        for target, owed in per_target.values():
            if target.key not in self._failed:
                self._offer_to(target, owed)
        self._settle()

    def _offer_to(self, target: Contact, duties: list[_Duty]) -> None:
        entries = tuple(
            Offered(duty.record.position, duty.record.subkey, duty.record.digest, duty.record.value is not None, duty.members)
            for duty in duties
        )

        def answered(reply: Reply) -> None:
            if not isinstance(reply, OfferReply) or len(reply.answers) != len(duties):
                self._failed.add(target.key)
                return
            for duty, answer in zip(duties, reply.answers, strict=True):
                duty.confirmed += answer is OfferAnswer.CONFIRMED
            self._push(target, [duty.record for duty, answer in zip(duties, reply.answers, strict=True) if answer is OfferAnswer.DIFFERENT])

        self._ask(target, Offer(entries), answered)

    def _push(self, target: Contact, records: list[Record]) -> None:
        for batch in batches(records):
            self._count("records_pushed", len(batch))
            self._ask(target, Push(batch), lambda reply: self._adopt(target, reply))

    def _adopt(self, target: Contact, reply: Reply) -> None:
        """Take the greater records that an answer carries."""
        if not isinstance(reply, PushReply):
            self._failed.add(target.key)
            return
        greater = [outcome.record for outcome in reply.outcomes if outcome.status is Status.SUPERSEDED and outcome.record is not None]
        if not greater:
            return
        self._awaited += 1

        def merged(outcomes: list[Outcome]) -> None:
            self._count("records_adopted", sum(outcome.status is Status.STORED for outcome in outcomes))
            self._settle()

        try:
            self._engine.store.merge(
                greater, source=Source(SourceKind.PULL, target.peer_id), now=self._engine.outside.wall_us(), done=merged
            )
        except PeerstackError:
            self._count("replication_failures", 1)
            self._settle()

    def _ask(self, target: Contact, request: Offer | Push, answered: Callable[[Reply], None], attempt: int = 1) -> None:
        self._awaited += 1

        def done(reply: Reply | PeerstackError, _now: float) -> None:
            if self._over:
                return
            if not isinstance(reply, PeerstackError):
                answered(reply)
            elif attempt < _ATTEMPTS and target.key not in self._failed:
                self._ask(target, request, answered, attempt + 1)
            else:
                self._failed.add(target.key)
            self._settle()

        self._engine.ask(target, request, done)

    def _settle(self) -> None:
        """One thing waited for has come; go on when it was the last."""
        self._awaited -= 1
        if self._awaited or self._over:
            return
        if not self._looked:
            self._looked = True
            self._distant += self._unconfirmed()
        if self._distant:
            self._look_up(self._distant.pop())
            return
        self._drop_displaced()

    def _look_up(self, record: Record) -> None:
        """Find out who is responsible for a record that lies far from us."""
        engine = self._engine
        position = int.from_bytes(record.position, "big")
        self._awaited += 1

        def found(locate: Locate) -> None:
            if self._over:
                return
            targets = self._closest_of(locate.contacts, position)
            if locate.complete and len(targets) == engine.parameters.replicas:
                duty = _Duty(record, targets, members_digest(targets), displaced=True)
                self._duties.append(duty)
                self._offer([duty])
            self._settle()

        request = FindNode(b"", position)
        Locate(engine, request, count=engine.parameters.replicas, trace=False, timeout=_LOOKUP_TIMEOUT_S, finished=found).start()

    def _closest_of(self, contacts: Iterable[Contact], position: int) -> list[Contact]:
        """The set among these, and, of what lies nearby, among those counted."""
        engine = self._engine
        counted = engine.hood.responsible(position) if engine.hood.knows(position) else []
        known = {contact.key: contact for contact in (*contacts, *counted) if contact.key != engine.own.key}
        return [known[key] for key in closest(engine.geometry, known, position, engine.parameters.replicas)]

    def _unconfirmed(self) -> list[Record]:
        """Displaced records of which somebody we took for responsible does not say so: newcomers may be that we have not met."""
        return [duty.record for duty in self._duties if duty.displaced and duty.confirmed < len(duty.targets)]

    def _drop_displaced(self) -> None:
        """Let go of what all responsible servers have confirmed to hold, if none of them has fallen silent since."""
        hood = self._engine.hood
        dropped = []
        for duty in self._duties:
            if not duty.displaced or duty.confirmed < len(duty.targets) or not hood.settled:
                continue
            if any(target.key in self._failed for target in duty.targets):
                continue
            position = int.from_bytes(duty.record.position, "big")
            if members_digest(self._closest_of(duty.targets, position)) != duty.members:
                continue  # the set has changed since
            dropped.append(duty.record)
        if not dropped:
            self._engine.outside.call_later(0, self._go_on)
            return

        def committed(count: int) -> None:
            self._count("records_dropped", count)
            self._engine.outside.call_later(0, self._go_on)

        try:
            self._engine.store.drop(dropped, done=committed)
        except PeerstackError:
            self._finish(complete=False)

    def _go_on(self) -> None:
        if not self._over:
            self._turn_page()

    def _finish(self, *, complete: bool) -> None:
        if not self._over:
            self._over = True
            self._done(complete)
