"""What happens to a node on the ring, for whoever keeps records there."""

from __future__ import annotations

from dataclasses import dataclass

from peerstack.dht.replica.contacts import Contact
from peerstack_chord.ring import Mode

__all__ = ["MemberDied", "MemberLeft", "ModeChanged", "PlaceChanged", "RingEvent"]


@dataclass(slots=True)
class PlaceChanged:
    """The predecessor or the successor list changed."""

    predecessor: Contact | None
    successors: tuple[Contact, ...]


@dataclass(slots=True)
class ModeChanged:
    """The node became a member of a ring that forms or has formed, or is none any more."""

    mode: Mode


@dataclass(slots=True)
class MemberDied:
    """A neighbour's life is over: it does not answer, or lives another one."""

    contact: Contact


@dataclass(slots=True)
class MemberLeft:
    """A neighbour said that it leaves."""

    contact: Contact


RingEvent = PlaceChanged | ModeChanged | MemberDied | MemberLeft
