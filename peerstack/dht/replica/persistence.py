"""What one node remembers over a restart beside its records: its clock, the records it renews, the servers it knew.

All of it stands in one side table of the node's storage, and shares its commits with the records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.peers import ContactReader, encode_peers
from peerstack.dht.store.storage import MemorySideTable, SideTable, ignore
from peerstack.errors import InvalidRecord, StoreError
from peerstack.wire import varint

__all__ = ["NodeState", "OwnRecord", "Remembered"]

_COUNTED: Final = varint.encode(1 << 3 | 2)
"""The tag of an entry of ``Servers.counted``."""
_OTHERS: Final = varint.encode(3 << 3 | 2)
"""The tag of an entry of ``Servers.others``."""

_CLOCK: Final = b"clock"
_INCARNATION: Final = b"incarnation"
_SERVERS: Final = b"servers"
_OWN: Final = b"own/"
_TIME_BYTES: Final = 8
_MAX_SERVERS: Final = 2048  # more than are ever counted
_MAX_SILENT_MS: Final = (1 << 32) - 1


@dataclass(slots=True)
class OwnRecord:
    """A record this node renews."""

    record: Record
    acknowledged_expiry: int
    """The latest expiry of this version that a majority acknowledged, microseconds."""
    try_at: int = 0
    """Not before, after an attempt that failed."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A server of an earlier run."""

    contact: Contact
    heard_at_us: int | None = None
    """When it was last heard of, on the wall clock, if it was counted as responsible near this node."""


class NodeState:
    """The node's side table.

    Args:
        table: Where to; None remembers nothing over a restart.
    """

    def __init__(self, table: SideTable | None = None) -> None:
        self._table = MemorySideTable() if table is None else table

    def clock(self) -> int:
        """The greatest version time given by any run, microseconds.

        Raises:
            StoreError: It cannot be read.
        """
        return int.from_bytes(self._table.get(_CLOCK) or b"", "big")

    def save_clock(self, time: int, done: Callable[[bool], None]) -> None:
        """Keep a version time; `done` is called with whether it is committed."""
        self._table.put(_CLOCK, time.to_bytes(_TIME_BYTES, "big"), done=done)

    def incarnation(self) -> int:
        """The highest life of any run, where the DHT counts lives.

        Raises:
            StoreError: It cannot be read.
        """
        return int.from_bytes(self._table.get(_INCARNATION) or b"", "big")

    def save_incarnation(self, incarnation: int) -> None:
        """Keep the life that is lived."""
        self._table.put(_INCARNATION, incarnation.to_bytes(_TIME_BYTES, "big"))

    def own_records(self) -> list[OwnRecord]:
        """What earlier runs renewed.

        Raises:
            StoreError: It cannot be read, or is not what was written.
        """
        found = []
        for name, data in self._table.items():
            if name.startswith(_OWN):
                try:
                    record = Record.decode(data[_TIME_BYTES:])
                except InvalidRecord as error:
                    raise StoreError(f"a record to renew is damaged: {error}") from error
                found.append(OwnRecord(record, int.from_bytes(data[:_TIME_BYTES], "big")))
        return found

    def save_own(self, slot: Slot, own: OwnRecord | None, done: Callable[[bool], None] = ignore) -> None:
        """Keep a record to renew; None keeps nothing for its slot."""
        name = _OWN + slot.position + slot.subkey
        if own is None:
            self._table.delete(name, done=done)
        else:
            self._table.put(name, own.acknowledged_expiry.to_bytes(_TIME_BYTES, "big") + own.record.encode(), done=done)

    def servers(self) -> list[Remembered]:
        """The servers an earlier run knew, those it counted first.

        Raises:
            StoreError: They cannot be read, or are not what was written.
        """
        data = self._table.get(_SERVERS)
        if not data:
            return []
        from google.protobuf.message import DecodeError

        from peerstack.dht.pb.peers_pb2 import Servers

        snapshot = Servers()
        try:
            snapshot.ParseFromString(data[_TIME_BYTES:])
        except DecodeError as error:
            raise StoreError("the snapshot of the routing table is damaged") from error
        saved_at = int.from_bytes(data[:_TIME_BYTES], "big")
        reader = ContactReader()
        counted = reader.read_all(snapshot.counted, _MAX_SERVERS)
        remembered = [
            Remembered(contact, saved_at - silent_ms * 1000) for contact, silent_ms in zip(counted, snapshot.silentMs, strict=False)
        ]
        return remembered + [Remembered(contact) for contact in reader.read_all(snapshot.others, _MAX_SERVERS)]

    def save_servers(
        self, counted: Sequence[tuple[Contact, float]], others: Sequence[Contact], wall_us: int, done: Callable[[bool], None] = ignore
    ) -> None:
        """Keep the servers known.

        Args:
            counted: Those counted as responsible, each with the seconds since it was heard of.
            others: Those in the routing table beside them, and those it evicted, the most useful first.
            wall_us: The wall clock.
            done: Called with whether it is committed.
        """
        from peerstack.dht.pb.peers_pb2 import Servers

        kept = counted[:_MAX_SERVERS]
        silent = [min(_MAX_SILENT_MS, max(0, round(seconds * 1000))) for _, seconds in kept]
        peers = encode_peers(_COUNTED, [contact for contact, _ in kept]) + encode_peers(_OTHERS, others[: _MAX_SERVERS - len(kept)])
        snapshot = wall_us.to_bytes(_TIME_BYTES, "big") + Servers(silentMs=silent).SerializeToString() + peers
        self._table.put(_SERVERS, snapshot, done=done)
