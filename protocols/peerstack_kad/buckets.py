"""The routing table: k-buckets by the length of the prefix shared with our own position. Pure: it asks for pings, it never sends one.

Rules and where they come from (Maymounkov and Mazieres, "Kademlia", IPTPS 2002):

* Contacts of a bucket stand in the order they were last heard of; a full bucket never evicts a live contact for a new one (2.2).
* A newcomer to a full bucket waits in the bucket's replacement cache, and the longest silent contact is pinged (4.1).
* A contact is stale after `STALE_AFTER` failures in a row; it is replaced when somebody waits, else only flagged (4.1), so that an
  outage of our own does not empty the table.
* Buckets near our own position take more than k contacts: all of the neighbourhood, so that who is responsible is known in full (2.4).

A contact enters only by `heard`, which is called for peers known to *serve* the protocol. Contacts we are only told of belong to lookups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack_kad.keys import common_prefix

__all__ = ["STALE_AFTER", "Admission", "ContactAdded", "ContactRemoved", "Entry", "PingContact", "RoutingTable"]

STALE_AFTER: Final = 5
"""Failures in a row that make a contact stale."""

_RECENTLY_S: Final = 5.0  # a contact heard of within this is not pinged for a newcomer
_PROBE_PAUSE_S: Final = 60.0  # a bucket in which such a ping was answered is left alone for so long


@dataclass(slots=True, eq=False)
class Entry:
    """A contact in the table and what we know of its health."""

    contact: Contact
    last_heard: float
    failures: int = 0
    """Requests in a row it did not answer."""
    pinging: bool = False

    @property
    def stale(self) -> bool:
        """Whether it failed too often to be named to others."""
        return self.failures >= STALE_AFTER


@dataclass(slots=True)
class ContactAdded:
    """A contact entered the table."""

    contact: Contact


@dataclass(slots=True)
class ContactRemoved:
    """A contact left the table."""

    contact: Contact
    silent: bool = True
    """Whether it did not answer any more; else it left, or serves the protocol no more."""


@dataclass(slots=True)
class PingContact:
    """Ping this contact and report it by `RoutingTable.heard` or `RoutingTable.failed`: a newcomer waits for its place."""

    contact: Contact


TableEvent = ContactAdded | ContactRemoved | PingContact

Admission = Callable[[Contact, "RoutingTable", int], bool]
"""``(newcomer, table, bucket index)`` -> whether diversity lets it in."""


@dataclass(slots=True)
class _Bucket:
    entries: dict[int, Entry] = field(default_factory=dict)  # least recently heard first
    waiting: dict[int, Entry] = field(default_factory=dict)  # the replacement cache, most recent last
    looked_up: float = float("-inf")
    probed: float = float("-inf")  # when a ping for a newcomer was last answered


class RoutingTable:
    """All contacts of one node.

    Attributes:
        own: Our own position.
        k: Contacts per bucket.
        neighbourhood: Contacts around our own position that are kept whatever their buckets hold.
        probing: Whether a newcomer to a full bucket has the longest silent contact pinged.
    """

    def __init__(self, own: int, *, k: int = 20, neighbourhood: int | None = None, admission: Admission | None = None) -> None:
        """Make an empty table.

        Args:
            own: Our own position.
            k: Contacts per bucket, and replacements per bucket.
            neighbourhood: Defaults to 5 k (S/Kademlia's sibling list; Baumgart and Mies 2007, 4.4).
            admission: Caps on contacts that are too alike (one subnet, say); None admits everybody.
        """
        self.own = own
        self.k = k
        self.neighbourhood = 5 * k if neighbourhood is None else neighbourhood
        self.probing = True
        self._admission = admission
        self._buckets: list[_Bucket] = []  # up to the deepest that holds somebody
        self._size = 0
        self._failing: dict[int, Entry] = {}
        self._revision = 0
        self._events: list[TableEvent] = []

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self.get(key) is not None

    def __iter__(self) -> Iterator[Entry]:
        """All entries, bucket by bucket, least recently heard first."""
        for bucket in self._buckets:
            yield from bucket.entries.values()

    @property
    def revision(self) -> int:
        """Another number whenever a contact came or went."""
        return self._revision

    def get(self, key: int) -> Entry | None:
        """The entry at a position."""
        bucket = self._bucket_of(key)
        return None if bucket is None else bucket.entries.get(key)

    def bucket(self, index: int) -> list[Entry]:
        """The contacts that share exactly `index` leading bits with us, least recently heard first."""
        return list(self._buckets[index].entries.values()) if index < len(self._buckets) else []

    @property
    def depth(self) -> int:
        """Number of buckets, empty ones between included."""
        return len(self._buckets)

    def take_events(self) -> list[TableEvent]:
        """What happened, and the pings wanted, since the last call."""
        if not self._events:
            return []
        events, self._events = self._events, []
        return events

    def heard(self, contact: Contact, now: float) -> None:
        """Note a sign of life of a contact that serves the protocol: its request, its answer, its identification."""
        bucket = self._bucket_of(contact.key)
        entry = None if bucket is None else bucket.entries.get(contact.key)
        if bucket is not None and entry is not None:
            self._refresh(bucket, entry, contact, now)
        elif contact.key != self.own:
            self._meet(contact, now)

    def failed(self, key: int) -> None:
        """Note that a contact did not answer a request."""
        bucket = self._bucket_of(key)
        if bucket is None:
            return
        bucket.waiting.pop(key, None)
        entry = bucket.entries.get(key)
        if entry is None:
            return
        entry.failures += 1
        entry.pinging = False
        self._failing[key] = entry
        if not entry.stale or not bucket.waiting:
            return
        self._take_out(entry)
        _, newcomer = bucket.waiting.popitem()  # the most recently heard of
        self._put_in(newcomer)

    def remove(self, key: int) -> None:
        """Take a contact out: it left, or no longer serves the protocol."""
        bucket = self._bucket_of(key)
        if bucket is None:
            return
        bucket.waiting.pop(key, None)
        if (entry := bucket.entries.get(key)) is not None:
            self._take_out(entry, silent=False)

    def forget_silent(self, before: float) -> list[Contact]:
        """Take out, and return, failing contacts not heard of since `before`."""
        silent = [entry for entry in self._failing.values() if entry.last_heard < before]
        for entry in silent:
            self._take_out(entry)
        return [entry.contact for entry in silent]

    def stale(self) -> list[Contact]:
        """Contacts that failed too often to be named to others."""
        return [entry.contact for entry in self._failing.values() if entry.stale]

    def closest(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """The `count` contacts closest to `target` that are not stale, closest first.

        Args:
            target: A position.
            count: How many at most.
            exclude: A position to leave out (who asks need not be told of itself).
        """
        found: list[Contact] = []
        for bucket in self._by_distance(target):
            entries = bucket.entries
            for key in sorted(entries, key=target.__xor__):
                entry = entries[key]
                if entry.failures < STALE_AFTER and key != exclude:
                    found.append(entry.contact)
                    if len(found) == count:
                        return found
        return found[:count]

    def looked_up(self, target: int, now: float) -> None:
        """Note that a lookup of `target` ended: its bucket is fresh."""
        index = common_prefix(self.own, target)
        if index < len(self._buckets):
            self._buckets[index].looked_up = now

    def due_for_refresh(self, before: float) -> list[int]:
        """Buckets in which nothing was looked up since `before`, shallowest first."""
        return [index for index, bucket in enumerate(self._buckets) if bucket.looked_up < before]

    def corner(self, count: int) -> int:
        """The first bucket that with all deeper ones holds fewer than `count` contacts: looking up so many around us finds all there."""
        index, held = len(self._buckets), 0
        while index and held + len(self._buckets[index - 1].entries) < count:
            index -= 1
            held += len(self._buckets[index].entries)
        return index

    def _by_distance(self, target: int) -> Iterator[_Bucket]:
        """Buckets in the order of their distance to `target`: whoever stands in an earlier one is closer than all in later ones.

        Where the distance from us to the target has a one bit, the contacts of that bucket agree with the target in it and are closer than
        everything deeper; where it has a zero they disagree and are farther. So: the ones downwards, then the zeros back upwards.
        """
        buckets = self._buckets
        bits = (self.own ^ target) >> (KEY_BITS - len(buckets)) if buckets else 0
        top = len(buckets) - 1
        for index, bucket in enumerate(buckets):
            if bits >> (top - index) & 1 and bucket.entries:
                yield bucket
        for index in range(top, -1, -1):
            if not bits >> (top - index) & 1 and buckets[index].entries:
                yield buckets[index]

    def _bucket_of(self, key: int) -> _Bucket | None:
        index = common_prefix(self.own, key)
        return self._buckets[index] if index < len(self._buckets) else None

    def _refresh(self, bucket: _Bucket, entry: Entry, contact: Contact, now: float) -> None:
        key = contact.key
        entry.last_heard = now
        if entry.failures:
            entry.failures = 0
            del self._failing[key]
        if entry.pinging:
            entry.pinging = False
            bucket.probed = now
        if contact.addresses:
            entry.contact = contact
        entries = bucket.entries
        entries[key] = entries.pop(key)  # to the tail

    def _meet(self, contact: Contact, now: float) -> None:
        index = common_prefix(self.own, contact.key)
        if self._admission is not None and not self._admission(contact, self, index):
            return
        self._reach(index)
        bucket = self._buckets[index]
        newcomer = Entry(contact, now)
        if len(bucket.entries) < self.k or self._is_near(index):
            self._put_in(newcomer)
            return
        stale = next((entry for key, entry in self._failing.items() if entry.stale and key in bucket.entries), None)
        if stale is not None:
            self._take_out(stale)
            self._put_in(newcomer)
            return
        bucket.waiting.pop(contact.key, None)
        bucket.waiting[contact.key] = newcomer
        if len(bucket.waiting) > self.k:
            del bucket.waiting[next(iter(bucket.waiting))]
        oldest = next(iter(bucket.entries.values()))
        # Whoever is pinged may not know us, and ping somebody for us in turn: where almost every sender is a stranger, as in a large
        # network, each request would set off pings without end if buckets did not pause.
        if self.probing and not oldest.pinging and now - oldest.last_heard > _RECENTLY_S and now - bucket.probed > _PROBE_PAUSE_S:
            oldest.pinging = True
            self._events.append(PingContact(oldest.contact))

    def _is_near(self, index: int) -> bool:
        """Whether bucket `index` still belongs to the neighbourhood: fewer than its size are closer to us, and itself is no larger."""
        if len(self._buckets[index].entries) >= max(self.neighbourhood, self.k):
            return False
        deeper = 0
        for bucket in self._buckets[index + 1 :]:
            deeper += len(bucket.entries)
            if deeper >= self.neighbourhood:
                return False
        return True

    def _reach(self, index: int) -> None:
        if index >= len(self._buckets):
            self._buckets.extend(_Bucket() for _ in range(index + 1 - len(self._buckets)))

    def _put_in(self, entry: Entry) -> None:
        key = entry.contact.key
        index = common_prefix(self.own, key)
        self._reach(index)
        bucket = self._buckets[index]
        bucket.waiting.pop(key, None)
        bucket.entries[key] = entry
        self._size += 1
        self._revision += 1
        self._events.append(ContactAdded(entry.contact))

    def _take_out(self, entry: Entry, *, silent: bool = True) -> None:
        key = entry.contact.key
        del self._buckets[common_prefix(self.own, key)].entries[key]
        self._failing.pop(key, None)
        self._size -= 1
        self._revision += 1
        while self._buckets and not self._buckets[-1].entries and not self._buckets[-1].waiting:
            self._buckets.pop()
        self._events.append(ContactRemoved(entry.contact, silent))
