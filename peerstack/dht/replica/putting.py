"""`put` and `delete` as a state machine over a `Reading` and a tally: started once, it calls back once.

It does not wait for a slow peer: it returns with the acknowledgements asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.arguments import wanted_acks
from peerstack.dht.contract import Ack, PutResult, RefusalReason
from peerstack.dht.policy import Lifetime, draft_record
from peerstack.dht.quorum import PutTally, majority
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.contacts import Contact, note
from peerstack.dht.replica.engine import Engine, failure_reason
from peerstack.dht.replica.messages import PutReply, PutValue, Reply
from peerstack.dht.replica.reading import ASK_AGAIN_S, Reading
from peerstack.dht.replica.seam import Finished
from peerstack.errors import DeadlineExceeded, InvalidMessage, InvalidRecord, PeerstackError
from peerstack.identity import PeerId

__all__ = ["Put", "PutOrder", "Spread"]

_RESTAMPS: Final = 1


class Spread:
    """Store one finished record with its responsible set.

    Args:
        engine: Whose node.
        record: What to store.
        tally: Counts; it knows whom to begin with.
        contacts: How to reach everybody the tally may name.
        changed: Called after every answer.
    """

    def __init__(
        self, engine: Engine, record: Record, tally: PutTally, contacts: dict[PeerId, Contact], changed: Callable[[], None]
    ) -> None:
        self.tally = tally
        self._engine = engine
        self._record = record
        self._contacts = contacts
        self._changed = changed
        self._sent: set[PeerId] = set()
        self._members: tuple[PeerId, ...] = ()  # as last sent to
        self._named: tuple[Contact, ...] = ()  # as last answered
        self._stored: set[PeerId] = set()
        self._stopped = False

    def step(self) -> None:
        """Send to every member it was not sent to."""
        if self._stopped or self.tally.members is self._members:
            return
        self._members = self.tally.members
        for peer in self._members:
            if peer not in self._sent:
                self._sent.add(peer)
                self._send(peer)

    def stop(self) -> None:
        """Send to nobody else."""
        self._stopped = True

    @property
    def unsettled(self) -> list[PeerId]:
        """Members that stored the record but have no authority yet: asked again they may have."""
        return [peer for peer in self.tally.members if peer in self._stored and peer not in self.tally.votes]

    def ask_again(self) -> None:
        """Send to the `unsettled` once more."""
        for peer in self.unsettled:
            self._send(peer)

    def _send(self, peer: PeerId) -> None:
        self._engine.ask(self._contacts[peer], PutValue(self._record), lambda reply, _now: self._answered(peer, reply))

    def _answered(self, peer: PeerId, reply: Reply | PeerstackError) -> None:
        if isinstance(reply, PutReply):
            responsible = reply.standing.responsible
            if responsible != self._named:  # as a rule they all name the same
                self._named = responsible
                for contact in responsible:
                    note(self._contacts, contact)
            named = [contact.peer_id for contact in responsible]
            if reply.refusal is None:
                self._stored.add(peer)
            self.tally.answer(peer, reply.refusal, authoritative=reply.standing.authoritative, named=named)
        else:
            error = reply if isinstance(reply, PeerstackError) else InvalidMessage("an answer of another kind")
            self.tally.fail(peer, failure_reason(error), str(error))
        if not self._stopped:
            self.step()
            self._changed()


@dataclass(frozen=True, kw_only=True, slots=True)
class PutOrder:
    """What to put."""

    slot: Slot
    value: bytes
    life: Lifetime
    ack: Ack = "majority"
    timeout: float = 30.0


class Put:
    """One `peerstack.dht.contract.Dht.put` or ``delete``: look the current record up, stamp past it, store.

    Args:
        engine: Whose node.
        order: What to put.
        finished: Gets the result, the record as written, or the error.
    """

    def __init__(self, engine: Engine, order: PutOrder, finished: Finished[tuple[PutResult, Record]]) -> None:
        self._engine = engine
        self._order = order
        self._finished = finished
        self._namespace = engine.namespaces[order.slot.namespace]
        self._reading = Reading(
            engine, self._namespace, order.slot.key, order.slot.subkey, quorum=None, changed=lambda: self._looked(timed_out=False)
        )
        self._spread: Spread | None = None
        self._record: Record | None = None
        self._restamps = 0
        self._asking_again = False
        self._heard_out: PutTally | None = None  # cannot succeed, but is to say who did store: their answers may be under way
        self._ask_again_until = engine.outside.time() + order.timeout / 2
        self._over = False
        self._cancel = engine.outside.call_later(order.timeout, self._timed_out)

    def start(self) -> None:
        """Begin."""
        self._reading.start()

    def _looked(self, *, timed_out: bool) -> None:
        if self._over or self._spread is not None:
            return
        tally = self._reading.tally
        exhausted = timed_out or self._reading.exhausted
        if not exhausted and not (tally.confirmed and self._reading.converged):
            return
        members = len(tally.members)
        unpromised = members > 0 and wanted_acks(self._order.ack, members, majority(members)) < majority(members)
        if not tally.confirmed and not unpromised:
            self._finish(self._reading.unavailable("nothing was written"))
            return
        self._reading.stop()
        self._stamp(tally.best(self._order.slot.subkey))

    def _stamp(self, current: Record | None) -> None:
        engine = self._engine
        wall = engine.outside.wall_us()
        if current is not None and not engine.clock.observe(current.version.time, wall):
            self._finish(InvalidRecord("what is stored there has a version too far ahead of this node's clock: check the clocks"))
            return
        seen = 0 if current is None else current.remember_until
        engine.next_version(wall, lambda time: self._stamped(time, seen))

    def _stamped(self, time: int | PeerstackError, seen: int) -> None:
        engine, order = self._engine, self._order
        if self._over:
            return
        if isinstance(time, PeerstackError):
            self._finish(time)
            return
        try:
            draft = draft_record(order.slot, order.value, time, order.life, seen, engine.parameters)
            record = Record.sign(draft, engine.signer)
            self._namespace.validate(record, engine.outside.wall_us())
        except InvalidRecord as error:
            self._finish(error)
            return
        self._record = record
        known = self._reading.tally.closest(2 * engine.parameters.replicas)
        tally = PutTally(record, self._namespace, engine.placement, ack=order.ack, known=known)
        self._spread = Spread(engine, record, tally, self._reading.contacts, self._judge)
        self._spread.step()

    def _judge(self) -> None:
        if self._over or self._spread is None or self._record is None:
            return
        tally = self._spread.tally
        if tally.superseded_by is not None and self._restamps < _RESTAMPS:
            self._restamps += 1
            self._spread.stop()
            self._stamp(tally.superseded_by)
        elif tally.satisfied:
            self._conclude(tally)
        elif tally.hopeless and not self._asking_again:
            if self._spread.unsettled and self._engine.outside.time() < self._ask_again_until:
                self._asking_again = True
                self._engine.outside.call_later(ASK_AGAIN_S, self._ask_again)
            elif not tally.pending:
                self._conclude(tally)
            elif self._heard_out is not tally:
                self._heard_out = tally
                self._engine.outside.call_later(ASK_AGAIN_S, lambda: self._hear_no_more(tally))

    def _hear_no_more(self, tally: PutTally) -> None:
        if not self._over and self._spread is not None and self._spread.tally is tally and tally.hopeless:
            self._conclude(tally)

    def _ask_again(self) -> None:
        self._asking_again = False
        if not self._over and self._spread is not None:
            self._spread.ask_again()

    def _conclude(self, tally: PutTally) -> None:
        assert self._record is not None
        try:
            self._finish((tally.conclude(), self._record))
        except PeerstackError as error:
            self._finish(error)

    def _timed_out(self) -> None:
        if self._over:
            return
        if self._spread is None:
            why = f"the current record could not be looked up within {self._order.timeout:g} s; nothing was written"
            self._finish(DeadlineExceeded(why))
            return
        for peer in self._spread.tally.pending:
            self._spread.tally.fail(peer, RefusalReason.TIMEOUT, "no answer within the call's time")
        self._conclude(self._spread.tally)

    def _finish(self, result: tuple[PutResult, Record] | PeerstackError) -> None:
        self._over = True
        self._cancel()
        self._reading.stop()
        self._finished(result)
