"""The record: one signed header and a value, the same bytes in every DHT.

The signature covers a prefix and the header's bytes *as sent*: a header is parsed and never encoded again. Times are integer microseconds
since the Unix epoch. The format is specified in ``docs/protocols/records.md``.
Protobuf is loaded with the first record, not with this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from peerstack.errors import InvalidKey, InvalidRecord
from peerstack.identity import PublicKey

if TYPE_CHECKING:
    from peerstack.dht.pb import record_pb2

__all__ = [
    "FORMAT",
    "MAX_HEADER_BYTES",
    "MAX_KEY_BYTES",
    "MAX_NAMESPACE_BYTES",
    "MAX_RECORD_BYTES",
    "MAX_SIGNATURE_BYTES",
    "MAX_SUBKEY_BYTES",
    "MAX_VALUE_BYTES",
    "SIGNATURE_PREFIX",
    "Draft",
    "Record",
    "Signer",
    "Slot",
    "Verifier",
    "Version",
    "is_namespace_name",
    "position",
    "verify_signature",
    "wire_key",
]

FORMAT: Final = 1
SIGNATURE_PREFIX: Final = b"peerstack-dht-record:"
"""Precedes the header in what is signed, so that no other signature of the same key can pass for a record's."""

MAX_NAMESPACE_BYTES: Final = 32
MAX_KEY_BYTES: Final = 128
MAX_SUBKEY_BYTES: Final = 128
MAX_VALUE_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 2048
MAX_SIGNATURE_BYTES: Final = 1024
MAX_RECORD_BYTES: Final = MAX_HEADER_BYTES + MAX_SIGNATURE_BYTES + MAX_VALUE_BYTES + 64

_MAX_TIME: Final = (1 << 63) - 1
_NAMESPACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_EMPTY_DIGEST: Final = hashlib.sha256(b"").digest()


class Version(NamedTuple):
    """When and by whom a record was written: what supersedes what."""

    time: int
    """Hybrid logical clock of the writer, microseconds."""
    writer: bytes
    """SHA-256 of the writer's serialized public key."""


class Slot(NamedTuple):
    """What records compete for: at most one record of a slot is kept."""

    namespace: str
    key: bytes
    subkey: bytes = b""

    @property
    def position(self) -> bytes:
        """Where its key lies in the key space (32 bytes)."""
        return position(self.namespace, self.key)


class Signer(Protocol):
    """Whoever can sign records: a `peerstack.identity.PrivateKey`, or a plugin's context."""

    @property
    def public_key(self) -> PublicKey:
        """The key its signatures are checked with."""

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""


Verifier = Callable[[PublicKey, bytes, bytes], bool]
"""``(writer, message, signature)`` -> whether the signature is the writer's. It must not raise."""


def verify_signature(writer: PublicKey, message: bytes, signature: bytes) -> bool:
    """The verifier of real life: ask the key."""
    return writer.verify(message, signature)


def is_namespace_name(name: str) -> bool:
    """Whether `name` may name a namespace: 1 to 32 of ``a-z 0-9 . _ -``, starting with a letter or digit."""
    return len(name) <= MAX_NAMESPACE_BYTES and _NAMESPACE.fullmatch(name) is not None


def wire_key(namespace: str, key: bytes) -> bytes:
    """The key as DHTs route it: ``/<namespace>/`` and the raw key."""
    return b"/" + namespace.encode("ascii") + b"/" + key


