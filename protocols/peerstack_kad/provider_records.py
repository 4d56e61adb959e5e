"""Who said it has what a key names: what a server keeps of it.

Nobody signs a provider record, so only what a peer says of itself counts. Records end 48 h after they were last received; the addresses in
them are given out for 24 h, after which whoever asks has to find the peer itself.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#content-provider-advertisement-and-discovery
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.peers import ContactReader, encode_peers
from peerstack.dht.store.storage import MemorySideTable, SideTable
from peerstack.errors import InvalidMessage, PeerstackError
from peerstack.identity import PeerId
from peerstack_kad.codec_parts import MAX_PROVIDERS, PROVIDER, parse_message
from peerstack_kad.nearest import NearestKeys

__all__ = ["ProviderLimits", "ProviderRecords"]

_HOUR_US: Final = 3600 * 1_000_000
_MAX_AGE_US: Final = 48 * _HOUR_US
_ADDRESS_AGE_US: Final = 24 * _HOUR_US
_TIME_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderLimits:
    """What one server keeps."""

    max_keys: int = 16384
    """Keys; beyond, those closest to the node stay."""
    max_per_key: int = MAX_PROVIDERS
    """Providers of one key; beyond, new ones are refused until an old one ends."""
    max_per_provider: int = 8192
    """Keys of one provider."""


@dataclass(slots=True)
class _Provided:
    contact: Contact
    received_us: int


class ProviderRecords:
    """What one server holds.

    Args:
        own: The node's position.
        table: Where to keep it; None is memory alone.
        limits: How much.
        now: Microseconds since 1970, to see what of the table has ended.
    """

    def __init__(self, own: int, table: SideTable | None = None, *, limits: ProviderLimits | None = None, now: int = 0) -> None:
        self._limits = limits or ProviderLimits()
        self._table = MemorySideTable() if table is None else table
        self._nearest = NearestKeys(own, self._limits.max_keys)
        self._held: dict[bytes, dict[PeerId, _Provided]] = {}
        self._counts: dict[PeerId, int] = {}
        self._load(now)

    def __len__(self) -> int:
        return sum(len(providers) for providers in self._held.values())

    def add(self, keys: Iterable[bytes], provider: Contact, now: int) -> Refusal | None:
        """Note that `provider` has what `keys` name; why some of it was refused."""
        refused = None
        for key in keys:
            refused = self._add(key, provider, now) or refused
        return refused

    def get(self, key: bytes, now: int) -> tuple[Contact, ...]:
        """Who has it, the latest first."""
        alive = [each for each in self._held.get(key, {}).values() if _age(each, now) < _MAX_AGE_US]
        alive.sort(key=lambda each: -each.received_us)
        return tuple(each.contact if _age(each, now) < _ADDRESS_AGE_US else Contact.of(each.contact.peer_id) for each in alive)

    def sweep(self, now: int) -> None:
        """Drop what has ended."""
        for key, providers in list(self._held.items()):
            for peer, provided in list(providers.items()):
                if not _age(provided, now) < _MAX_AGE_US:
                    self._drop(key, peer)

    def _add(self, key: bytes, provider: Contact, now: int) -> Refusal | None:
        peer = provider.peer_id
        providers = self._held.get(key, {})
        if peer not in providers:
            if len(providers) >= self._limits.max_per_key or self._counts.get(peer, 0) >= self._limits.max_per_provider:
                return Refusal(RefusalReason.FULL, "no room for more providers of this key, or keys of this provider")
            if not self._make_room(key):
                return Refusal(RefusalReason.FULL, "no room, and all that is held is closer to this node")
        self._hold(key, _Provided(provider, now))
        try:
            self._table.put(_table_key(key, peer), _encode(key, provider, now))
        except PeerstackError:
            return Refusal(RefusalReason.FAILED, "the store failed")
        return None

    def _make_room(self, key: bytes) -> bool:
        admitted, evicted = self._nearest.add(key)
        if evicted is not None:
            for other in list(self._held[evicted]):
                self._drop(evicted, other)
        return admitted

    def _hold(self, key: bytes, provided: _Provided) -> None:
        providers = self._held.setdefault(key, {})
        peer = provided.contact.peer_id
        if peer not in providers:
            self._counts[peer] = self._counts.get(peer, 0) + 1
        providers[peer] = provided

    def _drop(self, key: bytes, peer: PeerId) -> None:
        providers = self._held[key]
        del providers[peer]
        if not providers:
            del self._held[key]
            self._nearest.discard(key)
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]
        self._table.delete(_table_key(key, peer))

    def _load(self, now: int) -> None:
        reader = ContactReader()
        for table_key, data in self._table.items():
            read = _decode(data, reader)
            if read is not None:
                key, provided = read
                if _age(provided, now) < _MAX_AGE_US and self._make_room(key):
                    self._hold(key, provided)
                    continue
            self._table.delete(table_key)


def _age(provided: _Provided, now: int) -> int:
    return max(0, now - provided.received_us)  # a wall clock that was set back makes nothing end


def _table_key(key: bytes, peer: PeerId) -> bytes:
    return bytes((len(key),)) + key + peer.to_bytes()


def _encode(key: bytes, provider: Contact, received_us: int) -> bytes:
    from peerstack_kad.pb.kad_pb2 import Message

    message = Message(type=Message.ADD_PROVIDER, key=key).SerializeToString() + encode_peers(PROVIDER, (provider,))
    return received_us.to_bytes(_TIME_BYTES, "big") + message


def _decode(data: bytes, reader: ContactReader) -> tuple[bytes, _Provided] | None:
    try:
        message = parse_message(data[_TIME_BYTES:])
    except InvalidMessage:
        return None
    contacts = reader.read_all(message.providerPeers, 1)
    return (message.key, _Provided(contacts[0], int.from_bytes(data[:_TIME_BYTES], "big"))) if contacts else None
