"""One Chord node above the `rpc` seam: a `DhtNode` that joins the ring first and then takes over what lies around its place.

The ring and the records hold together by few threads. The ring asks through the engine, so that each sign of life serves both. Who comes to
stand next to us on the ring is looked at by the membership; who is found dead there is led past at once, but it stays in the responsible
sets until it was silent for long enough, by the engine's own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode, Ping, Request
from peerstack.dht.replica.neighbourhood import members_wanted
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.seam import Respond
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht.replica.topology import describe, describe_peer
from peerstack.errors import PeerstackError
from peerstack_chord.events import MemberDied, MemberLeft, ModeChanged, PlaceChanged, RingEvent
from peerstack_chord.geometry import RingGeometry
from peerstack_chord.maintenance import Ring
from peerstack_chord.messages import Depart
from peerstack_chord.ring import Mode
from peerstack_chord.routing import ChordRouting

__all__ = ["ChordNode"]

_LOOK_TIMEOUT_S: Final = 60.0


class ChordNode(DhtNode):
    """A server or client of one Chord network. A client stays outside the ring, and looks up through the servers it met.

    Attributes:
        table: Whom it knows.
        ring: Its part in the ring.
    """

    def __init__(self, parts: NodeParts) -> None:
        """Make a node; it does nothing before `start`."""
        parameters = parts.settings.parameters
        self.table = ChordRouting(parts.own, parameters)
        super().__init__(parts, geometry=RingGeometry(), routing=self.table)
        incarnation = max(parts.outside.wall_us(), self.engine.state.incarnation() + 1)
        self.ring = Ring(parts.own, parameters, self.engine, parts.outside, self._ring_changed, incarnation=incarnation)
        self.table.follow(self.ring)
        self._contacts: tuple[Contact, ...] = ()
        self._on_its_way = False
        self._looking = False

    def start(self, contacts: Iterable[Contact] = ()) -> None:
        """See `DhtNode.start`."""
        self._contacts = tuple(contacts)
        super().start(self._contacts)
        if self._settings.serving and (self._joined or self.acquaintances.silent):
            self._set_out()

    def stop(self) -> None:
        """End all timers; nothing is asked any more."""
        super().stop()
        self.ring.stop()

    def meet(self, server: Contact) -> None:
        """See `DhtNode.meet`: it may also be on another ring."""
        super().meet(server)
        if not self._stopped and self._on_its_way:
            self.ring.meet(server)

    def serve(self, sender: Contact, request: Request, respond: Respond, *, is_server: bool, ip_group: bytes = b"") -> None:
        """See `DhtNode.serve`."""
        if is_server and not isinstance(request, Depart):
            self.engine.heard(sender, self._outside.time())
        if not self.ring.serve(sender, request, respond):
            super().serve(sender, request, respond, is_server=is_server, ip_group=ip_group)
        elif not self._stopped:
            self._attend()

    def topology(self) -> dict[str, Any]:
        """The ring as it is seen from here, and the neighbourhood, as plain data."""
        place = self.ring.place
        before = place.predecessor
        return {
            **describe(self.engine, "chord"),
            "mode": place.mode.name.lower(),
            "incarnation": place.own.incarnation,
            "predecessor": None if before is None else str(before.contact.peer_id),
            "successors": [str(member.contact.peer_id) for member in place.successors],
            "fingers": [str(contact.peer_id) for contact in self.ring.way.fingers],
            "known": [describe_peer(self.engine, entry) for entry in self.table],
        }

    def _join(self) -> None:
        if not self._settings.serving or self.ring.place.is_member:
            self._look_around()
        else:
            self._set_out()  # and then see who is around

    def _set_out(self) -> None:
        """Join the ring, or found one."""
        if not self._on_its_way:
            self._on_its_way = True
            known = [entry.contact for entry in self.table]
            self.ring.start(self._contacts, [*known, *self.acquaintances.silent])

    def _look_around(self) -> None:
        """Ask those who stand around our place, as many ahead as are counted there; whoever stands behind does the same."""
        if self._looking or self._stopped:
            return
        self._looking = True
        own, parameters = self.engine.own, self.engine.parameters
        count = (members_wanted(parameters) + 1) // 2 + 1
        request = FindNode(own.peer_id.to_bytes(), own.key)
        Locate(self.engine, request, count=count, timeout=_LOOK_TIMEOUT_S, finished=self._looked).start()

    def _looked(self, locate: Locate) -> None:
        self._looking = False
        if self._stopped:
            return
        found = {contact.key: contact for contact in locate.contacts if contact.key != self.engine.own.key}
        before = self.ring.place.predecessor
        if before is not None and (entry := self.table.get(before.key)) is not None and not entry.failures:
            found[before.key] = entry.contact
        if self._joining:
            self._found_surroundings(list(found.values()))
        self._attend()

    def _attend(self) -> None:
        """See to who was met, and to who fell silent."""
        for contact in self.table.take_met():
            self.acquaintances.heard(contact.key)
            self.membership.consider(contact)
        for contact in self.table.take_silent():
            self.acquaintances.lost(contact)

    def _set_timers(self) -> None:
        if self._settings.serving:
            self._timers.every("look around", self.engine.parameters.forget_s, self._look_around)

    def _depart(self, done: Callable[[], None]) -> None:
        self.ring.leave(done)

    def _ring_changed(self, event: RingEvent) -> None:
        if self._stopped:
            return
        match event:
            case ModeChanged(mode=mode):
                if mode is not Mode.OUTSIDE:
                    self._save_incarnation()
                    self._outside.call_later(0.0, self._look_around)
            case PlaceChanged(predecessor=predecessor, successors=successors):
                self._look_at([*successors, *(() if predecessor is None else (predecessor,))])
            case MemberDied(contact=contact):
                self.table.give_up(contact.key)
            case MemberLeft(contact=contact):
                self.engine.routing.remove(contact.key)

    def _save_incarnation(self) -> None:
        try:
            self.engine.state.save_incarnation(self.ring.place.own.incarnation)
        except PeerstackError as error:
            self._settings.warn(f"this node's life could not be saved, its clock has to go on from here: {error}")

    def _look_at(self, neighbours: Iterable[Contact]) -> None:
        """Have those counted who stand next to us, once they are heard of: a successor list is hearsay but for its first."""
        if not self._joined:
            return
        for contact in neighbours:
            if contact.key in self.engine.hood.members:
                continue
            known = self.table.get(contact.key)
            if known is not None and not known.failures:
                self.membership.consider(contact)
            else:
                self.engine.ask(contact, Ping(), self._pinged)

    def _pinged(self, _reply: object | PeerstackError, _now: float) -> None:
        if not self._stopped:
            self._attend()
