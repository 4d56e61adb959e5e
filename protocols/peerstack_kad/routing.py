"""The routing table as the data engine sees it: with the lookups that begin from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.neighbourhood import members_wanted
from peerstack.dht.replica.rtt import RoundTrips
from peerstack_kad.buckets import Admission, RoutingTable
from peerstack_kad.lookup import LookupProgress, LookupRules

__all__ = ["KademliaRouting"]


class KademliaRouting(RoutingTable):
    """See `peerstack.dht.replica.routing.Routing`.

    Args:
        own: Our own position.
        parameters: The network's.
        parallelism: Requests a lookup has under way at once.
        paths: Disjoint paths of a lookup.
        admission: See `RoutingTable`.
    """

    def __init__(
        self, own: int, parameters: NetworkParameters, *, parallelism: int = 10, paths: int = 1, admission: Admission | None = None
    ) -> None:
        super().__init__(own, k=parameters.k, neighbourhood=members_wanted(parameters), admission=admission)
        self._parallelism = parallelism
        self._paths = paths
        self._replicas = parameters.replicas

    def begin_lookup(self, target: int, seeds: Iterable[Contact], *, count: int, trips: RoundTrips, now: float) -> LookupProgress:
        """See `peerstack.dht.replica.routing.Routing.begin_lookup`."""
        if self._paths > 1:  # some of those asked may lie: each path goes to the whole set, whatever a read among the honest needs
            count = max(count, self._replicas)
        rules = LookupRules(
            count=count,
            parallelism=self._parallelism,
            paths=self._paths,
            timeout=lambda contact: trips.timeout(contact.key),
            patience=lambda contact: trips.patience(contact.key),
            rtt=lambda contact: trips.rtt(contact.key),
        )
        return LookupProgress(target, seeds, rules, own=self.own, now=now)

    def leading_to(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """See `peerstack.dht.replica.routing.Routing.leading_to`: by XOR the closest lead closer."""
        return self.closest(target, count, exclude=exclude)

    def adopt(self, parameters: NetworkParameters) -> None:
        """See `peerstack.dht.replica.routing.Routing.adopt`."""
        self.k = parameters.k
        self._replicas = parameters.replicas
