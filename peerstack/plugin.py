"""The plugin contract: what a protocol is, what it is given, and the stream it talks over.

A protocol is one small object::

    class Echo(ProtocolPlugin):
        ids = ("/echo/1.0.0",)

        async def handle(self, stream: Stream) -> None:
            async for chunk in stream:
                await stream.write(chunk)

A distribution offers it by an entry point in the group ``peerstack.protocols`` (name -> class); users enable it by that name. The built-in
protocols come through the same door.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from peerstack.addresses import Address
from peerstack.environment import Environment
from peerstack.identity import PeerId, PublicKey

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from peerstack.dht.store.storage import Storage

__all__ = [
    "ConnectionInfo",
    "LocalChanged",
    "Metrics",
    "PeerConnected",
    "PeerDisconnected",
    "PeerEvent",
    "PeerIdentified",
    "PeerInfo",
    "PluginContext",
    "ProtocolLimits",
    "ProtocolPlugin",
    "Stream",
]

MessageT = TypeVar("MessageT", bound="Message")


class Stream(Protocol):
    """A bidirectional byte stream to one peer, with asyncio's names.

    One task may read while another writes; a second reader or writer at the same time gets `StreamBusy`. A cancelled read leaves the stream
    usable. A message is queued whole or not at all; a raw `write` cancelled in the middle resets the stream.
    """

    @property
    def peer_id(self) -> PeerId:
        """The authenticated peer at the other end."""

    @property
    def protocol(self) -> str:
        """The protocol id of this stream; for an optimistically opened stream the one proposed."""

    @property
    def connection(self) -> ConnectionInfo:
        """The connection that carries the stream."""

    async def read(self, n: int = 65536) -> bytes:
        """Read up to `n` bytes, waiting for at least one; ``b""`` is the end of the stream.

        Raises:
            StreamReset: The stream was reset.
            ConnectionLost: The connection ended before the stream did.
            ProtocolNotSupported: The remote refused the protocol of an optimistically opened stream.
            StreamBusy: Another task is reading.
        """

    async def readexactly(self, n: int) -> bytes:
        """Read exactly `n` bytes.

        Raises:
            IncompleteRead: The stream ended first; also everything `read` raises.
        """

    async def readuntil(self, separator: bytes = b"\n", *, limit: int = 65536) -> bytes:
        """Read up to and including `separator`.

        Raises:
            IncompleteRead: The stream ended first.
            MessageTooLarge: No separator within `limit` bytes (which stay unread); also everything `read` raises.
        """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over chunks until the end of the stream."""

    async def write(self, data: bytes | bytearray | memoryview, *, eof: bool = False) -> None:
        """Write all of `data`, waiting while the peer is slow. With `eof` the write side ends with the last byte's frame.

        Raises:
            StreamClosed: Our side was closed before.
            StreamReset: The stream was reset.
            ConnectionLost: The connection ended.
            StreamBusy: Another task is writing.
        """

    def write_now(self, data: bytes) -> bool:
        """Write all of `data` if that takes no waiting; False where it does, and nothing was written.

        Raises:
            StreamClosed: Our side was closed before; also everything else `write` raises.
        """

    def write_eof(self) -> None:
        """End our direction after what was written; reading goes on.

        Raises:
            StreamBusy: Another task is writing.
        """

    async def close(self) -> None:
        """End both directions in order: what was written still arrives, what comes is discarded.

        On an optimistically opened stream it waits for the remote's answer. A write that another task still waits for cannot end in order:
        the stream is reset.

        Raises:
            ProtocolNotSupported: The remote refused the protocol of an optimistically opened stream.
            NegotiationFailed: It did not answer in time, or broke the rules.
            StreamReset: It reset the stream before it answered.
            ConnectionLost: The connection ended before it answered.
        """

    def reset(self, error_code: int = 0) -> None:
        """End both directions at once; unsent and unread bytes are lost. Idempotent."""

    async def read_message(self, message_type: type[MessageT], *, limit: int = 1 << 20) -> MessageT | None:
        """Read one varint-length-prefixed protobuf message of at most `limit` bytes; None at a clean end.

        Raises:
            MessageTooLarge: It is longer than `limit`.
            InvalidMessage: It does not parse.
            IncompleteRead: The stream ended inside it; also everything `read` raises.
        """

    async def write_message(self, message: Message, *, eof: bool = False) -> None:
        """Write one varint-length-prefixed protobuf message, whole or not at all; raises as `write`."""


class ConnectionInfo(Protocol):
    """What plugins may know of a connection."""

    @property
    def peer_id(self) -> PeerId:
        """The authenticated remote peer."""

    @property
    def public_key(self) -> PublicKey:
        """Its public key, proved by the handshake."""

    @property
    def local_address(self) -> Address:
        """Our end."""

    @property
    def remote_address(self) -> Address:
        """The other end."""

    @property
    def outbound(self) -> bool:
        """Whether we dialled it."""

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds, once measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerInfo:
    """What the peer book knows of a peer."""

    peer_id: PeerId
    addresses: tuple[Address, ...] = ()
    """Where it can be dialled, without ``/p2p``."""
    protocols: frozenset[str] = frozenset()
    """What it said it serves (identify)."""
    agent: str = ""
    """Its agent version, such as ``go-libp2p/0.48.0``."""
    connected: bool = False


@dataclass(slots=True)
class PeerConnected:
    """The first connection to a peer is up."""

    peer_id: PeerId
    connection: ConnectionInfo


@dataclass(slots=True)
class PeerDisconnected:
    """The last connection to a peer is gone."""

    peer_id: PeerId


@dataclass(slots=True)
class PeerIdentified:
    """A peer told (or pushed) its protocols and addresses; they stand in the peer book now."""

    peer_id: PeerId
    protocols: frozenset[str]
    addresses: tuple[Address, ...]


