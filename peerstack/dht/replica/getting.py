"""`get` and `get_all` as state machines over a `Reading`: each is started once and calls back once.

Neither waits for a slow peer: they return with the answers that confirm, and what comes later is still used, to repair who was found stale
or empty.
"""

from __future__ import annotations

from peerstack.dht.contract import GetResult
from peerstack.dht.quorum import ReadVerdict
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.reading import Reading
from peerstack.dht.replica.seam import Finished
from peerstack.errors import PeerstackError

__all__ = ["Get", "GetAll"]


class Get:
    """One `peerstack.dht.contract.Dht.get`.

    Args:
        engine: Whose node.
        slot: What to read.
        quorum: Authoritative answers to insist on.
        timeout: Seconds for all of it.
        finished: Gets the result or the error.
    """

    def __init__(self, engine: Engine, slot: Slot, *, quorum: int | None, timeout: float, finished: Finished[GetResult]) -> None:
        self._engine = engine
        self._slot = slot
        self._finished = finished
        self._reading = Reading(
            engine, engine.namespaces[slot.namespace], slot.key, slot.subkey, quorum=quorum, changed=lambda: self._judge(timed_out=False)
        )
        self._cancel = engine.outside.call_later(timeout, lambda: self._judge(timed_out=True))
        self._over = False

    def start(self) -> None:
        """Begin."""
        self._reading.start()

    def _judge(self, *, timed_out: bool) -> None:
        now = self._engine.outside.wall_us()
        tally = self._reading.tally
        exhausted = timed_out or self._reading.exhausted
        if not exhausted and not self._reading.converged:
            return
        if self._over or tally.verdict(self._slot.subkey, now, exhausted=exhausted) is ReadVerdict.UNDECIDED:
            return
        self._over = True
        self._cancel()
        self._reading.stop()
        repaired = self._reading.repair()
        try:
            result: GetResult | PeerstackError = tally.conclude(self._slot.subkey, now, repaired=repaired, local=self._reading.local)
        except PeerstackError as error:
            result = error
        self._finished(result)


class GetAll:
    """One `peerstack.dht.contract.Dht.get_all`.

    Args:
        engine: Whose node.
        namespace: The key's namespace.
        key: The raw key.
        since: Only records whose version's time is later.
        timeout: Seconds for all of it.
        finished: Gets the records or the error.
    """

    def __init__(
        self, engine: Engine, namespace: str, key: bytes, *, since: int | None, timeout: float, finished: Finished[list[Record]]
    ) -> None:
        self._engine = engine
        self._since = since
        self._finished = finished
        rules = engine.namespaces[namespace]
        self._reading = Reading(engine, rules, key, None, quorum=None, changed=lambda: self._judge(timed_out=False))
        self._cancel = engine.outside.call_later(timeout, lambda: self._judge(timed_out=True))
        self._over = False

    def start(self) -> None:
        """Begin."""
        self._reading.start()

    def _judge(self, *, timed_out: bool) -> None:
        tally = self._reading.tally
        exhausted = timed_out or self._reading.exhausted
        if self._over or not (exhausted or (tally.confirmed and self._reading.converged)):
            return
        self._over = True
        self._cancel()
        self._reading.stop()
        self._reading.repair()
        if not tally.confirmed:
            self._finished(self._reading.unavailable())
            return
        now = self._engine.outside.wall_us()
        live = [record for record in tally.merged if record.value is not None and not record.is_dead(now)]
        self._finished([record for record in live if self._since is None or record.version.time > self._since])
