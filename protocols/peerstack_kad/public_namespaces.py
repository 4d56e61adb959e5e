"""The namespaces of the public DHT: ``pk``, public keys by their peer id, and ``ipns``, signed and versioned pointers.

Sources: https://github.com/libp2p/specs/tree/master/kad-dht#validators (``pk``),
https://specs.ipfs.tech/ipns/ipns-record/#record-verification (``ipns``)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from peerstack.errors import InvalidKey, InvalidPeerId, InvalidRecord
from peerstack.identity import PeerId, PublicKey
from peerstack_kad.dag_cbor import Value, decode

if TYPE_CHECKING:
    from peerstack_kad.pb.ipns_pb2 import IpnsEntry

__all__ = ["IpnsNamespace", "IpnsRecord", "PublicKeyNamespace", "read_ipns"]

_MAX_IPNS_BYTES: Final = 10 << 10
_SIGNED_PREFIX: Final = b"ipns-signature:"
_IDENTITY: Final = 0
_UNTIL: Final = 0
_MAX_UINT64: Final = (1 << 64) - 1
_RFC3339: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PublicKeyNamespace:
    """``/pk/<peer id>`` has the serialized public key that the peer id is made of."""

    name = "pk"

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        """See `peerstack_kad.raw_values.RawNamespace.validate`."""
        try:
            public_key = PublicKey.from_protobuf(value)
        except InvalidKey as error:
            raise InvalidRecord(f"no public key: {error}") from error
        if public_key.peer_id() != _name_in(key, self.name) or public_key.to_protobuf() != value:
            raise InvalidRecord("a public key is stored under its own peer id, in its canonical form")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """See `peerstack_kad.raw_values.RawNamespace.select`: all valid values of a key are equal."""
        return 0


@dataclass(frozen=True, slots=True)
class IpnsRecord:
    """What an IPNS record signs."""

    value: bytes
    """A content path."""
    sequence: int
    valid_until_ns: int
    """Nanoseconds since 1970."""
    ttl_ns: int


class IpnsNamespace:
    """``/ipns/<peer id>`` has a record signed by the key of that peer id; the highest sequence wins, then the latest validity."""

    name = "ipns"

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        """See `peerstack_kad.raw_values.RawNamespace.validate`."""
        name = _name_in(key, self.name)
        entry = _parse(value)
        public_key = _public_key(entry, name)
        record = _signed(entry)
        if not public_key.verify(_SIGNED_PREFIX + entry.data, entry.signatureV2):
            raise InvalidRecord("the signature is not that of the name's key")
        if (entry.signatureV1 or entry.value) and _copies(entry) != record:
            raise InvalidRecord("the fields of version 1 differ from those that are signed")
        if record.valid_until_ns < now * 1000:
            raise InvalidRecord("the record is not valid any more")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """See `peerstack_kad.raw_values.RawNamespace.select`; of records that are equal in both the one with the greater bytes."""
        records = [read_ipns(value) for value in values]
        return max(range(len(values)), key=lambda index: (records[index].sequence, records[index].valid_until_ns, values[index]))


def read_ipns(value: bytes) -> IpnsRecord:
    """What a record signs; the signature is not looked at.

    Raises:
        InvalidRecord: It is none of version 2.
    """
    return _signed(_parse(value))


def _name_in(key: bytes, namespace: str) -> PeerId:
    prefix = f"/{namespace}/".encode()
    try:
        return PeerId(key.removeprefix(prefix) if key.startswith(prefix) else b"")
    except InvalidPeerId as error:
        raise InvalidRecord(f"a key of {namespace} is /{namespace}/ and a peer id's bytes") from error


def _parse(value: bytes) -> IpnsEntry:
    from google.protobuf.message import DecodeError

    from peerstack_kad.pb.ipns_pb2 import IpnsEntry

    if len(value) > _MAX_IPNS_BYTES:
        raise InvalidRecord(f"an IPNS record has at most {_MAX_IPNS_BYTES} bytes, this one {len(value)}")
    try:
        entry = IpnsEntry.FromString(value)
    except DecodeError as error:
        raise InvalidRecord("these bytes are no IPNS record") from error
    if not entry.signatureV2 or not entry.data:
        raise InvalidRecord("an IPNS record has a signature of version 2 and data")
    return entry


def _public_key(entry: IpnsEntry, name: PeerId) -> PublicKey:
    raw = name.to_bytes()
    if not entry.pubKey and raw[0] != _IDENTITY:
        raise InvalidRecord("the name is the hash of a key, and the key is not there")
    try:
        public_key = PublicKey.from_protobuf(entry.pubKey or raw[2:])
    except InvalidKey as error:
        raise InvalidRecord(f"no public key: {error}") from error
    if public_key.peer_id() != name:
        raise InvalidRecord("the key is not the name's")
    return public_key


def _signed(entry: IpnsEntry) -> IpnsRecord:
    try:
        data = decode(entry.data)
    except ValueError as error:
        raise InvalidRecord(f"the data is not DAG-CBOR: {error}") from error
    if not isinstance(data, dict):
        raise InvalidRecord("the data is no map")
    value, validity = data.get("Value"), data.get("Validity")
    if not isinstance(value, bytes) or not isinstance(validity, bytes):
        raise InvalidRecord("Value and Validity are bytes")
    if _uint64(data, "ValidityType") != _UNTIL:
        raise InvalidRecord("the only validity there is is a time")
    return IpnsRecord(value, _uint64(data, "Sequence"), _nanoseconds(validity), _uint64(data, "TTL"))


def _uint64(data: dict[str, Value], name: str) -> int:
    number = data.get(name)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_UINT64:
        raise InvalidRecord(f"{name} is a number of 64 bits")
    return number


def _copies(entry: IpnsEntry) -> IpnsRecord | None:
    if entry.validityType != _UNTIL:
        return None
    return IpnsRecord(entry.value, entry.sequence, _nanoseconds(entry.validity), entry.ttl)


def _nanoseconds(text: bytes) -> int:
    """A time as RFC 3339 has it, in nanoseconds since 1970: `datetime` has microseconds only."""
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        whole, fraction, zone = match.groups()
        at = datetime.fromisoformat((whole + zone.replace(b"Z", b"+00:00")).decode())
    except ValueError as error:
        raise InvalidRecord("Validity is a time as in RFC 3339") from error
    return (at - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))
