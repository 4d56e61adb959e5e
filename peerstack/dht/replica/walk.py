"""Walking to a key: one lookup driven over the `rpc` seam, whatever it asks on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine, hop_outcome
from peerstack.dht.replica.messages import NodesReply, Reply, Request
from peerstack.dht.replica.routing import Progress
from peerstack.errors import PeerstackError

__all__ = ["Walk", "closer_in_nodes"]

ReadReply = Callable[[Contact, Reply], Sequence[Contact] | None]
"""``(who answered, reply)`` -> the peers it named, or None where the reply is none to the request."""


def closer_in_nodes(_peer: Contact, reply: Reply) -> Sequence[Contact] | None:
    """Read the answer to a `FindNode`."""
    return reply.closer if isinstance(reply, NodesReply) else None


class Walk:
    """Asks whom the lookup wants asked, reports what came, and wakes up when somebody is overdue.

    Args:
        engine: Whose node.
        progress: The lookup.
        request: What everybody is asked.
        read: Takes each reply.
        changed: Called after each report and before anybody else is asked; it may call `stop`.
    """

    def __init__(self, engine: Engine, progress: Progress, request: Request, read: ReadReply, changed: Callable[[], None]) -> None:
        self.progress = progress
        self._engine = engine
        self._request = request
        self._read = read
        self._changed = changed
        self._stopped = False
        self._cancel_wake: Callable[[], None] | None = None
        self._wake_at: float | None = None

    def step(self) -> None:
        """Ask whom there is to ask."""
        if self._stopped:
            return
        now = self._engine.outside.time()
        for ask in self.progress.next(now):
            self._ask(ask.contact, ask.timeout)
        self._arm(now)

    def stop(self) -> None:
        """Ask nobody any more; answers that come are still read."""
        self._stopped = True
        if self._cancel_wake is not None:
            self._cancel_wake()
            self._cancel_wake = None

    def _ask(self, contact: Contact, timeout: float) -> None:
        self._engine.ask(contact, self._request, lambda reply, now: self._answered(contact, reply, now), timeout=timeout)

    def _answered(self, contact: Contact, reply: Reply | PeerstackError, now: float) -> None:
        if isinstance(reply, PeerstackError):
            self.progress.on_failure(contact, now, hop_outcome(reply))
        else:
            closer = self._read(contact, reply)
            if closer is None:
                self.progress.on_failure(contact, now)
            else:
                self.progress.on_reply(contact, closer, now)
        self._changed()
        self.step()

    def _arm(self, now: float) -> None:
        wake_at = self.progress.deadline()
        if wake_at is None or (self._wake_at is not None and now < self._wake_at <= wake_at):
            return
        if self._cancel_wake is not None:
            self._cancel_wake()
        self._wake_at = wake_at
        self._cancel_wake = self._engine.outside.call_later(max(0.0, wake_at - now), self._wake)

    def _wake(self) -> None:
        self._wake_at = None
        self._cancel_wake = None
        self.step()
        self._changed()
        self.step()
