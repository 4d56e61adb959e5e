"""Operations that come before the node knows anybody, or while it joins: they begin as soon as they can be answered.

A host is asked to put as soon as it runs: its bootstrap peer is still being dialled, or the peer it just connected to has not said yet what
it serves. Failing at once would be true and useless, so an operation waits within its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.replica.seam import Outside
from peerstack.errors import PeerstackError, Unavailable

__all__ = ["Begin", "Readiness", "Refuse"]

Begin = Callable[[float], None]
"""Begins an operation; given the seconds that are left of its time."""
Refuse = Callable[[PeerstackError], None]

_MAX_WAIT_TO_JOIN_S: Final = 10.0
_MIN_LEFT_S: Final = 0.001


@dataclass(slots=True, eq=False)
class _Waiting:
    begin: Begin
    refuse: Refuse
    ends_at: float
    cancel: Callable[[], None] = lambda: None


class Readiness:
    """Holds operations back until the node is ready.

    Args:
        outside: Clock and timers.
        ready: Whether the node has joined and, as a server, has taken over.
        known: Whether it knows any other server.
        awaited: What may still change that, in words; None where there is nothing to wait for.
    """

    def __init__(
        self, outside: Outside, *, ready: Callable[[], bool], known: Callable[[], bool], awaited: Callable[[], str | None]
    ) -> None:
        self._outside = outside
        self._ready = ready
        self._known = known
        self._awaited = awaited
        self._waiting: list[_Waiting] = []

    def when(self, begin: Begin, refuse: Refuse, timeout: float) -> None:
        """Begin an operation now, or as soon as there is nothing to wait for.

        Whoever knows any server at all waits for no more than half of the operation's time; whoever knows none, for all of it.

        Args:
            begin: Begins it.
            refuse: Told why it never began.
            timeout: Seconds for all of it.
        """
        if not self._must_wait():
            begin(timeout)
            return
        waiting = _Waiting(begin, refuse, self._outside.time() + timeout)
        waiting.cancel = self._outside.call_later(min(timeout / 2, _MAX_WAIT_TO_JOIN_S), lambda: self._half_time(waiting))
        self._waiting.append(waiting)

    def review(self) -> None:
        """Look again: something the operations wait for has happened, or will not happen any more."""
        if self._waiting and not self._must_wait():
            for waiting in self._take_all():
                self._begin(waiting)

    def close(self, error: PeerstackError) -> None:
        """Refuse whatever waits."""
        for waiting in self._take_all():
            waiting.refuse(error)

    def _must_wait(self) -> bool:
        return not (self._ready() and self._known()) and self._awaited() is not None

    def _half_time(self, waiting: _Waiting) -> None:
        if self._ready() or self._known():
            self._waiting.remove(waiting)
            self._begin(waiting)
        else:
            left = max(0.0, waiting.ends_at - self._outside.time())
            waiting.cancel = self._outside.call_later(left, lambda: self._give_up(waiting))

    def _give_up(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.refuse(Unavailable(f"no server of this network was met in time: {self._awaited() or 'nobody is left to wait for'}"))

    def _begin(self, waiting: _Waiting) -> None:
        waiting.begin(max(_MIN_LEFT_S, waiting.ends_at - self._outside.time()))

    def _take_all(self) -> list[_Waiting]:
        taken, self._waiting = self._waiting, []
        for waiting in taken:
            waiting.cancel()
        return taken
