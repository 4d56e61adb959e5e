"""The identify message: pure encoding, merging and checking.

Source: https://github.com/libp2p/specs/blob/master/identify/README.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from peerstack.addresses import Address
from peerstack.errors import InvalidAddress, ProtocolViolation
from peerstack.identity import PublicKey
from peerstack_identify.pb.identify_pb2 import Identify as IdentifyMessage

__all__ = ["MAX_MESSAGES", "MAX_MESSAGE_BYTES", "Identity", "decode", "encode"]

MAX_MESSAGE_BYTES: Final = 8 << 10
"""Read at most, all parts of one answer together."""
MAX_MESSAGES: Final = 10
"""Parts of one answer that are merged."""
_MAX_SENT_BYTES: Final = 2 << 10  # some peers read no more than 4 KiB, go splits its own at 2 KiB
_MAX_ADDRESSES: Final = 32
_MAX_PROTOCOLS: Final = 256
_MAX_TEXT: Final = 256
_PROTOCOL_VERSION: Final = "ipfs/0.1.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a peer says of itself. None: it did not say (in a push: unchanged)."""

    public_key: bytes | None = None
    """A libp2p PublicKey protobuf."""
    addresses: tuple[Address, ...] | None = None
    """Where it listens, without ``/p2p``; addresses of unknown kinds are left out."""
    protocols: frozenset[str] | None = None
    agent: str | None = None
    observed: Address | None = None
    """Our own address as the peer sees it."""


def encode(
    *, public_key: PublicKey, addresses: Iterable[Address], protocols: Iterable[str], agent: str, observed: Address
) -> IdentifyMessage:
    """Build our message: empty fields are left out, and it stays small enough for every implementation."""
    message = IdentifyMessage(public_key=public_key.to_protobuf(), protocol_version=_PROTOCOL_VERSION)
    if agent:
        message.agent_version = agent[:_MAX_TEXT]
    message.observed_addr = observed.without_peer().to_bytes()
    message.protocols.extend(protocols)
    for address in list(addresses)[:_MAX_ADDRESSES]:
        message.listen_addrs.append(address.without_peer().to_bytes())
        if message.ByteSize() > _MAX_SENT_BYTES:
            del message.listen_addrs[-1]
            break
    return message


def decode(parts: Iterable[IdentifyMessage], *, expected: PublicKey) -> Identity:
    """Merge and check the parts of one answer.

    Args:
        parts: In order; a later part adds to lists and replaces single fields.
        expected: The key that the handshake proved.

    Raises:
        ProtocolViolation: The peer claims another public key, or says more than anybody needs.
    """
    merged = IdentifyMessage()
    for part in parts:
        merged.MergeFrom(part)
    public_key = merged.public_key if merged.HasField("public_key") and merged.public_key else None
    if public_key is not None and public_key != expected.to_protobuf():
        raise ProtocolViolation("identify: the peer claims another public key than the one it proved")
    if len(merged.protocols) > _MAX_PROTOCOLS:
        raise ProtocolViolation(f"identify: the peer names {len(merged.protocols)} protocols, over {_MAX_PROTOCOLS}")
    observed = _addresses([merged.observed_addr]) if merged.HasField("observed_addr") else ()
    return Identity(
        public_key=public_key,
        addresses=_addresses(merged.listen_addrs[:_MAX_ADDRESSES]) if merged.listen_addrs else None,
        protocols=frozenset(merged.protocols) if merged.protocols else None,
        agent=merged.agent_version[:_MAX_TEXT] if merged.HasField("agent_version") else None,
        observed=observed[0] if observed else None,
    )


def _addresses(encoded: Iterable[bytes]) -> tuple[Address, ...]:
    found: dict[Address, None] = {}
    for data in encoded:
        try:
            found[Address.from_bytes(data).without_peer()] = None
        except InvalidAddress:  # a kind we do not know: skip that address only
            continue
    return tuple(found)
