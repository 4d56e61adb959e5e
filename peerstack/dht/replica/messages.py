"""Requests and replies between the nodes of a DHT: what a plugin's codec writes and reads, and what simulations pass as they are.

* `Ping`, `FindNode`, `GetValue` and `PutValue` are what a client asks a server too.
* `Pull` asks for everything another server holds in a region, page by page: taking over, and meeting after a partition.
* `Push` gives records from holder to holder: repair, replication, handoff and leaving. It is never refused for lack of room in a set.
* `Offer` names records by their digests, so that copies that are equal need not be pushed.
* `Leave` says that the sender goes for good, after it pushed what it held.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from peerstack.dht.contract import Refusal
from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.store.contract import Cursor, Outcome

__all__ = [
    "Done",
    "FindNode",
    "GetReply",
    "GetValue",
    "Leave",
    "Malformed",
    "NodesReply",
    "Offer",
    "OfferAnswer",
    "OfferReply",
    "Offered",
    "Ping",
    "Pull",
    "PullReply",
    "Push",
    "PushReply",
    "PutReply",
    "PutValue",
    "Reply",
    "Request",
    "Standing",
]


class Request:
    """Any request; a plugin adds its own."""

    __slots__: tuple[str, ...] = ()


class Reply:
    """Any answer; a plugin adds its own."""

    __slots__: tuple[str, ...] = ()


@dataclass(slots=True)
class Standing:
    """What an answer is worth."""

    authoritative: bool
    """Whether the answering node counts itself as responsible and as up to date."""
    responsible: tuple[Contact, ...] = ()
    """Whom it counts as responsible for the key, itself included, closest first; the silent are counted until they are forgotten."""


@dataclass(slots=True)
class Ping(Request):
    """Are you there?"""


@dataclass(slots=True)
class FindNode(Request):
    """Name the closest servers you know."""

    key: bytes = b""
    """A wire key or a peer id's bytes; empty where `position` was chosen for its own sake."""
    position: int = 0

    @classmethod
    def of(cls, key: bytes) -> FindNode:
        """Ask for the surroundings of a key."""
        return cls(key, position_of(key))


@dataclass(slots=True)
class GetValue(Request):
    """Answer with the records of a key, or with one of them, and name the closest servers."""

    key: bytes
    """The wire key."""
    position: int
    subkey: bytes | None = None
    """None: every subkey."""


@dataclass(slots=True)
class PutValue(Request):
    """Store what a client wrote."""

    record: Record


@dataclass(slots=True)
class Pull(Request):
    """Hand over everything you hold in a region around the sender's position."""

    region: int
    """Not negative; what it stands for is the `peerstack.dht.replica.geometry.Geometry`'s to say."""
    settled: bool
    """Whether the sender counts itself as authoritative already."""
    after: Cursor | None = None
    """Where the page before ended."""


@dataclass(slots=True)
class Push(Request):
    """Take these records, as one holder from another."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Offered:
    """One record, by its digest."""

    position: bytes
    """Of its key, 32 bytes."""
    subkey: bytes
    digest: bytes
    """Of its header, 32 bytes."""
    whole: bool
    """Whether the sender holds its value, not only the header remembered."""
    members: bytes
    """8 bytes that stand for the responsible set as the sender counts it."""


@dataclass(slots=True)
class Offer(Request):
    """Say of each of these records whether you hold it equal."""

    entries: tuple[Offered, ...]


class OfferAnswer(enum.IntEnum):
    """What is held of a record that was offered."""

    DIFFERENT = 0
    """Nothing, or another record, lesser or greater."""
    EQUAL = 1
    CONFIRMED = 2
    """Equal, and the answering node counts itself as responsible and up to date."""


@dataclass(slots=True)
class Leave(Request):
    """The sender leaves for good."""

    handed: bool
    """Whether the receiver was given everything it becomes responsible for."""
    remaining: tuple[Contact, ...] = ()
    """Whom the sender counted: they have to know each other now."""


@dataclass(slots=True)
class Malformed(Request):
    """A request that parses but carries a record that is none: refused without a look into the store."""

    refusal: Refusal


@dataclass(slots=True)
class NodesReply(Reply):
    """The closest servers, closest first."""

    closer: tuple[Contact, ...]


@dataclass(slots=True)
class GetReply(Reply):
    """What is held of a key: live records, and the headers remembered of dead ones."""

    records: tuple[Record, ...]
    closer: tuple[Contact, ...]
    standing: Standing
    refusal: Refusal | None = None
    """Why there is no answer (the store failed, the namespace is not served)."""


@dataclass(slots=True)
class PutReply(Reply):
    """What became of a record."""

    refusal: Refusal | None
    """None: it was committed to the store."""
    standing: Standing


@dataclass(slots=True)
class PullReply(Reply):
    """One page of a region."""

    records: tuple[Record, ...]
    standing: Standing
    """`authoritative`: whether the source is up to date in its whole neighbourhood; `responsible`: all servers it counts there."""
    known: bool
    """Whether the source counted the sender as a server before this request."""
    next: Cursor | None = None
    """Where this page ended; None on the last one."""
    silent_s: tuple[float, ...] = ()
    """How long ago each of ``standing.responsible`` was last heard of: so that nobody is kept by hearsay alone."""
    refusal: Refusal | None = None
    """Why nothing was handed over: the store cannot be read."""
    digest: bytes = b""
    """Of what the source holds for the sender behind the page before, up to where this one ends: see `peerstack.dht.replica.pages`."""


@dataclass(slots=True)
class PushReply(Reply):
    """What became of each record pushed, in order; a superseded one carries the greater record."""

    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class OfferReply(Reply):
    """What is held of each record offered, in order."""

    answers: tuple[OfferAnswer, ...]


@dataclass(slots=True)
class Done(Reply):
    """Answers `Ping` and `Leave`."""
