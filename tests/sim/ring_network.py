"""Rings on a message network in virtual time: everybody's part in the ring is the plugin's own (`Ring`), without records."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from typing import Any

from peerstack_chord.events import ModeChanged, RingEvent
from peerstack_chord.maintenance import Ring
from peerstack_chord.messages import JoinReply, Verdict
from peerstack_chord.ring import Member, Mode, State, clockwise

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.dht.replica.messages import FindNode, NodesReply, Reply
from peerstack.errors import PeerstackError
from peerstack.identity import PeerId
from peerstack.testing.message_network import LinkModel, MessageNetwork
from tests.sim.node_network import LoopOutside
from tests.sim.static_ring import Path, path_of

__all__ = ["PAPER_LINKS", "RingNetwork", "RingNode"]

PAPER_LINKS = LinkModel(latency_s=0.0, jitter_s=0.05)
"""Every packet takes an exponentially distributed time of 50 ms on average (ToN 2003, V-A)."""

_CONTACTS = 3  # through which who is new may join


class RingNode:
    """One node.

    Attributes:
        contact: How others know it.
        ring: Its part in the ring.
        outside: Its clock.
        leaving: Whether it was told to leave.
    """

    def __init__(self, network: RingNetwork, number: int, key: int) -> None:
        self.contact = Contact(PeerId(b"\x00\x04" + number.to_bytes(4, "big")), key)
        self.outside = LoopOutside(f"ring {network.seed} {number}")
        self.leaving = False
        self._network = network
        endpoint = network.messages.attach(self.contact.peer_id, self._handle)
        incarnation = self.outside.wall_us()
        self.ring = Ring(self.contact, network.parameters, endpoint, self.outside, self._changed, incarnation=incarnation)

    def _handle(self, sender: PeerId, request: Any, respond: Callable[[Any], None]) -> None:
        self.ring.serve(self._network.nodes[sender].contact, request, respond)

    def _changed(self, event: RingEvent) -> None:
        if isinstance(event, ModeChanged):
            self._network.stands(self, event.mode is Mode.RING)


class _Search:
    """One lookup, driven as `peerstack.dht.replica.locating.Locate` does: until it is over, those waited for who are slow."""

    def __init__(self, network: RingNetwork, node: RingNode, position: int, done: Callable[[Path], None]) -> None:
        self._network = network
        self._node = node
        self._lookup = node.ring.begin_lookup(position, 1)
        self._done: Callable[[Path], None] | None = done
        self._owned: dict[int, bool] = {}  # who answered -> whether the position was its own then

    def step(self) -> None:
        """Ask whom there is to ask, or end."""
        if self._done is None:
            return
        network, node, lookup = self._network, self._node, self._lookup
        for ask in lookup.next(network.now):
            node.ring._asker.ask_once(ask.contact, FindNode(position=lookup.target), partial(self._answered, ask.contact), ask.timeout)
        if lookup.done:
            done, self._done = self._done, None
            done(path_of(lookup, self._found(), network.was_dead))
        elif (wake_at := lookup.deadline()) is not None:
            network.messages.loop.schedule(wake_at - network.now, self.step)

    def _answered(self, contact: Contact, reply: Reply | PeerstackError) -> None:
        now = self._network.now
        self._owned[contact.key] = self._network.owner(self._lookup.target) == contact.key
        if isinstance(reply, NodesReply):
            self._lookup.on_reply(contact, reply.closer, now)
        else:
            self._lookup.on_failure(contact, now)
        self.step()

    def _found(self) -> bool:
        """Whether the member found owned the position when it answered."""
        result, own = self._lookup.result(), self._node.contact.key
        owned = self._owned[result[0].key] if result else self._network.owner(self._lookup.target) == own
        return self._lookup.complete and owned


class RingNetwork:
    """Nodes at random positions.

    Args:
        seed: Same seed, same run.
        parameters: The network's.
        links: How messages travel.

    Attributes:
        messages: The message network.
        nodes: Everybody ever started.
        members: The positions of all members, in order.
    """

    def __init__(self, seed: int | str, *, parameters: NetworkParameters, links: LinkModel = PAPER_LINKS) -> None:
        self.seed = seed
        self.parameters = parameters
        self.messages = MessageNetwork(f"ring {seed}", links)
        self.nodes: dict[PeerId, RingNode] = {}
        self.members: list[int] = []
        self._dice = random.Random(f"ring network {seed}")
        self._by_key: dict[int, RingNode] = {}

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.messages.loop.time()

    def assemble(self, size: int) -> None:
        """Start a ring whose members all stand where they belong; their fingers are as if just looked up."""
        nodes = sorted((self._new() for _ in range(size)), key=lambda node: node.contact.key)
        members = [Member(node.contact, node.ring.place.own.incarnation) for node in nodes]
        keys = [member.key for member in members]
        for number, node in enumerate(nodes):
            after = tuple(members[(number + step) % size] for step in range(1, self.parameters.r + 1))
            node.outside.mid_period = True
            node.ring.start([members[number - 1].contact])
            node.outside.mid_period = False
            node.ring._transitions._joiner.stop()
            node.ring._transitions.let_in(JoinReply(Verdict.JOINED, State(members[number - 1], Mode.RING, 1, None, after)))
            for bit in range(clockwise(keys[number], after[-1].key).bit_length(), KEY_BITS):
                position = (keys[number] + (1 << bit)) % (1 << KEY_BITS)
                node.ring.heard(members[bisect_left(keys, position) % size].contact)

    def join(self) -> RingNode:
        """Start a node that joins through members it was told of."""
        node = self._new()
        node.ring.start([self.anybody().contact for _ in range(_CONTACTS)])
        return node

    def leave(self, node: RingNode) -> None:
        """Let a node say good-bye to its neighbours and end."""
        node.leaving = True
        node.ring.leave(partial(self._end, node))

    def anybody(self) -> RingNode:
        """Any member that stays."""
        while (node := self._by_key[self._dice.choice(self.members)]).leaving:
            pass
        return node

    def owner(self, position: int) -> int:
        """The first member at or after a position, by brute force."""
        return self.members[bisect_left(self.members, position) % len(self.members)]

    def look_up(self, node: RingNode, position: int, done: Callable[[Path], None]) -> None:
        """Look a position up from a member, and tell how it went; nobody hears of it if the member ends first."""
        _Search(self, node, position, done).step()

    def stop(self) -> None:
        """End everybody at once."""
        for node in self.nodes.values():
            node.ring.stop()

    def was_dead(self, hop: Hop) -> bool:
        """Whether somebody was asked in vain who has left or died."""
        return hop.outcome is not HopOutcome.ANSWERED and self.nodes[hop.peer].ring.mode is Mode.OUTSIDE

    def stands(self, node: RingNode, is_member: bool) -> None:
        """Told by a node that it stands on the ring, or does so no more."""
        key = node.contact.key
        index = bisect_left(self.members, key)
        stood = index < len(self.members) and self.members[index] == key
        if is_member and not stood:
            insort(self.members, key)
        elif stood and not is_member:
            del self.members[index]

    def _new(self) -> RingNode:
        node = RingNode(self, len(self.nodes), self._dice.getrandbits(KEY_BITS))
        self.nodes[node.contact.peer_id] = self._by_key[node.contact.key] = node
        return node

    def _end(self, node: RingNode) -> None:
        node.ring.stop()
        self.messages.crash(node.contact.peer_id)
