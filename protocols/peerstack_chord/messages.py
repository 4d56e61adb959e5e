"""The ring's own requests and replies; `FindNode`, `Done` and those about records are `peerstack.dht.replica.messages`'.

Whoever is no member answers every one of these requests, and `FindNode`, with `NotMember`. `Notify`, `Depart` and `Meet` are answered with
`Done`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply, Request
from peerstack_chord.ring import Member, Mode, State

__all__ = [
    "Depart",
    "Entry",
    "ExchangeMap",
    "GetState",
    "Join",
    "JoinReply",
    "MapReply",
    "Meet",
    "NotMember",
    "Notify",
    "StateReply",
    "Status",
    "Verdict",
]


@dataclass(slots=True)
class GetState(Request):
    """Say where you stand: asked to stabilise, and whether you are alive."""


@dataclass(slots=True)
class StateReply(Reply):
    """Answers `GetState`."""

    state: State


@dataclass(slots=True)
class Join(Request):
    """Let the sender join, between you and your first successor, or as a member of the ring that forms."""

    member: Member
    """The sender, in the life that begins."""


class Verdict(enum.IntEnum):
    """What became of a `Join`."""

    JOINED = 0
    """The sender's list and predecessor follow from the state given."""
    FORMING = 1
    """The sender is on the map given; it is a member once every live member on it has confirmed."""
    ELSEWHERE = 2
    """The sender's place is not next to the one who answers."""
    BUSY = 3
    """Not now: try again."""


class Status(enum.IntEnum):
    """How far one life of a node has come; of two maps' words the later one counts."""

    JOINING = 0
    """It is not a member yet: not every live member has confirmed it."""
    UP = 1
    LEAVING = 2
    """It is a member, and will be none once all the others form the ring that does without it."""
    GONE = 3


@dataclass(slots=True)
class Entry:
    """What a map of a forming ring says of one node."""

    member: Member
    status: Status = Status.UP


@dataclass(slots=True)
class JoinReply(Reply):
    """Answers `Join`."""

    verdict: Verdict
    state: State
    entries: tuple[Entry, ...] = ()


@dataclass(slots=True)
class Notify(Request):
    """The sender takes you for its first successor: rectify."""

    member: Member


@dataclass(slots=True)
class ExchangeMap(Request):
    """Merge this map of a forming ring, and answer with yours; or, where it is only named by its digest, with the digest of yours."""

    era: int
    entries: tuple[Entry, ...]
    digest: bytes = b""
    """Of the sender's map, where the one asked has confirmed that: then there are no entries."""


@dataclass(slots=True)
class MapReply(Reply):
    """Answers `ExchangeMap`: the map after merging; to a digest, the map's; or, without either, that the ring has formed."""

    mode: Mode
    era: int
    entries: tuple[Entry, ...]
    digest: bytes = b""


@dataclass(slots=True)
class Depart(Request):
    """The sender is no member any more."""

    member: Member
    predecessor: Member | None
    """Who stood before it."""
    staying: tuple[Member, ...] = ()
    """Others that stay, as far as it knows: for who loses its whole successor list at once."""


@dataclass(slots=True)
class Meet(Request):
    """See whether the ring of this member is yours, and which of the two should go over to the other."""

    contact: Contact


@dataclass(slots=True)
class NotMember(Reply):
    """Whoever answers is no member: any life of it that was is over."""
