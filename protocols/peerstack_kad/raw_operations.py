"""Reading and writing raw values: one lookup each, and what it takes to leave the best value with the closest servers.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#value-storage-and-retrieval
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from peerstack.dht.contract import Refusal
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode, Reply
from peerstack.dht.replica.seam import Finished
from peerstack.dht.replica.walk import Walk
from peerstack.errors import InvalidRecord, KeyNotFound, PeerstackError, StreamReset, Unavailable, ValueTooLarge
from peerstack.identity import PeerId
from peerstack_kad.messages import GetRaw, PutRaw, RawReply, Taken
from peerstack_kad.raw_values import RawNamespaces, RawValues

__all__ = ["GetRawValue", "PutRawValue", "RawPutResult"]


@dataclass(frozen=True, slots=True)
class RawPutResult:
    """Who took a raw value."""

    accepted: tuple[PeerId, ...]
    """Servers that answered with the same record: that they took it is all this proves."""
    refused: Mapping[PeerId, str]
    """Those of the closest that did not, and why."""


class GetRawValue:
    """Ask the closest servers for a value, take the best, and send it to those of them that have less.

    Args:
        engine: Whose node.
        namespaces: Judge what is found.
        key: The whole key.
        own: What this node holds; None for a client.
        timeout: Seconds for all of it.
        finished: Gets the value, or `KeyNotFound`, or `Unavailable` where nobody answered.
    """

    def __init__(
        self, engine: Engine, namespaces: RawNamespaces, key: bytes, *, own: RawValues | None, timeout: float, finished: Finished[bytes]
    ) -> None:
        self._engine = engine
        self._namespaces = namespaces
        self._key = key
        self._own = own
        self._finished = finished
        request = GetRaw.of(key)
        self._answers: dict[int, tuple[Contact, bytes | None]] = {}
        self._progress = engine.begin_lookup(request.position, count=engine.parameters.k)
        self._walk = Walk(engine, self._progress, request, self._read, self._judge)
        self._over = False
        self._cancel = engine.outside.call_later(timeout, self._end)

    def start(self) -> None:
        """Begin."""
        self._walk.step()
        if self._progress.done:
            self._engine.outside.call_later(0, self._end)

    def _read(self, peer: Contact, reply: Reply) -> Sequence[Contact] | None:
        if not isinstance(reply, RawReply):
            return None
        self._answers[peer.key] = (peer, reply.value if self._is_valid(reply.value) else None)
        return reply.closer

    def _is_valid(self, value: bytes | None) -> bool:
        if value is None:
            return False
        try:
            self._namespaces.validate(self._key, value, self._engine.outside.wall_us())
        except (InvalidRecord, ValueTooLarge):
            return False
        return True

    def _judge(self) -> None:
        if self._progress.converged or self._progress.done:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        self._walk.stop()
        now = self._engine.outside.wall_us()
        held = None if self._own is None else self._own.get(self._key, now)
        values = [value for _, value in self._answers.values() if value is not None]
        values += [] if held is None else [held[0]]
        if values:
            best = self._namespaces.best(self._key, values)
            self._repair(best, now)
            self._finished(best)
        elif self._answers:
            self._finished(KeyNotFound(f"none of {len(self._answers)} servers has a valid value of this key"))
        else:
            self._finished(Unavailable("no server of this network could be asked"))

    def _repair(self, best: bytes, now: int) -> None:
        """Entry correction: whoever has less, and those of the closest who have nothing."""
        closest = {contact.key for contact in self._progress.result()}
        for contact, value in self._answers.values():
            if value != best and (value is not None or contact.key in closest):
                self._engine.ask(contact, PutRaw(self._key, best, now), lambda _reply, _now: None)
        if self._own is not None:
            self._own.put(self._key, best, now, lambda _refusal: None)


class PutRawValue:
    """Look the closest servers up, and give each the value.

    Args:
        engine: Whose node.
        key: The whole key.
        value: A valid value.
        own: Where this node keeps it if it is among the closest; None for a client.
        timeout: Seconds for all of it.
        finished: Gets who took it, or `Unavailable` where nobody did.
    """

    def __init__(
        self, engine: Engine, key: bytes, value: bytes, *, own: RawValues | None, timeout: float, finished: Finished[RawPutResult]
    ) -> None:
        self._engine = engine
        self._key = key
        self._value = value
        self._own = own
        self._finished = finished
        self._accepted: list[PeerId] = []
        self._refused: dict[PeerId, str] = {}
        self._waiting: set[PeerId] = set()
        self._over = False
        half = timeout / 2
        self._locate = Locate(engine, FindNode.of(key), count=engine.parameters.k, trace=False, timeout=half, finished=self._found)
        self._cancel = engine.outside.call_later(timeout, self._end)

    def start(self) -> None:
        """Begin."""
        self._locate.start()

    def _found(self, locate: Locate) -> None:
        own = self._engine.own
        contacts = locate.contacts if self._own is None else [*locate.contacts, own]
        position = FindNode.of(self._key).position
        targets = sorted(contacts, key=lambda contact: contact.key ^ position)[: self._engine.parameters.k]
        self._waiting = {contact.peer_id for contact in targets}
        now = self._engine.outside.wall_us()
        for contact in targets:
            if contact is own and self._own is not None:
                self._own.put(self._key, self._value, now, self._kept)
            else:
                self._engine.ask(contact, PutRaw(self._key, self._value, now), self._hear(contact))
        self._judge()

    def _kept(self, refusal: Refusal | None) -> None:
        self._settle(self._engine.own.peer_id, None if refusal is None else refusal.message)

    def _hear(self, contact: Contact) -> Callable[[Reply | PeerstackError, float], None]:
        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            if isinstance(reply, StreamReset):
                # py resets the stream of a value that it has already.
                self._engine.ask(contact, GetRaw.of(self._key), lambda held, _now: self._compare(contact.peer_id, held, str(reply)))
            elif isinstance(reply, Taken):
                self._settle(contact.peer_id, None if reply.refusal is None else reply.refusal.message)
            else:
                self._settle(contact.peer_id, str(reply) if isinstance(reply, PeerstackError) else "an answer of another kind")

        return answered

    def _compare(self, peer: PeerId, reply: Reply | PeerstackError, otherwise: str) -> None:
        has_it = isinstance(reply, RawReply) and reply.value == self._value
        self._settle(peer, None if has_it else otherwise)

    def _settle(self, peer: PeerId, refused: str | None) -> None:
        if peer not in self._waiting:
            return
        self._waiting.discard(peer)
        if refused is None:
            self._accepted.append(peer)
        else:
            self._refused[peer] = refused
        self._judge()

    def _judge(self) -> None:
        if not self._waiting:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        self._refused |= dict.fromkeys(sorted(self._waiting), "no answer within the call's time")
        if self._accepted:
            self._finished(RawPutResult(tuple(self._accepted), self._refused))
        else:
            told = "; ".join(f"{peer}: {why}" for peer, why in self._refused.items()) or "no server of this network could be asked"
            self._finished(Unavailable(f"nobody took the value: {told}"))
