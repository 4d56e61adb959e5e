"""What a member answers to the ring's requests, and who is no member to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, FindNode, NodesReply, Request
from peerstack.dht.replica.seam import Respond
from peerstack_chord.forming import Forming
from peerstack_chord.messages import (
    Depart,
    Entry,
    ExchangeMap,
    GetState,
    Join,
    JoinReply,
    MapReply,
    Meet,
    Notify,
    NotMember,
    StateReply,
    Status,
    Verdict,
)
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, Mode, between

__all__ = ["Server", "ServerCalls"]

_RING_REQUESTS: Final = (FindNode, GetState, Join, Notify, ExchangeMap, Depart, Meet)


@dataclass(slots=True)
class ServerCalls:
    """What a `Server` needs of its node."""

    closest: Callable[[int], tuple[Contact, ...]]
    """The answer to `FindNode`."""
    forming: Callable[[], Forming | None]
    """Our part in a ring that forms, if we have one."""
    named: Callable[[ExchangeMap], Forming | None]
    """Takes part in a ring that forms, as who joins it: we were named before its answer to our `Join` came."""
    forms_again: Callable[[ExchangeMap], None]
    """Somebody forms a ring while we stand on one."""
    died: Callable[[Member], None]
    """The life of a node is over."""
    outlived: Callable[[Member], None]
    """A node begins this life: any earlier one is over."""
    departed: Callable[[Depart], None]
    """A member left."""
    notified: Callable[[Member], None]
    """A member takes us for its first successor."""
    meet: Callable[[Contact], None]
    """There may be another ring."""


class Server:
    """Answers requests.

    Args:
        place: Whose.
        calls: What it needs of its node.
    """

    def __init__(self, place: Place, calls: ServerCalls) -> None:
        self._place = place
        self._calls = calls

    def serve(self, sender: Contact, request: Request, respond: Respond) -> bool:
        """Answer a request of the ring's; whether it was one.

        Args:
            sender: Who asks, as its connection proves: nobody speaks for somebody else.
            request: What.
            respond: Called once.
        """
        if not isinstance(request, _RING_REQUESTS):
            return False
        if isinstance(request, ExchangeMap):
            self._exchange(request, respond)
        elif not self._place.is_member or (isinstance(request, (Join, Notify, Depart)) and not self._is_own(sender, request.member)):
            respond(NotMember())
        else:
            self._serve_as_member(sender, request, respond)
        return True

    def _serve_as_member(self, sender: Contact, request: Request, respond: Respond) -> None:
        match request:
            case FindNode(position=position):
                closer = self._calls.closest(position)
                respond(NodesReply(tuple(contact for contact in closer if contact.key != sender.key)))
            case GetState():
                respond(StateReply(self._place.state()))
            case Join(member=member):
                respond(self._join(member))
            case Notify(member=member):
                respond(Done())
                self._calls.notified(member)
            case Depart():
                respond(Done())
                self._calls.departed(request)
            case Meet(contact=contact):
                respond(Done())
                self._calls.meet(contact)

    def _exchange(self, request: ExchangeMap, respond: Respond) -> None:
        place = self._place
        if place.mode is Mode.RING:
            self._live_on(request)
            respond(MapReply(Mode.RING, place.era, ()))
            if request.era > place.era:
                self._calls.forms_again(request)
            return
        forming = self._calls.forming()
        if request.digest and forming is not None:
            forming.merge((), request.era)
            respond(MapReply(Mode.FORMING, place.era, (), forming.map.digest))
            return
        if not place.is_member and not any(entry.member == place.own and entry.status is not Status.GONE for entry in request.entries):
            respond(NotMember())
            return
        if forming is None:
            forming = self._calls.named(request)
        if forming is None:
            respond(NotMember())
            return
        forming.merge(request.entries, request.era)
        respond(MapReply(Mode.FORMING, place.era, forming.map.entries))

    def _live_on(self, request: ExchangeMap) -> None:
        """Begin a higher life, if whoever forms has taken this one for gone: else it would never be on their map."""
        own = self._place.own
        if any(entry.status is Status.GONE and entry.member == own for entry in request.entries):
            self._place.live_again()

    def _join(self, member: Member) -> JoinReply:
        place = self._place
        forming = self._calls.forming()
        if forming is not None:
            return self._join_forming(forming, member)
        for entry in place.successors.entries:
            if entry.key == member.key and entry.incarnation < member.incarnation:
                self._calls.died(entry)
        self._calls.outlived(member)
        first = place.successors.first
        if not place.is_member or first is None:
            return JoinReply(Verdict.BUSY, place.state())
        here = between(place.own.key, member.key, first.key)
        return JoinReply(Verdict.JOINED if here else Verdict.ELSEWHERE, place.state())

    def _join_forming(self, forming: Forming, member: Member) -> JoinReply:
        known = forming.map.get(member.key)
        is_new = known is None or known.status is Status.GONE
        if not forming.lets_in or (forming.is_full and is_new):
            return JoinReply(Verdict.BUSY, self._place.state())
        forming.merge((Entry(member, Status.JOINING),))
        return JoinReply(Verdict.FORMING, self._place.state(), forming.map.entries)

    def _is_own(self, sender: Contact, member: Member) -> bool:
        return member.contact.peer_id == sender.peer_id and member.key == sender.key and self._place.believes(member)
