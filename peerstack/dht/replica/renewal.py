"""Renewing own records: at half life, the same version with a later expiry, for as long as this node runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.contract import PutResult
from peerstack.dht.policy import draft_renewal, renewal_due
from peerstack.dht.quorum import PutTally
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.persistence import OwnRecord
from peerstack.dht.replica.putting import Spread
from peerstack.dht.replica.reading import Reading
from peerstack.errors import InvalidRecord, PeerstackError

__all__ = ["Renewals", "Renewing"]

_PARALLEL: Final = 4


class Renewing:
    """One renewal: find the responsible set, and store the extended record there if nobody has anything newer.

    Args:
        engine: Whose node.
        record: The record as it stands.
        renewed: The extended one.
        timeout: Seconds for all of it.
        finished: Gets the result (None: something newer is stored, there is nothing to renew), or the error.
    """

    def __init__(
        self,
        engine: Engine,
        record: Record,
        renewed: Record,
        *,
        timeout: float,
        finished: Callable[[PutResult | PeerstackError | None], None],
    ) -> None:
        self._engine = engine
        self._record = record
        self._renewed = renewed
        self._finished = finished
        self._namespace = engine.namespaces[record.namespace]
        self._reading = Reading(engine, self._namespace, record.key, record.subkey, quorum=None, changed=self._looked)
        self._spread: Spread | None = None
        self._over = False
        self._cancel = engine.outside.call_later(timeout, self._timed_out)

    def start(self) -> None:
        """Begin."""
        self._reading.start()

    def _looked(self) -> None:
        tally = self._reading.tally
        if self._over or self._spread is not None or not (self._reading.exhausted or (tally.confirmed and self._reading.converged)):
            return
        best = tally.best(self._record.subkey)
        if best is not None and best.version > self._record.version:
            self._finish(None)
            return
        self._reading.stop()
        known = tally.closest(2 * self._engine.parameters.replicas)
        put = PutTally(self._renewed, self._namespace, self._engine.placement, known=known)
        self._spread = Spread(self._engine, self._renewed, put, self._reading.contacts, self._judge)
        self._spread.step()

    def _judge(self) -> None:
        if self._over or self._spread is None:
            return
        tally = self._spread.tally
        superseding = tally.superseded_by
        if superseding is not None and superseding.version > self._record.version:
            self._finish(None)
        elif tally.satisfied or tally.hopeless:
            try:
                self._finish(tally.conclude())
            except PeerstackError as error:
                self._finish(error)

    def _timed_out(self) -> None:
        if not self._over:
            self._finish(PeerstackError("the renewal took too long"))

    def _finish(self, result: PutResult | PeerstackError | None) -> None:
        self._over = True
        self._cancel()
        self._reading.stop()
        if self._spread is not None:
            self._spread.stop()
        self._finished(result)


class Renewals:
    """The records this node renews, and when. They are remembered over a restart.

    Args:
        engine: Whose node.
        unsaved: Told of a record that could not be remembered: it ends if this node does not run on.
    """

    def __init__(self, engine: Engine, unsaved: Callable[[Slot], None] = lambda _slot: None) -> None:
        self._engine = engine
        self._unsaved = unsaved
        self._own: dict[Slot, OwnRecord] = {}
        self._running: set[Slot] = set()

    def __len__(self) -> int:
        return len(self._own)

    def keep(self, record: Record, *, acknowledged: bool, saved: Callable[[], None] = lambda: None) -> None:
        """Renew a record that was put from now on, or, where it is not renewable, nothing in its slot any more.

        Args:
            record: What was put.
            acknowledged: Whether a majority acknowledged it.
            saved: Called once that is remembered, or cannot be.
        """
        if record.renewable and acknowledged:
            own = self._own[record.slot] = OwnRecord(record, record.expires_at)
            self._save(record.slot, own, saved)
        elif self._own.pop(record.slot, None) is not None:
            self._save(record.slot, None, saved)
        else:
            saved()

    def restore(self) -> None:
        """Take up what earlier runs renewed.

        Raises:
            StoreError: It cannot be read.
        """
        for own in self._engine.state.own_records():
            self._own.setdefault(own.record.slot, own)

    def drop(self, slot: Slot) -> None:
        """Renew nothing in a slot."""
        if self._own.pop(slot, None) is not None:
            self._save(slot, None, lambda: None)

    def tick(self) -> None:
        """Renew what is due; call it often compared with the records' lifetimes."""
        engine = self._engine
        now = engine.outside.wall_us()
        for slot, own in list(self._own.items()):
            if len(self._running) >= _PARALLEL:
                return
            if slot in self._running or max(own.try_at, renewal_due(own.record, engine.parameters)) > now:
                continue
            draft = draft_renewal(own.record, own.acknowledged_expiry, now, engine.parameters)
            if draft is None:
                self.drop(slot)
                continue
            try:
                renewed = Record.sign(draft, engine.signer)
            except InvalidRecord:
                self.drop(slot)
                continue
            self._renew(slot, own, renewed)

    def _save(self, slot: Slot, own: OwnRecord | None, saved: Callable[[], None]) -> None:
        def committed(kept: bool) -> None:
            if not kept:
                self._unsaved(slot)
            saved()

        try:
            self._engine.state.save_own(slot, own, committed)
        except PeerstackError:
            committed(False)

    def _renew(self, slot: Slot, own: OwnRecord, renewed: Record) -> None:
        self._running.add(slot)
        pause = max(1.0, self._engine.parameters.repair_s / 4)

        def finished(result: PutResult | PeerstackError | None) -> None:
            self._running.discard(slot)
            if self._own.get(slot) is not own:
                return  # put again or deleted meanwhile
            if isinstance(result, PutResult):
                self.keep(renewed, acknowledged=True)
            elif result is None:
                self.drop(slot)
            else:
                own.try_at = self._engine.outside.wall_us() + round(pause * MICROSECONDS)

        Renewing(self._engine, own.record, renewed, timeout=max(30.0, pause), finished=finished).start()
