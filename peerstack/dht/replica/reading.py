"""Reading a key from its responsible servers: the walk and the tally behind `get`, `get_all`, and the look-up before a put.

It asks the closest servers, as many as a read needs, and goes on only while too few of them have answered with authority. Where their
answers differ it asks the whole responsible set, so that all of it can be repaired. Members that still take over are asked again for a
moment, where it takes their word to be sure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from peerstack.dht.namespaces import Namespace
from peerstack.dht.policy import validate
from peerstack.dht.quorum import GetTally, read_quorum
from peerstack.dht.records import Record, wire_key
from peerstack.dht.replica.contacts import Contact, note, position_of
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.messages import GetReply, GetValue, Push, Reply
from peerstack.dht.replica.walk import Walk
from peerstack.errors import PeerstackError, Unavailable
from peerstack.identity import PeerId

__all__ = ["ASK_AGAIN_S", "Reading"]

ASK_AGAIN_S: Final = 0.25
"""Between two questions to a member that still takes over."""
_PATIENCE_S: Final = 2.5  # for members that take over; it takes them a round trip or two, or much longer


class Reading:
    """One key being read.

    Attributes:
        tally: What was answered.
        contacts: Everybody heard of, by peer id.
        local: Whether this node's own copy is one of the answers.

    Args:
        engine: Whose node.
        namespace: The key's namespace.
        key: The raw key.
        subkey: Which record; None is all of them.
        quorum: Authoritative answers the caller insists on.
        changed: Called whenever something was learned, until `stop`.
    """

    def __init__(
        self, engine: Engine, namespace: Namespace, key: bytes, subkey: bytes | None, *, quorum: int | None, changed: Callable[[], None]
    ) -> None:
        wire = wire_key(namespace.name, key)
        position = position_of(wire)
        replicas = engine.parameters.replicas
        known = engine.counted_servers(position, replicas)
        self.tally = GetTally(
            position.to_bytes(32, "big"),
            namespace,
            engine.placement,
            quorum=quorum,
            known=[contact.peer_id for contact in known],
        )
        self.contacts: dict[PeerId, Contact] = {contact.peer_id: contact for contact in known}
        self.local = False
        self._engine = engine
        self._changed = changed
        self._request = GetValue(wire, position, subkey)
        self._quorum = quorum or 0
        counts_itself = engine.serving and engine.own.peer_id in self.tally.members
        self._wanted = max(1, max(read_quorum(replicas), self._quorum) - counts_itself)
        self._walk = Walk(engine, engine.begin_lookup(position, count=self._wanted), self._request, self._read, self._learned)
        self._asking_myself = engine.serving
        self._stopped = False
        self._asking_again = False
        self._ask_again_until = engine.outside.time() + _PATIENCE_S
        self._answered: set[PeerId] = set()
        self._named: tuple[Contact, ...] = ()  # by the last answer
        self._repaired: set[tuple[PeerId, bytes]] = set()

    def start(self) -> None:
        """Ask the closest known, and this node itself where it is a server."""
        if self._asking_myself:
            self._engine.ask(self._engine.own, self._request, self._heard_myself)
        self._walk.step()
        if self.exhausted:
            self._engine.outside.call_later(0, self._learned)

    def stop(self) -> None:
        """Ask nobody any more. Answers under way still count, for repair."""
        self._stopped = True
        self._walk.stop()

    @property
    def exhausted(self) -> bool:
        """Whether nobody is left to ask or to wait for, up to twice the replicas: who has no authority sends the reader on."""
        return not self._asking_myself and not self._asking_again and self._walk.progress.done

    @property
    def converged(self) -> bool:
        """Whether the closest servers there are have been heard (the overdue aside): before, farther ones might pass for them."""
        progress = self._walk.progress
        return not self._asking_myself and (progress.converged or progress.done)

    def repair(self) -> int:
        """Send the greatest record of each subkey to members that answered with less; how many were sent to in all."""
        for record in self.tally.merged:
            for peer in self.tally.outdated(record.subkey):
                contact = self.contacts.get(peer)
                if contact is not None and (peer, record.subkey) not in self._repaired:
                    self._repaired.add((peer, record.subkey))
                    self._engine.ask(contact, Push((record,)), lambda _reply, _now: None)
        return len({peer for peer, _ in self._repaired})

    def unavailable(self, consequence: str = "try again") -> Unavailable:
        """Say that too few answered."""
        answered, needed = len(self.tally.votes), self.tally.read_quorum
        told = f"{answered} of {len(self.tally.members)} responsible nodes answered, {needed} are needed to be sure: {consequence}"
        return Unavailable(told, answered=answered, needed=needed)

    def _learned(self) -> None:
        if self._stopped:
            self.repair()
            return
        self._widen()
        self._changed()

    def _widen(self) -> None:
        """Have more servers asked, where those asked so far do not make it certain or do not agree."""
        if not self.converged:
            return
        tally, replicas = self.tally, self._engine.parameters.replicas
        if tally.disagrees:
            self._walk.progress.extend(replicas)
        while self.converged and self._wanted < 2 * replicas and (lacking := self._needed - len(tally.votes)) > 0:
            self._wanted = min(2 * replicas, self._wanted + lacking)
            self._walk.progress.extend(self._wanted)
        if self.exhausted and len(tally.votes) < self._needed:
            self._ask_again_soon()

    def _ask_again_soon(self) -> None:
        """Ask members once more that answered, but still take over, unless it was tried for long enough."""
        unsettled = [peer for peer in self.tally.members if peer in self._answered and peer not in self.tally.votes]
        if unsettled and self._engine.outside.time() < self._ask_again_until:
            self._asking_again = True
            self._engine.outside.call_later(ASK_AGAIN_S, lambda: self._ask_again(unsettled))

    def _ask_again(self, peers: Sequence[PeerId]) -> None:
        left = len(peers)

        def heard(peer: Contact, reply: Reply | PeerstackError, _now: float) -> None:
            nonlocal left
            left -= 1
            if not isinstance(reply, PeerstackError):
                self._read(peer, reply)
            self._asking_again = left > 0
            self._learned()

        if self._stopped:
            return
        for contact in [self.contacts[peer] for peer in peers]:
            self._engine.ask(contact, self._request, partial(heard, contact))

    @property
    def _needed(self) -> int:
        return max(self.tally.read_quorum, self._quorum)

    def _heard_myself(self, reply: Reply | PeerstackError, _now: float) -> None:
        self._asking_myself = False
        if not isinstance(reply, PeerstackError):
            self._read(self._engine.own, reply)
            self.local = isinstance(reply, GetReply) and reply.refusal is None
        self._learned()
        self._walk.step()

    def _read(self, peer: Contact, reply: Reply) -> Sequence[Contact] | None:
        if not isinstance(reply, GetReply):
            return None
        if reply.refusal is not None:
            return reply.closer
        responsible = reply.standing.responsible
        fresh = () if responsible == self._named else responsible  # as a rule they all name the same
        self._named = responsible
        for contact in (peer, *reply.closer, *fresh):
            note(self.contacts, contact)
        named = [contact.peer_id for contact in responsible]
        self._answered.add(peer.peer_id)
        valid = [record for record in reply.records if self._is_valid(record)]
        self.tally.answer(peer.peer_id, valid, authoritative=reply.standing.authoritative, named=named)
        return [*reply.standing.responsible, *reply.closer]

    def _is_valid(self, record: Record) -> bool:
        engine = self._engine
        return validate(record, engine.outside.wall_us(), engine.parameters, engine.namespaces) is None
