"""Configuration: one frozen dataclass per component, units in the names, validated once, with presets.

No environment variable is read here or below: the daemon does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from peerstack.environment import Environment
from peerstack.errors import ConfigError

if TYPE_CHECKING:
    from peerstack.dht.store.storage import Storage
    from peerstack.net.transport import Transport

__all__ = ["ConnectionConfig", "DialConfig", "HostConfig", "LimitsConfig", "MuxerConfig", "PeersConfig", "Preset", "preset"]

Preset = Literal["local", "lan", "wan"]


def _positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise ConfigError(f"{type(config).__name__}.{name} must be positive, not {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionConfig:
    """Deadlines of one connection."""

    handshake_timeout_s: float = 10.0
    """From the first byte to a ready muxer; then the connection is aborted."""
    negotiation_timeout_s: float = 10.0
    """For the protocol of one stream to be agreed on."""
    close_timeout_s: float = 5.0
    """How long a graceful close waits for queued bytes to leave and for the remote to close."""
    idle_timeout_s: float = 60.0
    """A connection without streams and without protection is closed after this."""

    def __post_init__(self) -> None:
        _positive(self, "handshake_timeout_s", "negotiation_timeout_s", "close_timeout_s", "idle_timeout_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class MuxerConfig:
    """yamux: windows, keep-alive and per-connection bounds."""

    max_window_bytes: int = 16 << 20
    """A stream's receive window grows from 256 KiB up to this, with the bandwidth-delay product."""
    connection_window_budget_bytes: int = 64 << 20
    """Growth of all windows of one connection."""
    host_window_budget_bytes: int = 256 << 20
    """Growth of all windows of one host."""
    max_send_buffer_bytes: int = 256 << 10
    """Bytes a stream queues before `write` waits."""
    keepalive_interval_s: float = 30.0
    """A ping goes out after this much silence."""
    keepalive_timeout_s: float = 20.0
    """A ping not answered within this ends the connection."""
    half_closed_timeout_s: float = 60.0
    """A stream we closed is reset when the remote has not closed its side within this."""

    def __post_init__(self) -> None:
        _positive(self, "keepalive_interval_s", "keepalive_timeout_s", "half_closed_timeout_s", "max_send_buffer_bytes")
        if self.max_window_bytes < 256 << 10:
            raise ConfigError("MuxerConfig.max_window_bytes must be at least 262144, yamux's initial window")


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitsConfig:
    """What a host takes on at most. Every limit fails closed: what is over it is refused, logged and counted."""

    max_connections: int = 1024
    max_connections_per_peer: int = 8
    max_connections_per_ip: int = 256
    """Inbound; loopback is exempt only in the `local` preset."""
    max_pending_inbound: int = 256
    """Inbound connections that have not finished their handshake."""
    max_pending_inbound_per_ip: int = 64
    max_dials: int = 64
    """Dials in flight."""
    max_streams_per_connection: int = 1024
    """Each way."""
    max_unread_host_bytes: int = 256 << 20
    """Received and not yet read, over all streams; beyond it the stream with the most unread bytes is reset."""
    max_unread_connection_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        _positive(self, *self.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DialConfig:
    """How peers are dialled."""

    timeout_s: float = 15.0
    """For one peer, all its addresses included."""
    address_timeout_s: float = 8.0
    """For one address: TCP, Noise and muxer."""
    stagger_s: float = 0.25
    """Head start of each address over the next one (happy eyeballs); a failure starts the next at once."""
    backoff_s: float = 5.0
    """After a failed dial a peer is not dialled again for this, doubling up to `max_backoff_s`."""
    max_backoff_s: float = 300.0
    max_addresses: int = 16
    """Addresses tried per peer."""
    private_addresses: bool = True
    """Whether private and loopback addresses learned from peers are dialled (not in the `wan` preset)."""
    from_listen_port: bool = False
    """Whether TCP listeners share their port and dials leave from it (SO_REUSEPORT)."""

    def __post_init__(self) -> None:
        _positive(self, "timeout_s", "address_timeout_s", "max_addresses", "backoff_s", "max_backoff_s")
        if self.stagger_s < 0:
            raise ConfigError("DialConfig.stagger_s must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class PeersConfig:
    """The peer book and the connection manager."""

    max_peers: int = 10_000
    """Peers remembered; the one not seen for the longest time is forgotten first."""
    max_addresses_per_peer: int = 16
    low_water: int = 160
    """A trim ends here."""
    high_water: int = 192
    """Connections above which unprotected ones are trimmed."""
    grace_period_s: float = 20.0
    """A connection younger than this is not trimmed."""
    allow_subnets: tuple[str, ...] = ()
    """If not empty, only these IP subnets (CIDR) may connect or be dialled."""
    deny_subnets: tuple[str, ...] = ()
    allow_peers: tuple[str, ...] = ()
    """If not empty, only these peer ids."""
    deny_peers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive(self, "max_peers", "max_addresses_per_peer", "low_water", "high_water")
        if self.low_water > self.high_water:
            raise ConfigError("PeersConfig.low_water must not be above high_water")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostConfig:
    """Everything a host can be told beside identity, addresses and protocols."""

    preset: Preset = "wan"
    """The network preset that protocol plugins start from."""
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    muxer: MuxerConfig = field(default_factory=MuxerConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    dial: DialConfig = field(default_factory=DialConfig)
    peers: PeersConfig = field(default_factory=PeersConfig)
    protocol_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings by plugin name, the ``[protocols.<name>]`` tables."""
    transports: tuple[Transport, ...] | None = None
    """None: every transport that is installed."""
    environment: Environment = field(default_factory=Environment)
    data_folder: str | None = None
    """Where the peer book and the plugins keep what outlives the process; None: nowhere."""
    storage: Storage | None = None
    """Where DHTs keep their records, closed with the host; None: SQLite in `data_folder`, or memory without one."""
    agent: str = ""
    """The agent version identify tells; empty: ``peerstack/<version>``."""
    start_timeout_s: float = 30.0
    """For each plugin's `start`."""
    stop_timeout_s: float = 10.0
    """For all of the graceful shutdown."""

    def __post_init__(self) -> None:
        _positive(self, "start_timeout_s", "stop_timeout_s")


_PRESETS: dict[Preset, HostConfig] = {
    "local": HostConfig(
        preset="local",
        dial=DialConfig(timeout_s=5.0, address_timeout_s=3.0, backoff_s=0.5, max_backoff_s=5.0),
        limits=LimitsConfig(max_connections_per_ip=1024, max_pending_inbound_per_ip=256),
    ),
    "lan": HostConfig(preset="lan"),
    "wan": HostConfig(preset="wan", dial=DialConfig(private_addresses=False)),
}


def preset(name: Preset, **changes: Any) -> HostConfig:
    """Return the configuration of a preset, with fields replaced.

    Args:
        name: ``local`` (one machine), ``lan`` or ``wan``.
        changes: Fields of `HostConfig`.

    Raises:
        ConfigError: There is no such preset.
    """
    try:
        return replace(_PRESETS[name], **changes)
    except KeyError:
        raise ConfigError(f"no preset {name!r}: choose local, lan or wan") from None
