"""The serving side: what one node answers to each request. Pure; storing answers by callback, once committed.

An answer about a key says whom this node counts as responsible and whether its own word counts (`Standing`), computed in the same step as
the answer itself: a write that is merged after a newcomer was handed to names that newcomer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.limits import MAX_CLOSER
from peerstack.dht.replica.messages import (
    Done,
    FindNode,
    GetReply,
    GetValue,
    Leave,
    Malformed,
    NodesReply,
    Offer,
    Ping,
    Pull,
    PullReply,
    Push,
    PushReply,
    PutReply,
    PutValue,
    Request,
    Standing,
)
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.replica.offers import OfferBook
from peerstack.dht.replica.pages import cut_page
from peerstack.dht.replica.routing import Routing
from peerstack.dht.replica.seam import Respond
from peerstack.dht.replica.wire_keys import split_wire_key
from peerstack.dht.store.contract import Outcome, RecordStore, Source, SourceKind, Status
from peerstack.errors import DhtError, PeerstackError

__all__ = ["Holder", "HolderEvents"]

_NOTHING: Final = Standing(authoritative=False)


@dataclass(frozen=True, slots=True)
class HolderEvents:
    """What the holder tells its node."""

    pulled: Callable[[Contact, bool], None]
    """``(who, whether it counts itself as settled and was not counted here)``: somebody began to pull from us."""
    keep: Callable[[Contact, Callable[[bool], None]], None]
    """``(who, done)``: somebody is to be handed over to; `done` gets whether the next run will count it if this one does."""
    left: Callable[[Contact, Leave], None]
    """Somebody left for good."""


class Holder:
    """Answers requests.

    Attributes:
        leaving: Set by a graceful leave: writes are refused from then on.
    """

    def __init__(
        self,
        hood: Neighbourhood,
        routing: Routing,
        store: RecordStore,
        offers: OfferBook,
        *,
        namespaces: Namespaces,
        parameters: NetworkParameters,
        events: HolderEvents,
    ) -> None:
        """Serve what `store` holds, in the name of ``hood.own``."""
        self.leaving = False
        self._hood = hood
        self._routing = routing
        self._store = store
        self._offers = offers
        self._namespaces = namespaces
        self._parameters = parameters
        self._events = events

    def serve(self, sender: Contact, request: Request, respond: Respond, *, now: float, wall_us: int, ip_group: bytes = b"") -> None:
        """Answer one request; `respond` is called exactly once, perhaps later."""
        match request:
            case FindNode():
                respond(NodesReply(self._closer(sender, request.position)))
            case GetValue():
                respond(self._get(sender, request, wall_us))
            case PutValue():
                self._put(Source(SourceKind.CLIENT, sender.peer_id, ip_group), sender, request.record, respond, wall_us)
            case Ping():
                respond(Done())
            case Pull():
                self._hand_over(sender, request, respond, now, wall_us)
            case Push():
                self._take(Source(SourceKind.CLIENT, sender.peer_id, ip_group), sender, request, respond, wall_us)
            case Offer():
                respond(self._offers.answer(sender, request, now=now, wall_us=wall_us))
            case Leave():
                self._events.left(sender, request)
                respond(Done())
            case Malformed():
                respond(PutReply(request.refusal, _NOTHING))

    def standing(self, position: int) -> Standing:
        """What this node's word on a key is worth now."""
        return Standing(self._hood.is_authoritative(position), tuple(self._hood.responsible(position)))

    def _closer(self, sender: Contact, position: int) -> tuple[Contact, ...]:
        return tuple(self._routing.leading_to(position, min(self._parameters.k, MAX_CLOSER), exclude=sender.key))

    def _get(self, sender: Contact, request: GetValue, wall_us: int) -> GetReply:
        closer = self._closer(sender, request.position)
        try:
            namespace, key = split_wire_key(request.key)
            self._namespaces[namespace]
            records = self._store.get_all(namespace, key, now=wall_us)
        except DhtError as error:
            return GetReply((), closer, _NOTHING, Refusal(RefusalReason.INVALID, str(error)))
        except PeerstackError as error:
            return GetReply((), closer, _NOTHING, Refusal(RefusalReason.FAILED, str(error)))
        wanted = [record for record in records if request.subkey in (None, record.subkey)]
        return GetReply(tuple(wanted), closer, self.standing(request.position))

    def _put(self, source: Source, sender: Contact, record: Record, respond: Respond, wall_us: int) -> None:
        position = int.from_bytes(record.position, "big")
        if self.leaving:
            respond(PutReply(Refusal(RefusalReason.NOT_AUTHORITATIVE, "this node is leaving"), self._powerless(position)))
            return
        if not self._hood.keeps(position, 2 * self._hood.replicas):
            respond(
                PutReply(Refusal(RefusalReason.NOT_RESPONSIBLE, "the key is not among those this node keeps"), self._powerless(position))
            )
            return
        if sender.key == self._hood.own.key:
            source = Source(SourceKind.LOCAL, sender.peer_id)

        def committed(outcomes: list[Outcome]) -> None:
            respond(PutReply(outcomes[0].refusal(), self.standing(position)))

        self._merge((record,), source, wall_us, committed)

    def _powerless(self, position: int) -> Standing:
        return Standing(False, tuple(self._hood.responsible(position)))

    def _take(self, source: Source, sender: Contact, request: Push, respond: Respond, wall_us: int) -> None:
        # Only those we count are owed to: a stranger's pushes are charged like its puts. What they send is taken even where by our own
        # count it is others': they may know better who is left, and what is too much is handed on by the next round of repair.
        owed = sender.key in self._hood.members or sender.key == self._hood.own.key
        if owed:
            source = Source(SourceKind.REPAIR, sender.peer_id)
        mine = [record for record in request.records if self._keeps(record, owed=owed)]

        def committed(outcomes: list[Outcome]) -> None:
            held = iter(outcomes)
            refused = Outcome(Status.FAILED, None, "not among what this node keeps")
            kept = {record.digest for record in mine}
            respond(PushReply(tuple(next(held) if record.digest in kept else refused for record in request.records)))

        self._merge(tuple(mine), source, wall_us, committed)

    def _keeps(self, record: Record, *, owed: bool) -> bool:
        return not self.leaving and (owed or self._hood.keeps(int.from_bytes(record.position, "big"), 2 * self._hood.replicas))

    def _merge(self, records: tuple[Record, ...], source: Source, wall_us: int, committed: Callable[[list[Outcome]], None]) -> None:
        try:
            self._store.merge(records, source=source, now=wall_us, done=committed)
        except PeerstackError as error:
            committed([Outcome(Status.FAILED, None, str(error)) for _ in records])

    def _hand_over(self, sender: Contact, request: Pull, respond: Respond, now: float, wall_us: int) -> None:
        known = sender.key in self._hood.members
        if request.after is None:
            self._hood.count_in(sender, now)
            self._events.pulled(sender, request.settled and not known)

        def kept(certain: bool) -> None:
            # Who was handed a page stands on our counting it, in the next run too.
            if certain:
                respond(self._page(sender, request, known, now, wall_us))
            else:
                respond(_no_page(known, "whom this node counts could not be saved"))

        self._events.keep(sender, kept)

    def _page(self, sender: Contact, request: Pull, known: bool, now: float, wall_us: int) -> PullReply:
        members = [member for member in self._hood.members.values() if member.contact.key != sender.key]
        named = (self._hood.own, *(member.contact for member in members))
        silent = (0.0, *(max(0.0, now - member.last_heard) for member in members))
        standing = Standing(self._hood.settled and not self.leaving, named)
        try:
            page = cut_page(self._hood, self._store, sender.key, request, wall_us)
        except PeerstackError as error:
            return _no_page(known, str(error))
        return PullReply(page.records, standing, known, page.next, silent, digest=page.digest)


def _no_page(known: bool, why: str) -> PullReply:
    return PullReply((), _NOTHING, known, refusal=Refusal(RefusalReason.FAILED, why))
