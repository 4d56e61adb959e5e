"""Judges a history by the promises of the DHT. Pure: it looks at nothing but the history.

========  ============================================================================================================================
no_phantom   A read returns what some write of that slot wrote.
durable      An acknowledged write is readable while one of its guardians lives. Its guardians are who acknowledged it; after a quiet
             repair round the whole responsible set; after a graceful leave the heirs as well. While the network is in two, and until
             the first quiet moment after, this holds where the guardian is on the reader's side.
monotone     No confirmed read returns less than an acknowledged write that ended before it began.
no_return    Nothing older than an acknowledged delete, or an expired acknowledged value, comes back while it is remembered.
expiry       No value is read after its end, none stays in a store, no end moves without its writer renewing it.
copies       At quiescence each live value has exactly ``min(replicas, servers)`` copies in the true responsible set.
tables       No empty bucket that has live servers, the nearest servers known, no client in any table.
ring         At quiescence there is one ring, with everybody where it belongs: its true predecessor, its r true successors, and forming
             if and only if there are no more than r + 1; nobody names a client.
truthful     Who is named in an acknowledgement holds the record; no confirmed absence of what responsible servers hold.
bounded      Requests, timers and contacts per node stay under constants.
========  ============================================================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.dht.quorum import majority
from tests.sim.history import (
    Absence,
    Back,
    Copy,
    Crash,
    Cut,
    Event,
    Found,
    Healed,
    History,
    Left,
    Load,
    Outcome,
    Quiet,
    Read,
    Slot,
    Snapshot,
    Stand,
    Version,
    Write,
)

__all__ = ["Availability", "Bounds", "Oracle", "Violation", "availability"]

_EPSILON_S: Final = 1.0  # between a reader's clock and the end of its call
_KEY_BITS: Final = 256
_OLDEST: Final[Version] = (-1, b"")

Closest = Callable[[Slot, Iterable[int], int], list[int]]
"""``(slot, servers, count)`` -> the closest servers, closest first."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    invariant: str
    time: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.time:.3f} s: {self.text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What one node may keep open at quiescence, and how good its table has to be."""

    requests: int = 64
    timers: int = 400
    contacts: int = 600
    counted: int = 400
    accuracy: float = 0.99
    """Of the nearest servers, how many are known on average."""


@dataclass(slots=True)
class Availability:
    """Of the operations that the promise covered when they began, how many succeeded in time, one retry included.

    A read of an acknowledged value is covered while one of its guardians lives within reach; then it has to return the value. While also a
    majority of the key's set is up it has to be sure. A write is covered while such a majority is up.
    """

    reads: int = 0
    found: int = 0
    sure_reads: int = 0
    """Of `reads`, those that had to be sure."""
    sure: int = 0
    writes: int = 0
    acknowledged: int = 0

    def __iadd__(self, other: Availability) -> Availability:
        """Sum up over runs."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def shares(self) -> dict[str, float]:
        """How many of all."""
        pairs = {"reads": (self.found, self.reads), "sure": (self.sure, self.sure_reads), "puts": (self.acknowledged, self.writes)}
        return {name: done / due if due else 1.0 for name, (done, due) in pairs.items()}


def availability(history: History) -> float:
    """The share of reads that were confirmed."""
    confirmed = sum(
        read.result is Absence.NOT_FOUND or (isinstance(read.result, Found) and read.result.confirmed) for read in history.reads
    )
    return confirmed / len(history.reads) if history.reads else 1.0


class Oracle:
    """The judge.

    Args:
        closest: Who is responsible, by brute force.
        replicas: Of the network.
        r: The length of its successor lists, if it is a ring.
        remember_s: How long a write counts after its end for what must not come back.
        skew_s: The largest difference of two clocks.
        sweep_s: How long a dead value may stay in a store.
        bounds: What a node may keep open.
    """

    def __init__(
        self,
        closest: Closest,
        *,
        replicas: int,
        r: int = 0,
        remember_s: float,
        skew_s: float = 0.0,
        sweep_s: float = 10.0,
        bounds: Bounds | None = None,
    ) -> None:
        self._closest = closest
        self._replicas = replicas
        self._r = r
        self._remember_s = remember_s
        self._skew_s = skew_s
        self._sweep_s = sweep_s
        self._bounds = bounds or Bounds()

    def judge(self, history: History, only: Collection[str] | None = None) -> list[Violation]:
        """Every broken promise but `copies`, in order of time.

        Args:
            history: What happened.
            only: The invariants that hold; None: all.
        """
        slots: dict[Slot, list[Write]] = defaultdict(list)
        for write in history.writes:
            slots[write.slot].append(write)
        guards = _Guards(history.events, self._closest, self._replicas)
        found: list[Violation] = []
        for write in history.writes:
            found += self._judge_write(write, history.events)
        for read in history.reads:
            found += self._judge_read(read, slots[read.slot], guards)
        found += self._judge_repeated_reads(history.reads, slots, guards)
        for snapshot in history.snapshots:
            found += self._judge_residents(snapshot, slots)
            found += self._judge_tables(snapshot)
            found += self._judge_ring(snapshot)
            found += [violation for load in snapshot.loads for violation in self._judge_load(load, snapshot.time)]
        kept = [violation for violation in found if only is None or violation.invariant in only]
        return sorted(kept, key=lambda violation: violation.time)

    def availability(self, history: History) -> Availability:
        """How many of the operations that the promise covers succeeded."""
        slots: dict[Slot, list[Write]] = defaultdict(list)
        for write in history.writes:
            slots[write.slot].append(write)
        guards = _Guards(history.events, self._closest, self._replicas)
        spare = self._replicas - majority(self._replicas)
        found = Availability()
        for each in history.operations:
            quorate = each.down <= spare
            if not each.is_read:
                found.writes += quorate
                found.acknowledged += quorate and each.sure
                continue
            guarded = self._floor(slots[each.slot], each.start, guards, each.node) is not None
            found.reads += quorate or guarded
            found.found += (quorate or guarded) and each.found
            found.sure_reads += quorate
            found.sure += quorate and each.sure
        return found

    def missing_copies(self, history: History) -> list[Violation]:
        """Where the last snapshot breaks `copies`: too few in the responsible set, or too many anywhere else."""
        if not history.snapshots:
            return []
        snapshot = history.snapshots[-1]
        slots: dict[Slot, list[Write]] = defaultdict(list)
        for write in history.writes:
            slots[write.slot].append(write)
        guards = _Guards(history.events, self._closest, self._replicas)
        copies: dict[Slot, list[Copy]] = defaultdict(list)
        for copy in snapshot.copies:
            copies[copy.slot].append(copy)
        found: list[Violation] = []
        for slot, writes in slots.items():
            top = self._floor(writes, snapshot.time, guards)
            if top is None or top.version is None or top.value is None or self._may_be_dead(top, snapshot.time):
                continue
            # A write that is undecided, or whose writer died, may stand in its place.
            standing = max((copy.version for copy in copies[slot]), default=top.version)
            last = [copy for copy in copies[slot] if copy.version == max(standing, top.version)]
            if any(not copy.has_value for copy in last):
                continue  # it was a delete, or has ended since
            right = set(self._closest(slot, snapshot.servers, self._replicas))
            have = {copy.node for copy in last}
            if right - have:
                found.append(Violation("copies", snapshot.time, f"{slot} is missing on {sorted(right - have)}, held by {sorted(have)}"))
            elif have - right:
                found.append(Violation("copies", snapshot.time, f"{slot} is held outside its set by {sorted(have - right)}"))
        return found

    # -- writes and reads

    def _judge_write(self, write: Write, events: Sequence[Event]) -> Iterator[Violation]:
        if write.outcome is not Outcome.OK:
            return
        died = {event.node for event in events if isinstance(event, Crash) and write.start <= event.time <= write.end}
        lying = set(write.acked) - set(write.held) - died
        if lying:
            yield Violation("truthful", write.end, f"{_name(write)} was acknowledged by {sorted(lying)}, who do not hold it")

    def _judge_read(self, read: Read, writes: list[Write], guards: _Guards) -> Iterator[Violation]:
        result = read.result
        who = f"node {read.node} reads {read.slot}"
        floor = self._floor(writes, read.start, guards, read.node)
        if isinstance(result, Found):
            yield from self._judge_found(read, result, writes)
            if result.confirmed and floor is not None and floor.version is not None and result.version < floor.version:
                dead = floor.value is None or self._may_be_dead(floor, read.start)
                kind = "no_return" if dead else "monotone"
                yield Violation(kind, read.end, f"{who} = {result.value!r}, older than {_name(floor)}")
        elif result is Absence.NOT_FOUND and floor is not None and not self._may_be_absent(read, floor, writes):
            if read.holders:
                yield Violation("truthful", read.end, f"{who}: nothing, confirmed, but {list(read.holders)} hold it; {_name(floor)}")
            else:
                yield Violation("durable", read.end, f"{who}: nothing, confirmed, and nobody responsible holds it; {_name(floor)}")
        unsure = result is Absence.UNAVAILABLE or (isinstance(result, Found) and not result.confirmed)
        if read.quiescent and unsure and floor is not None and floor.value is not None and not self._may_be_dead(floor, read.end):
            yield Violation("durable", read.end, f"{who}: {_tell(result)} although all is quiet; {_name(floor)}")

    def _judge_found(self, read: Read, found: Found, writes: list[Write]) -> Iterator[Violation]:
        who = f"node {read.node} reads {read.slot} = {found.value!r}"
        sources = [write for write in writes if write.value == found.value and write.start <= read.end and _may_stand(write)]
        sources = [write for write in sources if write.version is None or write.version == found.version]
        if not sources:
            yield Violation("no_phantom", read.end, f"{who}, which nobody wrote as version {found.version[0]}")
        if found.expires_at <= read.start + read.skew_s - _EPSILON_S:
            yield Violation("expiry", read.end, f"{who}, which ended at {found.expires_at:.3f}")
        if sources and not any(_end_fits(write, found.expires_at) for write in sources):
            ends = [write.expires_at for write in sources]
            yield Violation("expiry", read.end, f"{who} with the end {found.expires_at:.3f}, written with {ends}")

    def _judge_repeated_reads(self, reads: list[Read], slots: dict[Slot, list[Write]], guards: _Guards) -> Iterator[Violation]:
        """At quiescence what was seen once is seen by all who read later."""
        seen: dict[Slot, tuple[float, Version]] = {}
        for read in sorted((read for read in reads if read.quiescent), key=lambda each: each.end):
            result = read.result
            if not isinstance(result, Found) or not result.confirmed:
                continue
            ended, version = seen.get(read.slot, (0.0, _OLDEST))
            if result.version < version and ended < read.start and self._intact_since(slots[read.slot], version, read.start, guards):
                yield Violation("monotone", read.end, f"node {read.node} reads {read.slot} = {result.value!r}, older than read before")
            if result.version > version:
                seen[read.slot] = read.end, result.version

    def _intact_since(self, writes: list[Write], version: Version, time: float, guards: _Guards) -> bool:
        return any(write.version == version and write.outcome is Outcome.OK and guards.hold(write, time) for write in writes)

    def _floor(self, writes: list[Write], time: float, guards: _Guards, node: int | None = None) -> Write | None:
        """The greatest acknowledged write that ended before `time` and whose promise still holds."""
        acknowledged = [write for write in writes if write.outcome is Outcome.OK and write.end <= time and write.version is not None]
        for write in sorted(acknowledged, key=_version, reverse=True):
            if not guards.hold(write, time, node):
                return None  # what it replaced may be gone with it
            if time <= write.end + self._remember_s:
                return write
        return None

    def _may_be_absent(self, read: Read, floor: Write, writes: list[Write]) -> bool:
        for write in writes:
            beaten = write.version is not None and _version(write) < _version(floor)
            if _may_stand(write) and write.start <= read.end and not beaten and (write.value is None or self._may_be_dead(write, read.end)):
                return True
        return False

    def _may_be_dead(self, write: Write, time: float) -> bool:
        return time >= write.expires_at - self._skew_s - _EPSILON_S

    # -- snapshots

    def _judge_residents(self, snapshot: Snapshot, slots: dict[Slot, list[Write]]) -> Iterator[Violation]:
        late = snapshot.time - self._sweep_s - self._skew_s
        for copy in snapshot.copies:
            if copy.has_value and copy.expires_at < late:
                yield Violation("expiry", snapshot.time, f"node {copy.node} keeps {copy.slot}, which ended at {copy.expires_at:.3f}")
            if not _is_known(copy, slots[copy.slot]):
                yield Violation("no_phantom", snapshot.time, f"node {copy.node} holds a version of {copy.slot} that nobody wrote")

    def _judge_tables(self, snapshot: Snapshot) -> Iterator[Violation]:
        accuracy: list[float] = []
        for table in snapshot.tables:
            known = {node for nodes in table.buckets.values() for node in nodes}
            if strangers := known & snapshot.clients:
                yield Violation("tables", snapshot.time, f"node {table.node} has clients {sorted(strangers)} in its table")
            there: dict[int, set[int]] = defaultdict(set)
            for node, position in snapshot.servers.items():
                if node != table.node:
                    there[_KEY_BITS - (position ^ table.position).bit_length()].add(node)
            for index, nodes in sorted(there.items()):
                if not nodes & set(table.buckets.get(index, ())):
                    yield Violation("tables", snapshot.time, f"bucket {index} of node {table.node} lacks {sorted(nodes)[:5]}")
            others = [node for node in snapshot.servers if node != table.node]
            near = sorted(others, key=lambda node: snapshot.servers[node] ^ table.position)[: self._replicas]
            if near:
                accuracy.append(len(known & set(near)) / len(near))
        if accuracy and sum(accuracy) / len(accuracy) < self._bounds.accuracy:
            yield Violation("tables", snapshot.time, f"of the nearest servers only {sum(accuracy) / len(accuracy):.1%} are known")

    def _judge_ring(self, snapshot: Snapshot) -> Iterator[Violation]:
        order = sorted(snapshot.servers, key=lambda node: snapshot.servers[node])
        mode = "ring" if len(order) >= self._r + 2 else "forming"
        stands = {stand.node: stand for stand in snapshot.stands}
        for index, node in enumerate(order if stands else ()):
            around = [*order[index + 1 :], *order[:index]]
            stand = stands[node]
            true = Stand(node, mode, around[-1] if around else None, tuple(around[: self._r]), stand.known)
            if stand != true:
                yield Violation("ring", snapshot.time, f"{_place(stand)}, but belongs {_place(true)}")
            if strangers := stand.known & snapshot.clients:
                yield Violation("ring", snapshot.time, f"node {node} names clients {sorted(strangers)}")

    def _judge_load(self, load: Load, time: float) -> Iterator[Violation]:
        for name in ("requests", "timers", "contacts", "counted"):
            value, bound = getattr(load, name), getattr(self._bounds, name)
            if value > bound:
                yield Violation("bounded", time, f"node {load.node} has {value} {name}, over {bound}")


_Span = tuple[float, frozenset[int], frozenset[int]]
"""From when on: the guardians awake, and the servers on the other side."""


class _Guards:
    """Who keeps each acknowledged write, as crashes, leaves and quiet rounds follow it."""

    def __init__(self, events: Sequence[Event], closest: Closest, replicas: int) -> None:
        self._events = sorted(events, key=lambda event: event.time)
        self._closest = closest
        self._replicas = replicas
        self._spans: dict[int, list[_Span]] = {}  # by write

    def hold(self, write: Write, time: float, node: int | None = None) -> bool:
        """Whether the promise of a write holds for a reader: a guardian lives, on the reader's side where the network is in two.

        A guardian that is asleep with its disk keeps the write, for later.
        """
        spans = self._spans.get(id(write))
        if spans is None:
            spans = self._spans[id(write)] = self._follow(write)
        awake, away = frozenset[int](), frozenset[int]()
        for since, guardians, other_side in spans:
            if since > time:
                break
            awake, away = guardians, other_side
        if node is None or not away:
            return bool(awake)
        return any((guardian in away) == (node in away) for guardian in awake)

    def _follow(self, write: Write) -> list[_Span]:
        awake, asleep, away = frozenset(write.acked), set[int](), frozenset[int]()
        healed = True
        spans: list[_Span] = [(write.start, awake, away)]
        for event in self._events:
            done = write.end <= event.time
            match event:
                case Cut(away=side):
                    away, healed = side, False
                case Healed():
                    healed = True
                case Quiet(live=live):
                    away = frozenset() if healed else away
                    if awake and done:
                        awake = frozenset(self._closest(write.slot, live, self._replicas))
                case Crash(node=node, disk_lost=lost) if event.time >= write.start:
                    if lost:
                        asleep.discard(node)
                    elif node in awake:
                        asleep.add(node)
                    awake -= {node}
                case Back(node=node, with_disk=with_disk) if node in asleep:
                    asleep.discard(node)
                    awake |= {node} if with_disk else set()
                case Left(node=node, complete=complete, live=live) if event.time >= write.start:
                    if complete and node in awake and done:
                        awake |= set(self._closest(write.slot, live, self._replicas))
                    awake -= {node}
            spans.append((max(event.time, write.start), awake, away))
            if not awake and not asleep:
                break
        return spans


def _version(write: Write) -> Version:
    return write.version or _OLDEST


def _may_stand(write: Write) -> bool:
    return write.outcome is not Outcome.NOT_WRITTEN


def _end_fits(write: Write, expires_at: float) -> bool:
    later = expires_at - write.expires_at if expires_at != write.expires_at else 0.0
    return write.version is None or (later > -1e-3 and (write.renewable or later < 1e-3))


def _is_known(copy: Copy, writes: list[Write]) -> bool:
    return any(_may_stand(write) and write.version in (None, copy.version) for write in writes)


def _tell(result: Found | Absence) -> str:
    return result.value if isinstance(result, Absence) else f"{result.value!r}, unconfirmed,"


def _place(stand: Stand) -> str:
    return f"node {stand.node} ({stand.mode}) between {stand.predecessor} and {list(stand.successors)}"


def _name(write: Write) -> str:
    what = "deleted" if write.value is None else f"= {write.value!r}"
    return f"{write.slot} {what} by node {write.node} at {write.end:.3f}, acknowledged by {list(write.acked)}"
