"""Announcing that this node has something, and finding who has it.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#content-provider-advertisement-and-discovery
"""

from __future__ import annotations

from collections.abc import Sequence

from peerstack.dht.contract import Provider
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import Done, FindNode, Reply
from peerstack.dht.replica.seam import Finished
from peerstack.dht.replica.walk import Walk
from peerstack.errors import PeerstackError, Unavailable
from peerstack.identity import PeerId
from peerstack_kad.messages import AddProvider, GetProviders, ProvidersReply, Taken
from peerstack_kad.provider_records import ProviderRecords

__all__ = ["FindProviders", "Provide", "was_told"]


def was_told(reply: Reply | PeerstackError) -> bool:
    """Whether an announcement arrived and was not refused; on foreign ids nobody says more."""
    return isinstance(reply, Done) or (isinstance(reply, Taken) and reply.refusal is None)


class Provide:
    """Announce one key to the closest servers.

    Args:
        engine: Whose node.
        key: What it has.
        own: Where this node notes it if it is among the closest; None for a client.
        timeout: Seconds for all of it.
        finished: Gets who was told, or `Unavailable` where nobody was.
    """

    def __init__(
        self, engine: Engine, key: bytes, *, own: ProviderRecords | None, timeout: float, finished: Finished[tuple[PeerId, ...]]
    ) -> None:
        self._engine = engine
        self._key = key
        self._own = own
        self._finished = finished
        self._told: list[PeerId] = []
        self._waiting: set[PeerId] = set()
        self._over = False
        count, half = engine.parameters.k, timeout / 2
        self._locate = Locate(engine, FindNode.of(key), count=count, trace=False, timeout=half, finished=self._found)
        self._cancel = engine.outside.call_later(timeout, self._end)

    def start(self) -> None:
        """Begin."""
        self._locate.start()

    def _found(self, locate: Locate) -> None:
        engine, position = self._engine, position_of(self._key)
        contacts = {contact.key: contact for contact in locate.contacts}
        if self._own is not None:
            contacts[engine.own.key] = engine.own
        request = AddProvider((self._key,), (engine.own,))
        for key in sorted(contacts, key=position.__xor__)[: engine.parameters.k]:
            contact = contacts[key]
            if key != engine.own.key:
                self._waiting.add(contact.peer_id)
                self._tell(contact, request)
            elif self._own is not None and self._own.add((self._key,), engine.own, engine.outside.wall_us()) is None:
                self._told.append(contact.peer_id)
        self._judge()

    def _tell(self, contact: Contact, request: AddProvider) -> None:
        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            self._waiting.discard(contact.peer_id)
            if was_told(reply):
                self._told.append(contact.peer_id)
            self._judge()

        self._engine.ask(contact, request, answered)

    def _judge(self) -> None:
        if not self._waiting:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        self._finished(tuple(self._told) if self._told else Unavailable("no server of this network could be told"))


class FindProviders:
    """Ask the closest servers who has it, until enough are found or everybody was asked.

    Args:
        engine: Whose node.
        key: What is sought.
        limit: How many providers are enough.
        own: What this node knows itself; None for a client.
        timeout: Seconds for all of it.
        finished: Gets the providers, or `Unavailable` where nobody answered.
    """

    def __init__(
        self, engine: Engine, key: bytes, *, limit: int, own: ProviderRecords | None, timeout: float, finished: Finished[list[Provider]]
    ) -> None:
        self._engine = engine
        self._limit = limit
        self._finished = finished
        self._found: dict[PeerId, Provider] = {}
        self._answers = 0
        request = GetProviders.of(key)
        self._progress = engine.begin_lookup(request.position, count=engine.parameters.k)
        self._walk = Walk(engine, self._progress, request, self._read, self._judge)
        self._over = False
        self._cancel = engine.outside.call_later(timeout, self._end)
        if own is not None:
            self._answers += 1
            self._learn(own.get(key, engine.outside.wall_us()))

    def start(self) -> None:
        """Begin."""
        if len(self._found) < self._limit:
            self._walk.step()
        if self._progress.done or len(self._found) >= self._limit:
            self._engine.outside.call_later(0, self._end)

    def _read(self, _peer: Contact, reply: Reply) -> Sequence[Contact] | None:
        if not isinstance(reply, ProvidersReply):
            return None
        self._answers += 1
        self._learn(reply.providers)
        return reply.closer

    def _learn(self, providers: Sequence[Contact]) -> None:
        for contact in providers:
            known = self._found.get(contact.peer_id)
            if known is None or not known.addresses:
                self._found[contact.peer_id] = Provider(contact.peer_id, contact.addresses)

    def _judge(self) -> None:
        if len(self._found) >= self._limit or self._progress.converged or self._progress.done:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        self._walk.stop()
        if self._answers:
            self._finished(list(self._found.values())[: self._limit])
        else:
            self._finished(Unavailable("no server of this network could be asked"))
