"""The open connections of a host: admission, limits, which one to use, and which ones to let go."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import ConnectionLost, DialError, PeerstackError
from peerstack.host.gater import Gater, ip_of
from peerstack.host.metrics import HostMetrics, error_label
from peerstack.host.refusals import Refusals
from peerstack.identity import PeerId
from peerstack.net.connection import Connection
from peerstack.plugin import PeerConnected, PeerDisconnected

__all__ = ["ConnectionTable"]

_logger = logging.getLogger(__name__)

OnChange = Callable[[PeerConnected | PeerDisconnected], None]


class ConnectionTable:
    """Connections by peer, in the order they came up.

    Every limit fails closed. A trim begins above the high-water mark and ends at the low one; it takes no protected peer and no connection
    within its grace period.
    """

    def __init__(
        self, own_id: PeerId, config: HostConfig, metrics: HostMetrics, *, clock: Callable[[], float], on_change: OnChange
    ) -> None:
        """Make an empty table that admits nobody yet.

        Args:
            own_id: This host.
            config: Its limits, gater lists and water marks.
            metrics: Where connections are counted.
            clock: Monotonic seconds.
            on_change: Told of each peer's first and last connection.

        Raises:
            ConfigError: A gater list holds something else than subnets or peer ids.
        """
        self.own_id = own_id
        self.gater = Gater(config.peers)
        self.refusals = Refusals(metrics, clock)
        self.accepting = False
        """Whether inbound links are admitted."""
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._on_change = on_change
        self._by_peer: dict[PeerId, list[Connection]] = {}
        self._count: Counter[str] = Counter()  # by direction
        self._inbound_by_ip: Counter[str] = Counter()
        self._pending_by_ip: Counter[str] = Counter()
        self._pending = 0
        self._protected: dict[PeerId, set[str]] = {}

    # admission

    def admit(self, remote: Address) -> bool:
        """Decide on an inbound link before any work is done for it; once admitted it is pending until `settled`."""
        if not self.accepting:
            return False
        if not self.gater.allows_address(remote):
            self._metrics.count("peerstack_gater_denied_total", direction="inbound")
            return False
        group = self._ip_group(remote)
        limit = self._inbound_limit(group)
        if limit:
            self.refusals.refuse(limit, f"a connection from {remote}")
            return False
        self._pending += 1
        if group:
            self._pending_by_ip[group] += 1
        return True

    def settled(self, remote: Address) -> None:
        """An admitted link has become a connection, or failed."""
        self._pending -= 1
        _decrement(self._pending_by_ip, self._ip_group(remote))

    def accept(self, connection: Connection) -> None:
        """Take over an inbound connection, or end it where a limit or the gater refuses it."""
        self.settled(connection.remote_address)
        try:
            self.add(connection)
        except PeerstackError as error:
            _logger.debug("%r not kept: %s", connection, error)

    def failed(self, remote: Address, error: PeerstackError) -> None:
        """An admitted link did not become a connection."""
        self.settled(remote)
        self._metrics.count("peerstack_inbound_failed_total", error=error_label(error))
        _logger.debug("inbound connection from %s failed: %s", remote, error)

    def check_room(self, peer_id: PeerId) -> None:
        """Make sure that one more connection to a peer may be dialled.

        Raises:
            LimitExceeded: ``max_connections`` or ``max_connections_per_peer``.
        """
        limits = self._config.limits
        if self._count.total() + self._pending >= limits.max_connections:
            raise self.refusals.refuse("max_connections", f"a connection to {peer_id}")
        if len(self._by_peer.get(peer_id, ())) >= limits.max_connections_per_peer:
            raise self.refusals.refuse("max_connections_per_peer", f"another connection to {peer_id}")

    def add(self, connection: Connection) -> None:
        """Keep a new connection. One that is refused is aborted.

        Raises:
            LimitExceeded: ``max_connections`` or ``max_connections_per_peer``.
            DialError: The gater denies the peer, or it is this host itself.
            ConnectionLost: It has ended already.
        """
        peer_id = connection.peer_id
        try:
            if connection.ended:
                raise ConnectionLost("the connection ended as soon as it was up")
            if peer_id == self.own_id:
                raise DialError("this host connected to itself")
            if not self.gater.allows_peer(peer_id):
                self._metrics.count("peerstack_gater_denied_total", direction=_direction(connection))
                raise DialError(f"peer {peer_id} is denied by the configuration")
            self.check_room(peer_id)
        except PeerstackError as error:
            connection.abort(error)
            raise
        group = "" if connection.outbound else self._ip_group(connection.remote_address)
        connection.on_closed = partial(self._closed, group)
        connections = self._by_peer.setdefault(peer_id, [])
        connections.append(connection)
        if group:
            self._inbound_by_ip[group] += 1
        self._counted(connection, 1, "opened")
        if len(connections) == 1:
            self._on_change(PeerConnected(peer_id, connection))
        self.trim()

    # questions

    def __len__(self) -> int:
        return self._count.total()

    @property
    def pending(self) -> int:
        """Inbound links whose handshake is not done."""
        return self._pending

    def peers(self) -> list[PeerId]:
        """Connected peers, in the order they came."""
        return list(self._by_peer)

    def of(self, peer_id: PeerId) -> Sequence[Connection]:
        """The connections to a peer that are not closing, oldest first."""
        return tuple(connection for connection in self._by_peer.get(peer_id, ()) if not connection.closed)

    def all(self) -> list[Connection]:
        """Every connection, closing ones included."""
        return [connection for connections in self._by_peer.values() for connection in connections]

    def best(self, peer_id: PeerId) -> Connection | None:
        """The connection on which new streams are opened.

        The newest, as an older one may be dead without our knowing. Of those that came up together (both sides dialled) it is the one
        that the smaller peer id dialled: both sides choose the same, and the other one falls idle.
        """
        live = self.of(peer_id)
        if len(live) < 2:
            return live[0] if live else None
        newest = max(connection.opened_at for connection in live)
        together = [connection for connection in live if newest - connection.opened_at <= self._config.connection.handshake_timeout_s]
        return min(together, key=lambda connection: (self.own_id if connection.outbound else peer_id, -connection.opened_at))

    # letting go

    def protect(self, peer_id: PeerId, tag: str) -> None:
        """Neither trim a peer's connections nor close them for idleness until `unprotect` with the same tag."""
        self._protected.setdefault(peer_id, set()).add(tag)

    def unprotect(self, peer_id: PeerId, tag: str) -> None:
        """Undo `protect`."""
        tags = self._protected.get(peer_id)
        if tags is not None:
            tags.discard(tag)
            if not tags:
                del self._protected[peer_id]

    def is_protected(self, peer_id: PeerId) -> bool:
        """Whether any tag protects the peer."""
        return peer_id in self._protected

    def sweep(self) -> None:
        """Close what has been idle for too long, then trim. Called from time to time."""
        idle_before = self._clock() - self._config.connection.idle_timeout_s
        for connection in self.all():
            idle_since = connection.idle_since
            if idle_since is not None and idle_since <= idle_before and connection.peer_id not in self._protected:
                connection.close()
        self.trim()

    def trim(self) -> None:
        """Above the high-water mark close the least valuable connections: those without streams, the longest idle first."""
        peers = self._config.peers
        live = [connection for connection in self.all() if not connection.closed]
        if len(live) <= peers.high_water:
            return
        old = self._clock() - peers.grace_period_s
        candidates = [c for c in live if c.opened_at <= old and c.peer_id not in self._protected]
        candidates.sort(key=lambda c: (c.idle_since is None, c.opened_at if c.idle_since is None else c.idle_since))
        for connection in candidates[: len(live) - peers.low_water]:
            connection.close()
            self._metrics.count("peerstack_connections_trimmed_total")

    # in the machine room

    def _inbound_limit(self, group: str) -> str:
        """The name of the limit that one more inbound link would break, or ""."""
        limits = self._config.limits
        if self._count.total() + self._pending >= limits.max_connections:
            return "max_connections"
        if self._pending >= limits.max_pending_inbound:
            return "max_pending_inbound"
        if group and self._pending_by_ip[group] >= limits.max_pending_inbound_per_ip:
            return "max_pending_inbound_per_ip"
        if group and self._inbound_by_ip[group] + self._pending_by_ip[group] >= limits.max_connections_per_ip:
            return "max_connections_per_ip"
        return ""

    def _ip_group(self, address: Address) -> str:
        """What counts as one IP: an IPv4 address, an IPv6 /64; "" where there is none, and for loopback in the `local` preset."""
        ip = ip_of(address)
        if ip is None or (ip.is_loopback and self._config.preset == "local"):
            return ""
        if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback:
            return str(ip)
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))

    def _closed(self, group: str, connection: Connection, error: PeerstackError | None) -> None:
        connections = self._by_peer[connection.peer_id]
        connections.remove(connection)
        _decrement(self._inbound_by_ip, group)
        self._counted(connection, -1, "closed")
        self._metrics.observe("libp2p_swarm_connection_duration_seconds", self._clock() - connection.opened_at, dir=_direction(connection))
        _logger.debug("%r closed: %s", connection, error or "in order")
        if not connections:
            del self._by_peer[connection.peer_id]
            self._on_change(PeerDisconnected(connection.peer_id))

    def _counted(self, connection: Connection, change: int, event: str) -> None:
        direction = _direction(connection)
        self._count[direction] += change
        self._metrics.count(f"libp2p_swarm_connections_{event}_total", dir=direction)
        self._metrics.gauge("libp2p_rcmgr_connections", self._count[direction], dir=direction, scope="system")


def _direction(connection: Connection) -> str:
    return "outbound" if connection.outbound else "inbound"


def _decrement(counter: Counter[str], key: str) -> None:
    if key:
        counter[key] -= 1
        if counter[key] <= 0:
            del counter[key]