def position(namespace: str, key: bytes) -> bytes:
    """Where a key lies in the key space: SHA-256 of its wire key, 32 bytes."""
    return hashlib.sha256(wire_key(namespace, key)).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What a writer is about to sign; `peerstack.dht.writing` makes them."""

    slot: Slot
    value: bytes
    version_time: int
    expires_at: int
    remember_until: int
    renewable: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """One signed header, with its value or without.

    Made by `Record.sign` and `Record.decode` only, so that a record in memory is well-formed and its signature was checked. Two records are
    equal when their headers, signatures and values are.
    """

    header: bytes
    """The header as signed."""
    signature: bytes
    value: bytes | None
    """None where only the header is known or remembered; always None for a delete."""

    namespace: str
    key: bytes
    subkey: bytes
    version: Version
    renewable: bool
    """Whether the writer's node extends `expires_at` while it runs."""
    expires_at: int
    """The value is dead from then on; 0 is a delete."""
    remember_until: int
    """The header is kept until then."""
    value_digest: bytes
    value_size: int
    writer: PublicKey
    digest: bytes
    """SHA-256 of the header: the record's identity."""
    position: bytes
    """Where its key lies in the key space (32 bytes)."""

    @classmethod
    def sign(cls, draft: Draft, signer: Signer) -> Record:
        """Make a record of `draft`.

        Raises:
            InvalidRecord: The draft breaks the format's rules (sizes, times, the shape of a delete).
        """
        from peerstack.dht.pb import record_pb2

        header = record_pb2.Header(
            format=FORMAT,
            namespace=draft.slot.namespace,
            key=draft.slot.key,
            subkey=draft.slot.subkey,
            version_time=_checked_time(draft.version_time),
            renewable=draft.renewable,
            expires_at=_checked_time(draft.expires_at),
            remember_until=_checked_time(draft.remember_until),
            value_digest=hashlib.sha256(draft.value).digest(),
            value_size=len(draft.value),
            writer=signer.public_key.to_protobuf(),
        )
        encoded = header.SerializeToString(deterministic=True)
        record = _parse(encoded, signature=b"", value=draft.value)
        return replace(record, signature=signer.sign(SIGNATURE_PREFIX + encoded))

    @classmethod
    def decode(cls, data: bytes, verifier: Verifier = verify_signature) -> Record:
        """Read a record and check everything that needs no clock: form, sizes, value digest, signature.

        Args:
            data: The bytes of `encode`.
            verifier: Checks the signature.

        Raises:
            InvalidRecord: Something of it is wrong; the message says what.
        """
        if len(data) > MAX_RECORD_BYTES:
            raise InvalidRecord(f"a record of {len(data)} bytes is over the limit of {MAX_RECORD_BYTES}")
        from peerstack.dht.pb import record_pb2

        outer = record_pb2.Record()
        try:
            outer.ParseFromString(data)
        except _decode_error() as error:
            raise InvalidRecord("these bytes are no record message") from error
        if not 0 < len(outer.signature) <= MAX_SIGNATURE_BYTES:
            raise InvalidRecord(f"a signature has 1 to {MAX_SIGNATURE_BYTES} bytes, not {len(outer.signature)}")
        record = _parse(outer.header, signature=outer.signature, value=outer.value if outer.HasField("value") else None)
        if not verifier(record.writer, SIGNATURE_PREFIX + record.header, record.signature):
            raise InvalidRecord("the signature is not the writer's")
        return record

    def encode(self) -> bytes:
        """The record's bytes, for the wire and for disk."""
        from peerstack.dht.pb import record_pb2

        return record_pb2.Record(header=self.header, signature=self.signature, value=self.value).SerializeToString(deterministic=True)

    @property
    def size(self) -> int:
        """Bytes it counts for in every limit: header, signature and value."""
        return len(self.header) + len(self.signature) + (0 if self.value is None else len(self.value))

    @property
    def slot(self) -> Slot:
        """What it competes for."""
        return Slot(self.namespace, self.key, self.subkey)

    @property
    def wire_key(self) -> bytes:
        """The key as DHTs route it."""
        return wire_key(self.namespace, self.key)

    @property
    def is_delete(self) -> bool:
        """Whether it was written to delete."""
        return self.expires_at == 0

    def is_dead(self, now: int) -> bool:
        """Whether it has expired on a clock that shows `now` (microseconds)."""
        return self.expires_at <= now

    def without_value(self) -> Record:
        """The header alone, as it is remembered and passed on after expiry."""
        return self if self.value is None else replace(self, value=None)

    def with_value(self, value: bytes) -> Record:
        """The same record with its value.

        Raises:
            InvalidRecord: It is not the value that was signed.
        """
        _check_value(value, self.value_digest, self.value_size)
        return replace(self, value=value)

    def __repr__(self) -> str:
        what = "header" if self.value is None else f"{self.value_size} bytes"
        return f"<Record {self.wire_key!r} subkey={self.subkey!r} version={self.version.time} expires_at={self.expires_at} {what}>"


