"""What all operations of one node share: its routing, its neighbourhood, its clocks, and one way to ask anybody, itself included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from peerstack.dht.clock import HybridClock
from peerstack.dht.contract import HopOutcome, RefusalReason
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.quorum import Placement
from peerstack.dht.replica.contacts import Contact, key_of
from peerstack.dht.replica.geometry import Geometry, closest
from peerstack.dht.replica.holder import Holder, HolderEvents
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.neighbourhood import Neighbourhood, members_wanted
from peerstack.dht.replica.offers import OfferBook
from peerstack.dht.replica.routing import Progress, Routing
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.dht.replica.seam import RpcDone
from peerstack.dht.replica.settings import NodeParts
from peerstack.errors import DeadlineExceeded, DialError, PeerstackError, StoreError
from peerstack.identity import PeerId

__all__ = ["Engine", "failure_reason", "hop_outcome"]

_MAX_CALLERS: Final = 512


def hop_outcome(error: PeerstackError) -> HopOutcome:
    """How a failed request stands in a trace."""
    if isinstance(error, DeadlineExceeded):
        return HopOutcome.TIMEOUT
    return HopOutcome.UNREACHABLE if isinstance(error, DialError) else HopOutcome.FAILED


def failure_reason(error: PeerstackError) -> RefusalReason:
    """How a failed request counts in a put."""
    if isinstance(error, DeadlineExceeded):
        return RefusalReason.TIMEOUT
    return RefusalReason.UNREACHABLE if isinstance(error, ConnectionError) else RefusalReason.FAILED


class Engine:
    """One node without its timers.

    Attributes:
        own: This node.
        geometry: Who is close to what.
        routing: Whom it knows.
        serving: Whether it is a server: in the sets, and answering.
        parameters: The network's.
        state: What it remembers over a restart.
        callers: Servers that asked what only those ask who count this node, or consider to; the last one last.
    """

    def __init__(self, parts: NodeParts, *, geometry: Geometry, routing: Routing, events: HolderEvents) -> None:
        settings, parameters = parts.settings, parts.settings.parameters
        self.own = parts.own
        self.geometry = geometry
        self.routing = routing
        self.signer = parts.signer
        self.store = parts.store
        self.namespaces = settings.namespaces
        self.parameters = parameters
        self.outside = parts.outside
        self.serving = settings.serving
        self.state = settings.state
        self.clock = HybridClock(self.state.clock())
        self.trips = RoundTrips(parameters.rpc_timeout_s)
        self.hood = Neighbourhood(parts.own, geometry, replicas=parameters.replicas, size=members_wanted(parameters))
        self.offers = OfferBook(self.hood, parts.store)
        self.holder = Holder(
            self.hood, routing, parts.store, self.offers, namespaces=settings.namespaces, parameters=parameters, events=events
        )
        self.placement = Placement(parameters.replicas, self.rank_peers)
        self.callers: dict[int, Contact] = {}
        self._rpc = parts.rpc

    def adopt(self, parameters: NetworkParameters) -> None:
        """Use the parameters of the network met: for a client, which holds nothing that was judged by others."""
        self.parameters = parameters
        self.trips = RoundTrips(parameters.rpc_timeout_s)
        self.hood.replicas = parameters.replicas
        self.placement = Placement(parameters.replicas, self.rank_peers)
        self.routing.adopt(parameters)

    def next_version(self, wall_us: int, stamped: Callable[[int | PeerstackError], None]) -> None:
        """Take the time of a new version from the clock.

        Args:
            wall_us: The wall clock.
            stamped: Called with the time once it is committed, so that no later run gives it again; or with why it could not be.
        """
        time = self.clock.next(wall_us)

        def committed(kept: bool) -> None:
            stamped(time if kept else StoreError("this node's clock could not be saved; nothing was written"))

        try:
            self.state.save_clock(time, committed)
        except PeerstackError as error:
            stamped(error)

    def rank_peers(self, position: bytes, peers: Iterable[PeerId]) -> Sequence[PeerId]:
        """Peers by their distance to a position."""
        distance = self.geometry.distance_from(int.from_bytes(position, "big"))
        return sorted(peers, key=lambda peer: distance(key_of(peer)))

    def ask(self, peer: Contact, request: Request, done: RpcDone, *, timeout: float | None = None) -> None:
        """Ask a node, or this one itself; its routing, its neighbourhood and the round-trip times learn from how it goes."""
        if peer.key == self.own.key:
            self.outside.call_later(0, lambda: self._ask_myself(request, done))
            return
        began = self.outside.time()

        def answered(reply: Reply | PeerstackError, now: float) -> None:
            if isinstance(reply, PeerstackError):
                self.routing.failed(peer.key)
            else:
                self.trips.measured(peer.key, now - began)
                self.heard(peer, now)
            done(reply, now)

        self._rpc.request(peer, request, self.trips.timeout(peer.key) if timeout is None else timeout, answered)

    def heard(self, server: Contact, now: float) -> None:
        """Note a sign of life of a server."""
        self.routing.heard(server, now)
        self.hood.heard(server.key, now, server)

    def called(self, server: Contact) -> None:
        """Note a server that may count this node: it wants to hear of it when this node leaves."""
        self.callers.pop(server.key, None)
        self.callers[server.key] = server
        if len(self.callers) > _MAX_CALLERS:
            del self.callers[next(iter(self.callers))]

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        """Be the `peerstack.dht.replica.seam.Rpc` of those who need no more than that."""
        self.ask(peer, message, done, timeout=timeout)

    def known_servers(self, position: int, count: int) -> list[Contact]:
        """The closest servers known without asking anybody, the counted silent ones and this node included, closest first."""
        known = {contact.key: contact for contact in self.routing.closest(position, count)}
        if self.serving:
            known.update((contact.key, contact) for contact in self.hood.responsible(position))
        return [known[key] for key in closest(self.geometry, known, position, count)]

    def counted_servers(self, position: int, count: int) -> list[Contact]:
        """Whom this node itself counts as responsible: of a key nearby those that its word counts with, else the closest known."""
        if self.serving and self.hood.settled and self.hood.knows(position):
            return self.hood.responsible(position)[:count]
        return self.known_servers(position, count)

    def begin_lookup(self, position: int, *, count: int) -> Progress:
        """Begin a lookup from what is known."""
        seeds = self.known_servers(position, max(count, self.parameters.k))
        return self.routing.begin_lookup(position, seeds, count=count, trips=self.trips, now=self.outside.time())

    def _ask_myself(self, request: Request, done: RpcDone) -> None:
        now = self.outside.time()
        self.holder.serve(self.own, request, lambda reply: done(reply, self.outside.time()), now=now, wall_us=self.outside.wall_us())
