"""A py-libp2p host of TCP, Noise and yamux with its limits out of the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from libp2p import create_yamux_muxer_option, new_host
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.serialization import deserialize_public_key
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.host.exceptions import StreamFailure
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.rcmgr import ResourceLimits, ResourceManager
from libp2p.rcmgr.connection_limits import new_connection_limits
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.utils.varint import read_length_prefixed_protobuf
from multiaddr import Multiaddr  # noqa: TID251 - the type py-libp2p speaks in
from streams import HANDLERS

MANY = 1_000_000
_IDENTIFY_ATTEMPTS = 10
_IDENTIFY_PAUSE_SECONDS = 0.05


def _unlimited_resources() -> ResourceManager:
    return ResourceManager(
        limits=ResourceLimits(max_connections=MANY, max_memory_mb=MANY, max_streams=MANY),
        connection_limits=new_connection_limits(),
        enable_metrics=False,
        enable_memory_limits=False,
        enable_circuit_breaker=False,
        enable_graceful_degradation=False,
        enable_rate_limiting=False,
    )


@asynccontextmanager
async def open_node(*, listen: bool = False) -> AsyncIterator[IHost]:
    """Run a host; only a listening one has an address.

    A dialer allows one connection per peer: with more allowed, the library waits 250 ms after each successful dial for
    a second one to succeed.
    """
    key_pair = create_new_key_pair()
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: NoiseTransport(key_pair, create_new_x25519_key_pair().private_key)},
        muxer_opt=create_yamux_muxer_option(),
        resource_manager=_unlimited_resources(),
        connection_config=ConnectionConfig(
            max_connections=MANY,
            high_watermark=MANY,
            low_watermark=0,
            min_connections=0,
            max_connections_per_peer=MANY if listen else 1,
        ),
        disable_identify_address_discovery=True,
    )
    for protocol, handler in HANDLERS.items():
        host.set_stream_handler(protocol, handler)
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")] if listen else []):
        yield host


def peer_at(address: str) -> PeerInfo:
    """Parse ``/ip4/.../tcp/.../p2p/ID``."""
    return info_from_p2p_addr(Multiaddr(address))


async def identify(host: IHost, peer_id: ID) -> Identify:
    """Ask a connected peer who it is.

    The library asks too, by itself and without telling the outcome, and a remote may refuse a second identify stream on a
    connection as long as the first is open (js-libp2p does): so try again.
    """
    for _ in range(_IDENTIFY_ATTEMPTS - 1):
        try:
            return await _identify_once(host, peer_id)
        except (StreamFailure, StreamError):
            await trio.sleep(_IDENTIFY_PAUSE_SECONDS)
    return await _identify_once(host, peer_id)


async def _identify_once(host: IHost, peer_id: ID) -> Identify:
    stream = await host.new_stream(peer_id, [IDENTIFY])
    message = Identify()
    message.ParseFromString(await read_length_prefixed_protobuf(stream))
    await stream.close()
    if ID.from_pubkey(deserialize_public_key(message.public_key)) != peer_id:
        raise ValueError("the identify message carries the key of another peer")
    return message
