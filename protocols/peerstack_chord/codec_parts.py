"""The parts that the ring's messages are made of: members, states, maps. See `codec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.peers import ContactReader, encode_peer
from peerstack.errors import InvalidMessage
from peerstack.rpc.data_messages import Fields
from peerstack_chord.member_map import MAP_ENTRIES_PER_PLACE
from peerstack_chord.messages import Entry, Status, Verdict
from peerstack_chord.place import MAX_INCARNATION
from peerstack_chord.ring import Member, Mode, State

if TYPE_CHECKING:
    from peerstack_chord.pb import chord_pb2

__all__ = [
    "MAX_ENTRIES",
    "MAX_ERA",
    "MAX_MEMBER_BYTES",
    "MAX_R",
    "MemberReader",
    "read_map_digest",
    "read_mode",
    "read_verdict",
    "write_entries",
    "write_member",
    "write_state",
]

MAX_MEMBER_BYTES: Final = 1024
"""Of a member as a peer: who has more addresses names as many as fit."""
MAX_ENTRIES: Final = 512
"""Entries of a map."""
MAX_R: Final = MAX_ENTRIES // MAP_ENTRIES_PER_PLACE - 2
"""Entries of a successor list: the map of a ring of r + 2 members has to fit into one message."""
_DIGEST_BYTES: Final = 32
MAX_ERA: Final = 1 << 62
"""No ring is small that often: higher ones are not believed."""


def write_member(member: Member) -> Fields:
    """A member."""
    return {"peer": encode_peer(member.contact, MAX_MEMBER_BYTES), "incarnation": member.incarnation}


def write_state(state: State) -> Fields:
    """Where a member stands."""
    return {
        "member": write_member(state.member),
        "mode": int(state.mode),
        "era": state.era,
        "predecessor": None if state.predecessor is None else write_member(state.predecessor),
        "successors": [write_member(member) for member in state.successors],
        "leaving": state.leaving,
    }


def write_entries(entries: Sequence[Entry]) -> list[Fields]:
    """A map."""
    return [{"member": write_member(entry.member), "status": int(entry.status)} for entry in entries]


def read_map_digest(digest: bytes) -> bytes:
    """The digest of a map, or nothing.

    Raises:
        InvalidMessage: It is neither.
    """
    if len(digest) not in (0, _DIGEST_BYTES):
        raise InvalidMessage(f"a map's digest has {_DIGEST_BYTES} bytes, not {len(digest)}")
    return digest


def read_mode(number: int) -> Mode:
    """A mode.

    Raises:
        InvalidMessage: There is none of that number.
    """
    if number not in _MODES:
        raise InvalidMessage(f"{number} is no mode")
    return Mode(number)


def read_verdict(number: int) -> Verdict:
    """A verdict.

    Raises:
        InvalidMessage: There is none of that number.
    """
    if number not in _VERDICTS:
        raise InvalidMessage(f"{number} is no verdict")
    return Verdict(number)


class MemberReader:
    """Reads members; each method raises `InvalidMessage` for what is none.

    Args:
        contacts: Reads peers.
    """

    def __init__(self, contacts: ContactReader) -> None:
        self._contacts = contacts

    def read_contact(self, data: bytes) -> Contact:
        """A peer that has to be one."""
        contact = self._contacts.read(data) if len(data) <= MAX_MEMBER_BYTES else None
        if contact is None:
            raise InvalidMessage(f"a member is a peer of up to {MAX_MEMBER_BYTES} bytes")
        return contact

    def read(self, member: chord_pb2.Member) -> Member:
        """A member; it stands where its peer id says."""
        if member.incarnation >= MAX_INCARNATION:
            raise InvalidMessage(f"an incarnation is below {MAX_INCARNATION}")
        return Member(self.read_contact(member.peer), member.incarnation)

    def read_predecessor(self, message: chord_pb2.Message) -> Member | None:
        """The predecessor, if there is one."""
        return self.read(message.predecessor) if message.HasField("predecessor") else None

    def read_successors(self, message: chord_pb2.Message) -> tuple[Member, ...]:
        """The successors, or those that stay where somebody leaves."""
        if len(message.successors) > MAX_R:
            raise InvalidMessage(f"{len(message.successors)} successors are over the limit of {MAX_R}")
        return tuple(map(self.read, message.successors))

    def read_era(self, message: chord_pb2.Message) -> int:
        """The era."""
        if message.era >= MAX_ERA:
            raise InvalidMessage(f"an era is below {MAX_ERA}")
        return message.era

    def read_state(self, message: chord_pb2.Message) -> State:
        """Where the member that answers says it stands."""
        member, before = self.read(message.member), self.read_predecessor(message)
        return State(member, read_mode(message.mode), self.read_era(message), before, self.read_successors(message), message.leaving)

    def read_entries(self, message: chord_pb2.Message) -> tuple[Entry, ...]:
        """A map."""
        if len(message.entries) > MAX_ENTRIES:
            raise InvalidMessage(f"a map of {len(message.entries)} entries is over the limit of {MAX_ENTRIES}")
        return tuple(Entry(self.read(entry.member), _read_status(entry.status)) for entry in message.entries)


def _read_status(number: int) -> Status:
    if number not in _STATUSES:
        raise InvalidMessage(f"a node on a map is joining, up, leaving or gone, not {number}")
    return Status(number)


_MODES: Final = frozenset(Mode)
_VERDICTS: Final = frozenset(Verdict)
_STATUSES: Final = frozenset(Status)