def _checked_time(time: int) -> int:
    if not 0 <= time <= _MAX_TIME:
        raise InvalidRecord(f"{time} is no time in microseconds since 1970")
    return time


def _parse(data: bytes, *, signature: bytes, value: bytes | None) -> Record:
    header = _parse_header(data)
    _check_header(header)
    if value is not None:
        _check_value(value, header.value_digest, header.value_size)
    try:
        writer = PublicKey.from_protobuf(header.writer)
    except InvalidKey as error:
        raise InvalidRecord(f"the writer's key is invalid: {error}") from error
    if writer.to_protobuf() != header.writer:
        raise InvalidRecord("the writer's key is not in its canonical form")
    return Record(
        header=data,
        signature=signature,
        value=value if header.expires_at else None,
        namespace=header.namespace,
        key=header.key,
        subkey=header.subkey,
        version=Version(header.version_time, hashlib.sha256(header.writer).digest()),
        renewable=header.renewable,
        expires_at=header.expires_at,
        remember_until=header.remember_until,
        value_digest=header.value_digest,
        value_size=header.value_size,
        writer=writer,
        digest=hashlib.sha256(data).digest(),
        position=position(header.namespace, header.key),
    )


def _parse_header(data: bytes) -> record_pb2.Header:
    if len(data) > MAX_HEADER_BYTES:
        raise InvalidRecord(f"a header of {len(data)} bytes is over the limit of {MAX_HEADER_BYTES}")
    from peerstack.dht.pb import record_pb2

    header = record_pb2.Header()
    try:
        header.ParseFromString(data)
    except _decode_error() as error:
        raise InvalidRecord("the header is no header message") from error
    if header.format != FORMAT:
        raise InvalidRecord(f"record format {header.format} is unknown (this version reads format {FORMAT})")
    # One header, one byte string: what would let equal fields have two digests (order, repeats, long varints, unknown fields) is refused.
    header.DiscardUnknownFields()
    if header.SerializeToString(deterministic=True) != data:
        raise InvalidRecord("the header is not in canonical form")
    return header


def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError  # looked for where bytes are bad, and not with each record

    return DecodeError


def _check_header(header: record_pb2.Header) -> None:
    if not is_namespace_name(header.namespace):
        raise InvalidRecord(f"{header.namespace!r} is no namespace name")
    for name, content, limit in (("key", header.key, MAX_KEY_BYTES), ("subkey", header.subkey, MAX_SUBKEY_BYTES)):
        if len(content) > limit:
            raise InvalidRecord(f"a {name} of {len(content)} bytes is over the limit of {limit}")
    if header.value_size > MAX_VALUE_BYTES:
        raise InvalidRecord(f"a value of {header.value_size} bytes is over the limit of {MAX_VALUE_BYTES}")
    if len(header.value_digest) != len(_EMPTY_DIGEST):
        raise InvalidRecord("the value's digest is not 32 bytes")
    if max(header.version_time, header.expires_at, header.remember_until) > _MAX_TIME or header.version_time == 0:
        raise InvalidRecord("a time is out of range")
    if header.remember_until < max(header.version_time, header.expires_at):
        raise InvalidRecord("it would be forgotten before it expires")
    if header.expires_at == 0 and (header.renewable or header.value_size or header.value_digest != _EMPTY_DIGEST):
        raise InvalidRecord("a delete has no value and is never renewed")


def _check_value(value: bytes, digest: bytes, size: int) -> None:
    if len(value) != size or hashlib.sha256(value).digest() != digest:
        raise InvalidRecord("the value is not the one the header was signed for")
