"""`lookup` as a state machine over a walk; joining and looking around use it too."""

from __future__ import annotations

from collections.abc import Callable

from peerstack.dht.contract import Hop, Lookup
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import Contact, key_bytes, position_of
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.messages import FindNode
from peerstack.dht.replica.seam import Finished
from peerstack.dht.replica.walk import Walk, closer_in_nodes
from peerstack.errors import Unavailable

__all__ = ["Locate"]


class Locate:
    """One `peerstack.dht.contract.Dht.lookup`, or a look around a point of the key space.

    Args:
        engine: Whose node.
        request: What to look for.
        count: How many closest servers.
        timeout: Seconds for all of it.
        finished: Given this object when it is over.
        trace: Whether to give the hops.

    Attributes:
        complete: Whether the lookup ended by its own rule.
    """

    def __init__(
        self, engine: Engine, request: FindNode, *, count: int, timeout: float, finished: Callable[[Locate], None], trace: bool = False
    ) -> None:
        self.complete = False
        self._engine = engine
        self._request = request
        self._finished = finished
        self._count = count
        self._trace = trace
        self._progress = engine.begin_lookup(request.position, count=count)
        self._walk = Walk(engine, self._progress, request, closer_in_nodes, self._judge)
        self._over = False
        self._cancel = engine.outside.call_later(timeout, self._end)

    @classmethod
    def of_key(cls, engine: Engine, namespace: str, key: bytes, *, trace: bool, timeout: float, finished: Finished[Lookup]) -> Locate:
        """The public operation."""
        position = position_of(wire_key(namespace, key))

        def found(locate: Locate) -> None:
            if not locate.contacts:
                finished(Unavailable("no server of this network could be asked"))
                return
            peers = tuple(contact.peer_id for contact in locate.contacts)
            finished(Lookup(key=key, position=key_bytes(position), peers=peers, complete=locate.complete, hops=locate.hops))

        count = engine.parameters.replicas
        return cls(engine, FindNode(wire_key(namespace, key), position), count=count, trace=trace, timeout=timeout, finished=found)

    @property
    def contacts(self) -> list[Contact]:
        """The closest servers found, this node included where it is one, closest first: `count`, or what several paths found together."""
        found = self._progress.result()
        most = max(self._count, len(found))
        if self._engine.serving:
            found.append(self._engine.own)
        distance = self._engine.geometry.distance_from(self._request.position)
        return sorted(found, key=lambda contact: distance(contact.key))[:most]

    @property
    def hops(self) -> tuple[Hop, ...]:
        """What was asked of whom, in order of sending, if traced."""
        return self._progress.trace(self._engine.outside.time()) if self._trace else ()

    def start(self) -> None:
        """Begin."""
        self._walk.step()
        self._judge()

    def _judge(self) -> None:
        if self._progress.done:
            self.complete = self._progress.complete or not len(self._engine.routing)
            self._engine.outside.call_later(0, self._end)

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._cancel()
            self._walk.stop()
            self._engine.routing.looked_up(self._request.position, self._engine.outside.time())
            self._finished(self)
