"""PeerStack: the libp2p peer stack for asyncio.

::

    async with Host(listen=["/ip4/127.0.0.1/tcp/0"]) as server, Host() as client:

        @server.protocol("/echo/1.0.0")
        async def echo(stream):
            async for chunk in stream:
                await stream.write(chunk)

        async with client.open(server.addrs[0], "/echo/1.0.0", timeout=5) as stream:
            await stream.write(b"hello peer")
            print(stream.peer_id, await stream.readexactly(10))

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from peerstack.errors import (
    Closed,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    DhtError,
    DialError,
    HandshakeFailed,
    IncompleteRead,
    InvalidAddress,
    InvalidKey,
    InvalidMessage,
    InvalidPeerId,
    InvalidRecord,
    KeyFileError,
    KeyNotFound,
    LimitExceeded,
    ListenError,
    MessageTooLarge,
    NegotiationFailed,
    PeerIdMismatch,
    PeerstackError,
    PluginError,
    ProtocolNotSupported,
    ProtocolViolation,
    QuorumNotMet,
    SecurityError,
    StoreError,
    StreamBusy,
    StreamClosed,
    StreamReset,
    Unavailable,
    ValueTooLarge,
)

if TYPE_CHECKING:
    from peerstack.addresses import Address
    from peerstack.config import (
        ConnectionConfig,
        DialConfig,
        HostConfig,
        LimitsConfig,
        MuxerConfig,
        PeersConfig,
        preset,
    )
    from peerstack.environment import Environment
    from peerstack.host.host import Host
    from peerstack.identity import PeerId, PrivateKey, PublicKey
    from peerstack.plugin import (
        LocalChanged,
        PeerConnected,
        PeerDisconnected,
        PeerEvent,
        PeerIdentified,
        PeerInfo,
        PluginContext,
        ProtocolLimits,
        ProtocolPlugin,
        Stream,
    )

__all__ = [
    "Address",
    "Closed",
    "ConfigError",
    "ConnectionConfig",
    "ConnectionLost",
    "DeadlineExceeded",
    "DhtError",
    "DialConfig",
    "DialError",
    "Environment",
    "HandshakeFailed",
    "Host",
    "HostConfig",
    "IncompleteRead",
    "InvalidAddress",
    "InvalidKey",
    "InvalidMessage",
    "InvalidPeerId",
    "InvalidRecord",
    "KeyFileError",
    "KeyNotFound",
    "LimitExceeded",
    "LimitsConfig",
    "ListenError",
    "LocalChanged",
    "MessageTooLarge",
    "MuxerConfig",
    "NegotiationFailed",
    "PeerConnected",
    "PeerDisconnected",
    "PeerEvent",
    "PeerId",
    "PeerIdMismatch",
    "PeerIdentified",
    "PeerInfo",
    "PeersConfig",
    "PeerstackError",
    "PluginContext",
    "PluginError",
    "PrivateKey",
    "ProtocolLimits",
    "ProtocolNotSupported",
    "ProtocolPlugin",
    "ProtocolViolation",
    "PublicKey",
    "QuorumNotMet",
    "SecurityError",
    "StoreError",
    "Stream",
    "StreamBusy",
    "StreamClosed",
    "StreamReset",
    "Unavailable",
    "ValueTooLarge",
    "preset",
]

_HOMES = {
    "peerstack.addresses": ("Address",),
    "peerstack.config": ("ConnectionConfig", "DialConfig", "HostConfig", "LimitsConfig", "MuxerConfig", "PeersConfig", "preset"),
    "peerstack.environment": ("Environment",),
    "peerstack.host.host": ("Host",),
    "peerstack.identity": ("PeerId", "PrivateKey", "PublicKey"),
    "peerstack.plugin": (
        "LocalChanged",
        "PeerConnected",
        "PeerDisconnected",
        "PeerEvent",
        "PeerIdentified",
        "PeerInfo",
        "PluginContext",
        "ProtocolLimits",
        "ProtocolPlugin",
        "Stream",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'peerstack' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
