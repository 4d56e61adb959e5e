"""The put/get contract: what an application, the command line and the HTTP API know of any DHT.

Keys and subkeys are bytes, or str taken as UTF-8; timeouts and lifetimes are seconds; times inside records are microseconds since 1970.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from peerstack.dht.records import Record, Version
from peerstack.identity import PeerId

__all__ = [
    "Ack",
    "Answer",
    "Dht",
    "GetResult",
    "Hop",
    "HopOutcome",
    "Inspect",
    "LeaveReport",
    "Lookup",
    "Provider",
    "Providers",
    "PutResult",
    "Question",
    "Refusal",
    "RefusalReason",
]

Ack = Literal["majority", "one", "all"] | int
"""How many responsible nodes must have stored a record before a put returns. Below the majority a put carries no promise."""


class RefusalReason(enum.StrEnum):
    """Why a node did not store a record (or is not known to have)."""

    SUPERSEDED = "superseded"
    """It holds a greater record, which the refusal carries."""
    FULL = "full"
    """The key's set, or the sender's share of the store, has no room."""
    NOT_RESPONSIBLE = "not_responsible"
    """The key is clearly not among those it keeps."""
    NOT_AUTHORITATIVE = "not_authoritative"
    """It is still taking over (or leaving, or cut off): what it says does not count."""
    INVALID = "invalid"
    """The record breaks its format's, its namespace's or the network's rules."""
    CLOCK = "clock"
    """A time in the record is too far ahead of its clock."""
    FAILED = "failed"
    """Its store could not commit."""
    UNREACHABLE = "unreachable"
    """It could not be reached."""
    TIMEOUT = "timeout"
    """It did not answer in time: it may have stored the record all the same."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node's refusal."""

    reason: RefusalReason
    message: str = ""
    """For people."""
    record: Record | None = None
    """The greater record, where the reason is `RefusalReason.SUPERSEDED`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PutResult:
    """What became of a put or a delete."""

    namespace: str
    key: bytes
    subkey: bytes
    version: Version
    expires_at: int
    """Microseconds; 0 for a delete."""
    targets: tuple[PeerId, ...]
    """The responsible set, closest first."""
    acknowledged: tuple[PeerId, ...]
    """Targets whose store committed the record and whose word counts."""
    stored: tuple[PeerId, ...]
    """Everybody known to have stored it, stand-ins and nodes without authority too."""
    refused: Mapping[PeerId, Refusal]
    """Who is not known to have stored it, and why."""
    asked: int
    """Acknowledgements that were asked for."""
    needed: int
    """Acknowledgements that carry the promise: the majority of the targets."""

    @property
    def promised(self) -> bool:
        """Whether the write is acknowledged: it survives the crash of any ``len(acknowledged) - 1`` holders."""
        return len(self.acknowledged) >= self.needed


@dataclass(frozen=True, kw_only=True, slots=True)
class GetResult:
    """A value that was found."""

    value: bytes
    record: Record
    confirmed: bool
    """Whether enough authoritative nodes answered to be sure that nothing newer was acknowledged. False: it may be stale."""
    answers: int
    """Authoritative answers of responsible nodes."""
    asked: int
    """Nodes that were asked, ourselves included."""
    needed: int
    """Authoritative answers that confirm."""
    repaired: int = 0
    """Stale or missing holders that were sent the record."""
    local: bool = False
    """Whether our own copy was one of the answers."""


class HopOutcome(enum.StrEnum):
    """How asking one node on a lookup's way went."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    PENDING = "pending"
    """The lookup ended before it answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """One request of a lookup."""

    peer: PeerId
    distance: int
    """From the peer's id to the key, in the DHT's own metric."""
    depth: int
    """1 for peers known from the start, one more than the peer that named it otherwise."""
    sent_at: float
    """Seconds since the lookup began."""
    seconds: float
    """How long the answer took, or how long it has been waited for."""
    outcome: HopOutcome
    learned: int = 0
    """Peers it named that were new to the lookup (to the hop's path of it)."""
    path: int = 0
    """Which of a lookup's disjoint paths it lies on, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """Who is responsible for a key."""

    key: bytes
    position: bytes
    """Where the key lies in the key space (32 bytes)."""
    peers: tuple[PeerId, ...]
    """The responsible nodes found, closest first; where a DHT looks along several disjoint paths, those that each of them found."""
    complete: bool
    """Whether the lookup ended by its own rule, not by a deadline or for lack of peers."""
    hops: tuple[Hop, ...] = ()
    """The way there, in order of sending, where a trace was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaveReport:
    """What became of our records when we left."""

    complete: bool
    """Whether every record was confirmed by all who remain responsible, and all of them know that we left."""
    records: int
    """Records we held."""
    handed_over: int
    """Of those, confirmed by as many servers as there have to be copies, or by all that could be reached where they are fewer."""
    peers: tuple[PeerId, ...] = ()
    """Who took them or was told."""
    failed: Mapping[PeerId, Refusal] = field(default_factory=dict)
    """Who could not be handed to, and why."""


@runtime_checkable
class Dht(Protocol):
    """One put/get over any DHT. The rules are those of ``docs/protocols/records.md``."""

    async def put(
        self,
        key: bytes | str,
        value: bytes,
        *,
        namespace: str = "kv",
        subkey: bytes | str = b"",
        ttl: float | None = None,
        ack: Ack = "majority",
        timeout: float | None = None,
    ) -> PutResult:
        """Write a value; it supersedes what is stored, whatever the clocks say.

        Args:
            key: At most 128 bytes.
            value: At most 64 KiB; up to 8 KiB is portable to every libp2p stack.
            namespace: Decides who may write the key.
            subkey: Which record of the key's small set, at most 128 bytes.
            ttl: Seconds until the value ends, exactly. None: 48 hours, extended by this node while it runs.
            ack: Acknowledgements to wait for.
            timeout: Seconds for the whole call; None is the DHT's default.

        Raises:
            ValueTooLarge: Key, subkey or value is over its limit; nothing was sent.
            InvalidRecord: The namespace does not let us write this key, or `ttl` is out of the network's range.
            Unavailable: Too few responsible nodes could be asked first; nothing was written.
            QuorumNotMet: Fewer than asked for acknowledged; the write is undecided (``error.result`` says who did what).
            DeadlineExceeded: The timeout passed before an answer was certain.
        """

    async def get(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", quorum: int | None = None, timeout: float | None = None
    ) -> GetResult:
        """Read a value.

        Args:
            key: The key.
            namespace: Its namespace.
            subkey: Which record of the key's set.
            quorum: Authoritative answers to insist on. None: as many as confirm, but a value found with fewer is returned as unconfirmed.
            timeout: Seconds for the whole call; None is the DHT's default.

        Raises:
            KeyNotFound: It is confirmed that there is no such value.
            Unavailable: Nothing was found, but too few answered to be sure; or `quorum` was not reached.
            ValueTooLarge: Key or subkey is over its limit.
        """

    async def get_all(
        self, key: bytes | str, *, namespace: str = "kv", since: int | None = None, timeout: float | None = None
    ) -> list[Record]:
        """Read the live record of every subkey, ordered by subkey; an empty list is confirmed.

        Args:
            key: The key.
            namespace: Its namespace.
            since: Only records whose version's time (microseconds) is later.
            timeout: Seconds for the whole call; None is the DHT's default.

        Raises:
            Unavailable: Too few responsible nodes answered to be sure of all of it.
            ValueTooLarge: The key is over its limit.
        """

    async def delete(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", timeout: float | None = None
    ) -> PutResult:
        """Delete a value: a put of a record that is dead from the start. Raises as `put`."""

    async def lookup(self, key: bytes | str, *, namespace: str = "kv", trace: bool = False, timeout: float | None = None) -> Lookup:
        """Find out who is responsible for a key, and, with `trace`, the way there."""

    async def leave(self, *, timeout: float | None = None) -> LeaveReport:
        """Hand everything over to those who remain responsible, tell them, and stop serving."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who said it has what a key names."""

    peer: PeerId
    addresses: tuple[bytes, ...] = ()
    """Binary multiaddrs without ``/p2p``."""


@runtime_checkable
class Providers(Protocol):
    """Optional beside `Dht`: who has the content a key names."""

    async def provide(self, key: bytes | str, *, timeout: float | None = None) -> tuple[PeerId, ...]:
        """Announce that this node has it, now and until it stops; returns who was told.

        Raises:
            Unavailable: Nobody could be told.
        """

    async def find_providers(self, key: bytes | str, *, limit: int = 20, timeout: float | None = None) -> list[Provider]:
        """Find up to `limit` providers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One RPC to one named peer."""

    kind: Literal["ping", "find-node", "find-value", "store"]
    key: bytes | str = b""
    namespace: str = "kv"
    subkey: bytes | str = b""
    value: bytes = b""
    """For ``store``."""
    ttl: float | None = None
    """For ``store``: as in `Dht.put`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the peer said."""

    peer: PeerId
    seconds: float
    """Round-trip time of the request."""
    authoritative: bool | None = None
    """Whether its word counts for the key; None where the question has no key."""
    peers: tuple[PeerId, ...] = ()
    """Peers it named."""
    record: Record | None = None
    """What it holds (for ``store``: what was written)."""
    refusal: Refusal | None = None
    """For ``store``: why it did not take it."""


@runtime_checkable
class Inspect(Protocol):
    """Optional beside `Dht`: look inside, and say what no node can know by itself."""

    async def ask(self, peer: PeerId, question: Question, *, timeout: float | None = None) -> Answer:
        """Send one request to one named peer, without a lookup.

        Raises:
            DialError: The peer cannot be reached.
            DeadlineExceeded: It did not answer in time.
            ProtocolNotSupported: It does not serve this DHT.
        """

    def closest(self, key: bytes | str, *, namespace: str = "kv", count: int = 20) -> Sequence[PeerId]:
        """The closest peers this node knows by itself, closest first."""

    def topology(self) -> Mapping[str, Any]:
        """The routing table or ring as plain data: dicts, lists, str, int, float, bool and None."""

    async def forget(self) -> tuple[PeerId, ...]:
        """Count no server any more that does not answer now: the operator says that it does not come back.

        Servers of which more than half of those responsible are lost at once acknowledge nothing until these return, or until this is said
        on every server that is left. What only the lost ones held stays lost, a write that only they acknowledged too. Not for servers that
        are merely cut off: both sides would go on without each other.

        Returns:
            Who was forgotten: exactly those servers known that did not answer. One that comes back all the same is counted again.
        """
