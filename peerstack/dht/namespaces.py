"""Namespaces decide who may write a key, which of two records wins, and what is remembered of the dead.

An application brings its own by making an object with the shape of `Namespace` (usually a subclass of `LatestVersion`) known to every
server of its network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

from peerstack.dht.order import merge
from peerstack.dht.records import Record, is_namespace_name
from peerstack.errors import ConfigError, InvalidPeerId, InvalidRecord
from peerstack.identity import PeerId

__all__ = [
    "ContentHash",
    "LatestVersion",
    "Namespace",
    "Namespaces",
    "OwnKeys",
    "own_key",
    "own_key_owner",
    "parse_own_key",
    "show_own_key",
]


class Namespace(Protocol):
    """The rules of one namespace. All of them are pure, and equal on every node."""

    @property
    def name(self) -> str:
        """Its name, part of the wire key."""

    @property
    def deletable(self) -> bool:
        """Whether a record may delete another."""

    def validate(self, record: Record, now: int) -> None:
        """Check what the format and the network's rules leave open.

        Args:
            record: Well-formed and signed; its value may be absent.
            now: The checking node's wall clock, microseconds.

        Raises:
            InvalidRecord: The record may not stand in this namespace.
        """

    def merge(self, a: Record, b: Record) -> Record:
        """Keep one of two records of one slot. It must be commutative, associative and idempotent."""

    def satisfies(self, held: Record, record: Record) -> bool:
        """Whether who puts `record` has what it wants where the greater `held` is held already."""

    def forget_at(self, record: Record) -> int:
        """When nothing of a record has to be kept any more, microseconds."""


class LatestVersion:
    """The usual rules: the latest version wins, deletes and the dead are remembered. As ``kv``: anyone may overwrite anything."""

    deletable = True

    def __init__(self, name: str) -> None:
        self.name = name

    def validate(self, record: Record, now: int) -> None:
        """Everybody may write everything."""

    def merge(self, a: Record, b: Record) -> Record:
        """Keep the later version."""
        return merge(a, b)

    def satisfies(self, held: Record, record: Record) -> bool:
        """Another value was written: no."""
        return False

    def forget_at(self, record: Record) -> int:
        """When the writer said."""
        return record.remember_until


class OwnKeys(LatestVersion):
    """``own``: only the peer whose id's multihash the key starts with may write it. The one to choose for data that matters."""

    def __init__(self, name: str = "own") -> None:
        super().__init__(name)

    def validate(self, record: Record, now: int) -> None:
        """The writer's key must derive the peer id that the key starts with."""
        # A multihash says its own length, so no peer id is a prefix of another one.
        if not record.key.startswith(record.writer.peer_id().to_bytes()):
            raise InvalidRecord(f"in {self.name!r} a key starts with its writer's peer id, here {record.writer.peer_id()}")


class ContentHash:
    """``hash``: a key is the SHA-256 of its value. Anyone may write; the latest expiry wins; there is no delete.

    A header alone proves nothing here (anyone can sign one for a value nobody has), so it is refused; and as any copy that comes back is
    the same value, nothing is remembered after expiry.
    """

    deletable = False

    def __init__(self, name: str = "hash") -> None:
        self.name = name

    def validate(self, record: Record, now: int) -> None:
        """Key, digest and value must belong together."""
        if record.subkey:
            raise InvalidRecord(f"a key of {self.name!r} has no subkeys")
        if record.value is None:
            raise InvalidRecord(f"a record of {self.name!r} comes with its value")
        if record.key != record.value_digest or hashlib.sha256(record.value).digest() != record.key:
            raise InvalidRecord(f"a key of {self.name!r} is the SHA-256 of its value")

    def merge(self, a: Record, b: Record) -> Record:
        """Keep the later expiry."""
        return a if a.expires_at > b.expires_at else b if b.expires_at > a.expires_at else merge(a, b)

    def satisfies(self, held: Record, record: Record) -> bool:
        """It is the same value and lives at least as long: yes."""
        return True

    def forget_at(self, record: Record) -> int:
        """When it expires."""
        return record.expires_at


class Namespaces:
    """The namespaces one DHT serves: ``kv``, ``own``, ``hash``, and the application's own.

    Raises:
        ConfigError: A name is taken or no name.
    """

    def __init__(self, own: Iterable[Namespace] = ()) -> None:
        self._by_name: dict[str, Namespace] = {}
        served: list[Namespace] = [LatestVersion("kv"), OwnKeys(), ContentHash(), *own]
        for namespace in served:
            if not is_namespace_name(namespace.name):
                raise ConfigError(f"{namespace.name!r} is no namespace name: 1 to 32 of a-z 0-9 . _ -, starting with a letter or digit")
            if namespace.name in self._by_name:
                raise ConfigError(f"namespace {namespace.name!r} is defined twice")
            self._by_name[namespace.name] = namespace

    @property
    def names(self) -> tuple[str, ...]:
        """Names served, the built-in ones first."""
        return tuple(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Namespace:
        """A namespace by name.

        Raises:
            InvalidRecord: It is not served here.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise InvalidRecord(f"namespace {name!r} is not served here (there are {', '.join(self._by_name)})") from None


def own_key(peer: PeerId, rest: bytes) -> bytes:
    """The key of ``own`` that `peer` alone may write."""
    return peer.to_bytes() + rest


def own_key_owner(key: bytes) -> PeerId:
    """Who may write a key of ``own``.

    Raises:
        InvalidRecord: It does not start with a peer id.
    """
    try:
        return PeerId(key[: 2 + key[1]] if len(key) > 1 else key)
    except InvalidPeerId as error:
        raise InvalidRecord("a key of 'own' starts with a peer id's multihash") from error


def parse_own_key(text: str) -> bytes:
    """Read the text form ``<peer id>/<rest>``, the rest as UTF-8.

    Raises:
        InvalidRecord: It does not start with a peer id and a slash.
    """
    name, slash, rest = text.partition("/")
    try:
        peer = PeerId.parse(name)
    except InvalidPeerId as error:
        raise InvalidRecord(f"a key of 'own' is written <peer id>/<rest>: {error}") from error
    if not slash:
        raise InvalidRecord("a key of 'own' is written <peer id>/<rest>: the slash is missing")
    return own_key(peer, rest.encode())


def show_own_key(key: bytes) -> str:
    """The text form of a key of ``own``; bytes that are no UTF-8 are shown escaped.

    Raises:
        InvalidRecord: It does not start with a peer id.
    """
    owner = own_key_owner(key)
    return f"{owner}/{key[len(owner.to_bytes()) :].decode(errors='backslashreplace')}"
