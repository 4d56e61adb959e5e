"""Values of foreign namespaces: who judges them, and what a server keeps of them.

A raw value has no version: its namespace says whether it is valid, and which of several is the best. A server asks it *before* it
overwrites what it has, so that nobody can roll a key back.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#entry-validation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.store.storage import MemorySideTable, SideTable
from peerstack.errors import InvalidRecord, PeerstackError, ValueTooLarge
from peerstack_kad.nearest import NearestKeys

__all__ = ["MAX_RAW_BYTES", "RawNamespace", "RawNamespaces", "RawValues", "namespace_of"]

MAX_RAW_BYTES: Final = 64 << 10
"""Longest raw value; rust's default takes messages of up to 16 KiB."""

_MAX_AGE_US: Final = 48 * 3600 * 1_000_000  # as go has it
_TIME_BYTES: Final = 8

Stored = Callable[[Refusal | None], None]


class RawNamespace(Protocol):
    """Judges the values of one namespace. Both methods are pure and depend on nothing but their arguments."""

    @property
    def name(self) -> str:
        """What keys begin with: ``/<name>/``."""

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        """Check a value before it is stored and after it was read.

        Args:
            key: The whole key, ``/<name>/...``.
            value: The value.
            now: Microseconds since 1970.

        Raises:
            InvalidRecord: It is no value of that key, or no longer.
        """

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the best of several valid values, whatever their order."""


def namespace_of(key: bytes) -> str:
    """The namespace of ``/<namespace>/...``.

    Raises:
        InvalidRecord: It is no such key.
    """
    parts = key.split(b"/", 2)
    if len(parts) != 3 or parts[0] or not parts[1].isascii() or not parts[1] or not parts[2]:
        raise InvalidRecord("the key of a raw value is /<namespace>/ and the rest")
    return parts[1].decode("ascii")


class RawNamespaces:
    """Those that a node knows; values of others are refused."""

    def __init__(self, namespaces: Iterable[RawNamespace]) -> None:
        self._by_name = {namespace.name: namespace for namespace in namespaces}

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        """Check a value.

        Raises:
            InvalidRecord: It is not valid, or nobody here can say.
            ValueTooLarge: It is over the limit.
        """
        namespace = self.of(key)
        if len(value) > MAX_RAW_BYTES:
            raise ValueTooLarge(f"a raw value has at most {MAX_RAW_BYTES} bytes, this one {len(value)}")
        namespace.validate(key, value, now)

    def best(self, key: bytes, values: Sequence[bytes]) -> bytes:
        """The best of several valid values."""
        return values[self.of(key).select(key, values)]

    def of(self, key: bytes) -> RawNamespace:
        """The namespace of a key.

        Raises:
            InvalidRecord: It is not known here.
        """
        name = namespace_of(key)
        if name not in self._by_name:
            raise InvalidRecord(f"there is no validator for namespace {name!r}: give one to Kademlia(raw_namespaces=...)")
        return self._by_name[name]


@dataclass(slots=True)
class _Held:
    value: bytes
    received_us: int


class RawValues:
    """What one server holds. When not everything fits, the keys closest to the node stay.

    Args:
        own: The node's position.
        namespaces: Whose values.
        table: Where to keep them; None is memory alone.
        max_keys: How many.
        now: Microseconds since 1970, to see what of the table is still valid.
    """

    def __init__(self, own: int, namespaces: RawNamespaces, table: SideTable | None = None, *, max_keys: int = 1024, now: int = 0) -> None:
        self._namespaces = namespaces
        self._table = MemorySideTable() if table is None else table
        self._nearest = NearestKeys(own, max_keys)
        self._held: dict[bytes, _Held] = {}
        for key, data in self._table.items():
            self._load(key, _Held(data[_TIME_BYTES:], int.from_bytes(data[:_TIME_BYTES], "big")), now)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes, now: int) -> tuple[bytes, int] | None:
        """The value of a key and when it was received, if it is still valid."""
        held = self._held.get(key)
        if held is None:
            return None
        if not self._is_valid(key, held, now):
            self._drop(key)
            return None
        return held.value, held.received_us

    def put(self, key: bytes, value: bytes, now: int, done: Stored) -> None:
        """Store a value unless what is held is better; `done` is told once it is committed, or why it is not."""
        try:
            self._namespaces.validate(key, value, now)
            held = self.get(key, now)
            if held is not None and self._namespaces.best(key, (held[0], value)) != value:
                done(Refusal(RefusalReason.SUPERSEDED, "what is stored is better"))
                return
        except (InvalidRecord, ValueTooLarge) as error:
            done(Refusal(RefusalReason.INVALID, str(error)))
            return
        admitted, evicted = self._nearest.add(key)
        if not admitted:
            done(Refusal(RefusalReason.FULL, "no room, and all that is held is closer to this node"))
            return
        if evicted is not None:
            self._drop(evicted)
        self._held[key] = _Held(value, now)
        data = now.to_bytes(_TIME_BYTES, "big") + value
        self._commit(key, data, done)

    def sweep(self, now: int) -> None:
        """Drop what is too old or not valid any more."""
        for key, held in list(self._held.items()):
            if not self._is_valid(key, held, now):
                self._drop(key)

    def _commit(self, key: bytes, data: bytes, done: Stored) -> None:
        failed = Refusal(RefusalReason.FAILED, "the store failed")
        try:
            self._table.put(key, data, done=lambda committed: done(None if committed else failed))
        except PeerstackError:
            done(failed)

    def _load(self, key: bytes, held: _Held, now: int) -> None:
        if self._is_valid(key, held, now):
            admitted, evicted = self._nearest.add(key)
            if evicted is not None:
                self._drop(evicted)
            if admitted:
                self._held[key] = held
                return
        self._table.delete(key)

    def _is_valid(self, key: bytes, held: _Held, now: int) -> bool:
        if now - held.received_us >= _MAX_AGE_US:
            return False
        try:
            self._namespaces.validate(key, held.value, now)
        except (InvalidRecord, ValueTooLarge):
            return False
        return True

    def _drop(self, key: bytes) -> None:
        del self._held[key]
        self._nearest.discard(key)
        self._table.delete(key)
