"""The peer book: where peers were reachable, what they serve, and which address worked. Bounded in every direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from peerstack.addresses import Address, AddressCache
from peerstack.config import PeersConfig
from peerstack.errors import InvalidAddress
from peerstack.identity import PeerId

__all__ = ["KnownAddress", "KnownPeer", "PeerBook"]

_MAX_TTL_S = 30 * 86400.0
_WORKED_TTL_S = 86400.0  # an address that worked is worth another try for a day, whatever was said of it
_MAX_PROTOCOLS = 256
_MAX_TEXT = 256  # characters of an agent version, or of a protocol id


@dataclass(slots=True)
class KnownAddress:
    """One address of a peer."""

    expires: float
    """Seconds, on the book's clock."""
    given: bool = False
    """Named by this host's own user, not learned from the network."""
    worked: float | None = None
    """When a connection through it last came up."""


@dataclass(slots=True)
class KnownPeer:
    """What is known of one peer."""

    addresses: dict[bytes, KnownAddress] = field(default_factory=dict)
    """By binary form without ``/p2p``, in the order they were learned."""
    protocols: frozenset[str] = frozenset()
    agent: str = ""


class PeerBook:
    """Known peers, those met (connected or identified) and those only heard of.

    Whoever names thousands of peers cannot push out the ones we met: those only heard of keep to a quarter of a full book.
    """

    def __init__(self, config: PeersConfig, clock: Callable[[], float]) -> None:
        """Make an empty book.

        Args:
            config: Its bounds.
            clock: Monotonic seconds.
        """
        self._config = config
        self._clock = clock
        self._cache = AddressCache()
        self._met: dict[PeerId, KnownPeer] = {}  # not met for the longest time first
        self._heard: dict[PeerId, KnownPeer] = {}  # heard of first, first

    def __len__(self) -> int:
        return len(self._met) + len(self._heard)

    def find(self, peer_id: PeerId) -> KnownPeer | None:
        """The entry of a peer, expired addresses included."""
        return self._met.get(peer_id) or self._heard.get(peer_id)

    def met(self) -> Iterator[tuple[PeerId, KnownPeer]]:
        """Peers that were met, the most recent first."""
        return iter([(peer_id, self._met[peer_id]) for peer_id in reversed(self._met)])

    def add_addresses(self, peer_id: PeerId, addresses: Iterable[Address], *, ttl: float, given: bool = False) -> None:
        """Remember addresses for `ttl` seconds (30 days at most); one known already lives at least that much longer.

        Addresses that name another peer, or no place, are passed over.
        """
        expires = self._clock() + max(0.0, min(ttl, _MAX_TTL_S))
        entry: KnownPeer | None = None
        for address in addresses:
            key = _place(peer_id, address)
            if key is not None:
                entry = entry or self._entry(peer_id)
                self._add(entry, key, KnownAddress(expires, given))

    def describe(self, peer_id: PeerId, *, protocols: frozenset[str] | None = None, agent: str | None = None) -> None:
        """Remember what a peer said of itself: it was met."""
        entry = self.meet(peer_id)
        if protocols is not None:
            fitting = sorted(protocol for protocol in protocols if len(protocol) <= _MAX_TEXT)
            entry.protocols = frozenset(fitting[:_MAX_PROTOCOLS])
        if agent is not None:
            entry.agent = "".join(letter for letter in agent[:_MAX_TEXT] if letter.isprintable())

    def meet(self, peer_id: PeerId) -> KnownPeer:
        """Note that a peer is there now: it is forgotten last."""
        entry = self._met.pop(peer_id, None) or self._heard.pop(peer_id, None) or KnownPeer()
        self._met[peer_id] = entry
        self._make_room()
        return entry

    def worked(self, peer_id: PeerId, address: Address) -> None:
        """Note that dialling this address led to the peer."""
        entry, key = self.meet(peer_id), _place(peer_id, address)
        if key is None:
            return
        now = self._clock()
        known = self._add(entry, key, KnownAddress(now + _WORKED_TTL_S, worked=now))
        if known is not None:
            known.worked = now

    def disproved(self, peer_id: PeerId, protocol: str) -> None:
        """Note that a peer refused a protocol that it was said to serve."""
        entry = self.find(peer_id)
        if entry is not None:
            entry.protocols -= {protocol}

    def addresses(self, peer_id: PeerId) -> list[tuple[Address, KnownAddress]]:
        """Live addresses: those that worked first, the latest of them in front, then in the order they were learned."""
        entry, now = self.find(peer_id), self._clock()
        if entry is None:
            return []
        live = [(key, known) for key, known in entry.addresses.items() if known.expires > now]
        live.sort(key=lambda item: -item[1].worked if item[1].worked is not None else float("inf"))
        return [(self._cache.from_bytes(key), known) for key, known in live]

    def forget(self, peer_id: PeerId) -> None:
        """Remove all that is known of a peer. Idempotent."""
        self._met.pop(peer_id, None)
        self._heard.pop(peer_id, None)

    def restore(self, peer_id: PeerId, addresses: Sequence[tuple[Address, KnownAddress]]) -> None:
        """Put back what an earlier run knew: the peer counts as met, before all that are met from now on."""
        entry = self.meet(peer_id)
        for address, known in addresses:
            key = _place(peer_id, address)
            if key is not None:
                self._add(entry, key, known)

    def _entry(self, peer_id: PeerId) -> KnownPeer:
        entry = self.find(peer_id)
        if entry is None:
            entry = self._heard[peer_id] = KnownPeer()
            self._make_room()
        return entry

    def _make_room(self) -> None:
        if len(self) <= self._config.max_peers:
            return
        crowded = len(self._heard) > self._config.max_peers // 4 or not self._met
        segment = self._heard if crowded else self._met
        del segment[next(iter(segment))]

    def _add(self, entry: KnownPeer, key: bytes, fresh: KnownAddress) -> KnownAddress | None:
        """Add or renew; None where there is no room for it."""
        known = entry.addresses.get(key)
        if known is not None:
            known.expires = max(known.expires, fresh.expires)
            known.given |= fresh.given
            return known
        if len(entry.addresses) >= self._config.max_addresses_per_peer and not self._drop_one(entry, fresh):
            return None
        entry.addresses[key] = fresh
        return fresh

    def _drop_one(self, entry: KnownPeer, fresh: KnownAddress) -> bool:
        now = self._clock()
        victim, known = min(entry.addresses.items(), key=lambda item: _rank(item[1], now))
        if _rank(known, now)[0] > _rank(fresh, now)[0]:
            return False
        del entry.addresses[victim]
        return True


def _rank(known: KnownAddress, now: float) -> tuple[int, float]:
    """What goes first when there is no room: the smallest."""
    if known.expires <= now:
        return (0, known.expires)
    return (2 if known.given or known.worked is not None else 1, known.expires)


def _place(peer_id: PeerId, address: Address) -> bytes | None:
    """The key of an address in this peer's entry, or None where it cannot be one of its addresses."""
    try:
        named = address.peer_id
        return address.without_peer().to_bytes() if named is None or named == peer_id else None
    except InvalidAddress:
        return None