@dataclass(slots=True)
class LocalChanged:
    """What this host serves, or where it can be dialled, has changed."""


PeerEvent = PeerConnected | PeerDisconnected | PeerIdentified | LocalChanged


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolLimits:
    """Bounds on inbound streams of one protocol; beyond them a stream is reset."""

    max_streams: int = 1024
    """Inbound streams of this protocol over all peers."""
    max_streams_per_peer: int = 256
    """Inbound streams of this protocol from one peer."""


class Metrics(Protocol):
    """A plugin's own counters and gauges; names are prefixed with the plugin's."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter (``<name>_total``). Labels are few and never peer ids."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation (seconds, bytes) to a distribution."""


class PluginContext(Protocol):
    """Everything the host gives one plugin. It is valid from `ProtocolPlugin.start` until `ProtocolPlugin.stop` returned."""

    @property
    def name(self) -> str:
        """The name the plugin is enabled under."""

    @property
    def peer_id(self) -> PeerId:
        """The host's own peer id."""

    @property
    def public_key(self) -> PublicKey:
        """The host's own public key."""

    @property
    def listening(self) -> bool:
        """Whether the host listens: a host that does not is a client only."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Addresses the host can be dialled at, without ``/p2p``; empty for a host that does not listen."""

    @property
    def protocols(self) -> Sequence[str]:
        """Protocol ids the host serves now, sorted."""

    @property
    def agent(self) -> str:
        """The host's agent version, such as ``peerstack/0.1.0``."""

    @property
    def environment(self) -> Environment:
        """Wall clock, entropy and randomness."""

    @property
    def logger(self) -> logging.Logger:
        """``peerstack.plugin.<name>``."""

    @property
    def metrics(self) -> Metrics:
        """This plugin's own metrics."""

    @property
    def data_folder(self) -> str | None:
        """A folder of this plugin's own that outlives the process, or None for a host without disk."""

    @property
    def storage(self) -> Storage:
        """The node's storage: record stores and side tables by name; a plugin's begin with its own."""

    @property
    def bootstrap(self) -> Sequence[Address]:
        """The bootstrap addresses (with ``/p2p``) the host was configured with."""

    def time(self) -> float:
        """Monotonic seconds of the event loop."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after `delay` seconds unless the returned function (cancel) is called or the plugin stops first."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str = "") -> None:
        """Run a background task owned by the host: cancelled when the plugin stops, logged and counted when it crashes."""

    def sign(self, data: bytes) -> bytes:
        """Sign with the host's identity key."""

    def open(
        self, target: PeerId | Address | str, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a stream, dialling if needed; leaving the block closes it, or resets it on an error. See `peerstack.Host.open`."""

    async def open_stream(
        self, target: PeerId | Address | str, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> Stream:
        """As `open` for a stream that lives longer than a block; the caller closes or resets it."""

    async def connect(self, target: PeerId | Address | str, *, timeout: float | None = None) -> ConnectionInfo:
        """Return a connection to a peer, dialling if there is none."""

    def connections(self, peer_id: PeerId) -> Sequence[ConnectionInfo]:
        """The open connections to a peer."""

    def peer(self, peer_id: PeerId) -> PeerInfo | None:
        """What is known of a peer."""

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with at least one connection, oldest first."""

    def add_peer(
        self,
        peer_id: PeerId,
        addresses: Sequence[Address] = (),
        *,
        ttl: float = 3600,
        protocols: frozenset[str] | None = None,
        agent: str | None = None,
    ) -> None:
        """Remember addresses (for `ttl` seconds) and, where given, what the peer said of itself."""

    def protect(self, peer_id: PeerId, tag: str) -> None:
        """Keep a peer's connections from being trimmed until `unprotect` with the same tag."""

    def unprotect(self, peer_id: PeerId, tag: str) -> None:
        """Undo `protect`."""

    def announce(self, event: PeerIdentified) -> None:
        """Tell the host and the other plugins what a peer said (for identify)."""

    def register(self, *protocol_ids: str) -> None:
        """Serve these of the plugin's `ids` (they are all served from the start unless `ProtocolPlugin.serve_at_start` is False)."""

    def unregister(self, *protocol_ids: str) -> None:
        """Stop serving; streams that are open live on."""


class ProtocolPlugin:
    """Base of every protocol. Only `ids` and `handle` are required.

    A class with a nested frozen dataclass ``Config`` is configured by it: it is created as ``Class(config)``, with the table
    ``[protocols.<name>]`` of a configuration file, or as ``Class()`` when nothing is configured. A field ``preset`` of the ``Config`` is
    always given: the host's preset, unless the table names another.
    """

    name: str = ""
    """The name an object given to the host is enabled under; empty: that of its entry point, else of its class in lower case."""
    ids: Sequence[str] = ()
    """Protocol ids served, preferred first; an attribute of the instance where the configuration chooses them."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of plugins that must be enabled beside this one; they start before it and stop after it."""
    limits: ProtocolLimits = ProtocolLimits()
    """Bounds on inbound streams."""
    serve_at_start: bool = True
    """Whether `ids` are served as soon as the plugin has started (else by `PluginContext.register`)."""

    async def start(self, context: PluginContext) -> None:
        """Begin; the host does not run before every plugin has started. An error here stops the host from starting."""

    async def stop(self) -> None:
        """End; streams and connections still work. Bounded in time by the host."""

    async def handle(self, stream: Stream) -> None:
        """Serve one inbound stream. Returning closes it; an exception resets it, is logged, and ends nothing else."""
        raise NotImplementedError

    def on_peer(self, event: PeerEvent) -> None:
        """Learn of peers that come, go, or identify themselves, and of changes to this host. Called from the loop; must not block."""
