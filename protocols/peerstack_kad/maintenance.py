"""Looking around in buckets where nothing was looked up for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode
from peerstack_kad.buckets import RoutingTable
from peerstack_kad.keys import spread

__all__ = ["Refresher"]

_LOOKUP_TIMEOUT_S: Final = 60.0


class Refresher:
    """Looks around in one bucket after the other, for a position inside the bucket's own range (IPTPS 2002, 2.3).

    Args:
        engine: Whose node.
        table: Its routing table.
        found: Called after each lookup.
    """

    def __init__(self, engine: Engine, table: RoutingTable, found: Callable[[], None]) -> None:
        self._engine = engine
        self._table = table
        self._found = found
        self._running = False
        self._stopped = False

    def thin(self) -> None:
        """Look around in every bucket that is not full: after joining."""
        table = self._table
        self._begin([index for index in range(table.depth) if len(table.bucket(index)) < self._engine.parameters.k])

    def due(self, before: float) -> None:
        """Look around our own position, and in every bucket beyond what that finds where nothing was looked up since `before`."""
        corner = self._table.corner(self._engine.parameters.k)
        self._begin([*(index for index in self._table.due_for_refresh(before) if index < corner), KEY_BITS])

    def stop(self) -> None:
        """Look nowhere any more."""
        self._stopped = True

    def _begin(self, indices: list[int]) -> None:
        if not self._running and not self._stopped:
            self._running = True
            self._next(indices)

    def _next(self, indices: list[int]) -> None:
        engine = self._engine
        if self._stopped or not indices or not len(self._table):
            self._running = False
            return
        index, *rest = indices
        own = engine.own

        def found(_locate: Locate) -> None:
            self._found()
            self._next(rest)

        if index >= KEY_BITS:
            request = FindNode(own.peer_id.to_bytes(), own.key)
        else:
            request = FindNode(b"", spread(own.key, index, engine.outside.random_bits(KEY_BITS)))
        Locate(engine, request, count=engine.parameters.k, trace=False, timeout=_LOOKUP_TIMEOUT_S, finished=found).start()
