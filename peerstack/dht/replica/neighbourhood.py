"""Whom this node counts as responsible for a key, and whether its own word on it counts. Pure.

A key's responsible set S is its `replicas` closest servers *counted*, which is not the same as the routing table: a server is counted from
the step in which it was handed what it has to hold (or was found in authority), and until it left in order, or until it was silent for
`forget_s` and the rest exchanged once what they hold. So no set changes hands faster than the records do.

Authority: a node that is *settled* speaks for every key it is responsible for among all it counts. One that takes over (join, restart, cut
off for too long) speaks for a key once a majority of the key's set has handed over, with authority themselves; it is settled once everybody
counted who is not gone has handed over, with authority or without. That last rule also ends the restart of every node at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.quorum import majority
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.geometry import Geometry, closest

__all__ = ["Member", "Neighbourhood", "members_wanted"]


_MAX_DEPARTED: Final = 1024


_SIZE: Final = 5  # times the replicas: S/Kademlia's sibling list


def members_wanted(parameters: NetworkParameters) -> int:
    """How many servers a node counts around itself, where there are so many."""
    return max(_SIZE * parameters.replicas, parameters.k)


@dataclass(slots=True, eq=False)
class Member:
    """A server that is counted."""

    contact: Contact
    last_heard: float
    gone: bool = False
    """Silent for too long: no more waited for, counted until the exchange that follows is over."""
    remembered: bool = False
    """Counted by an earlier run, and not heard of since."""
    unanswered: int = 0
    """Pings in a row since it was heard of."""
    asked_at: float = float("-inf")
    """When the last of them was sent."""
    missed: bool = False
    """Asked by this run for what it has to hand over, in vain, where it is remembered."""
    denied_by: frozenset[int] = frozenset()
    """Sources in authority that count it no more, where it is remembered."""


_LOOKS: Final = 10  # at all members, in the time after which a silent one is pinged
_LAST_HEARD: Final = attrgetter("last_heard")


class Neighbourhood:
    """The servers counted around one node.

    Attributes:
        own: This node.
        geometry: Who is close to what.
        settled: Whether its word counts for all it is responsible for.
        members: Everybody counted, itself left out, by position.
        counted: Whether others may count this node already (it restarted): then it stands in the sets it takes over, without a vote.
        new: Whether this node was never settled, and remembers nobody: all that it counts it has from those it is taking over from.
    """

    def __init__(self, own: Contact, geometry: Geometry, *, replicas: int, size: int) -> None:
        """Start without anybody.

        Args:
            own: This node.
            geometry: Who is close to what.
            replicas: Servers responsible for a key.
            size: Members wanted: whom the geometry finds too far away beside so many is let go.
        """
        self.own = own
        self.geometry = geometry
        self.replicas = replicas
        self.size = size
        self.settled = False
        self.counted = False
        self.new = True
        self.members: dict[int, Member] = {}
        self._handed_over: dict[int, bool] = {}  # who handed over in the present take-over -> with authority
        self._concerned: frozenset[int] | None = None  # who is asked in the present take-over; None: everybody
        self._taking_over = False
        self._around = geometry.survey(own.key, self.members, replicas=replicas, size=size)
        self._quiet: list[Member] = []  # who may have to be pinged before all are looked through again
        self._looked_at = float("-inf")
        self._departed: dict[int, float] = {}  # who left in order, and when; the last one last

    def responsible(self, position: int) -> list[Contact]:
        """S of a key, closest first."""
        members, own = self.members, self.own
        own_key = own.key
        found = closest(self.geometry, [*members, own_key], position, self.replicas)
        return [own if key == own_key else members[key].contact for key in found]

    def knows(self, position: int) -> bool:
        """Whether a key lies so near that all who may be responsible are counted; of what lies beyond, others hold whole sets."""
        return self._around.knows(position)

    def keeps(self, position: int, count: int) -> bool:
        """Whether this node is one of the `count` closest to a key."""
        return self.knows(position) and (len(self.members) < count or self.rank_of(self.own.key, position) < count)

    def rank_of(self, key: int, position: int) -> int:
        """How many of those counted are closer to a position than the server at `key`."""
        distance = self.geometry.distance_from(position)
        farther_than = distance(key).__gt__
        return sum(map(farther_than, map(distance, self.members))) + farther_than(distance(self.own.key))

    def is_authoritative(self, position: int) -> bool:
        """Whether this node's word on a key counts."""
        if not self.keeps(position, self.replicas):
            return False
        return self.settled or (self._taking_over and self._has_majority(position))

    def is_near(self, key: int) -> bool:
        """Whether a server at `key` would be kept as a member."""
        return key in self.members or self._around.is_near(key)

    def region(self) -> int:
        """All positions that this node may have to hold, as its `Pull` names them."""
        return self._around.region

    def count_in(self, contact: Contact, heard_at: float, *, hearsay: bool = False) -> bool:
        """Count a server from now on, or note a sign of life of one that is counted.

        Args:
            contact: The server.
            heard_at: When it was last heard of, by us or whoever names it; what is older than its leave does not bring it back.
            hearsay: Whether somebody else names it: that does not bring back who left in order.

        Returns:
            Whether it is new.
        """
        key = contact.key
        member = self.members.get(key)
        if member is not None:
            if not hearsay and heard_at >= self._departed.get(key, heard_at):
                self._departed.pop(key, None)
            self.heard(key, heard_at, contact)
            return False
        if key == self.own.key or not self.is_near(key):
            return False
        if key in self._departed and (hearsay or heard_at < self._departed[key]):
            return False
        self._departed.pop(key, None)
        self.members[key] = Member(contact, heard_at)
        self._draw_horizon()
        return key in self.members

    def count_out(self, key: int, now: float) -> None:
        """No more count a server: it left in order, after handing over."""
        self.depart(key, now)
        self.members.pop(key, None)
        self._handed_over.pop(key, None)
        self._draw_horizon()

    def depart(self, key: int, now: float) -> None:
        """Note that a server left, by its own word: nobody else's counts it in again."""
        self._departed.pop(key, None)
        self._departed[key] = now
        if len(self._departed) > _MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]

    def heard(self, key: int, now: float, contact: Contact | None = None) -> None:
        """Note a sign of life. Who left in order may still give some, until it is gone: only taking over again brings it back.

        Args:
            key: Whose.
            now: The clock.
            contact: How it is reached by now. A newcomer is counted when it first asks, which may be before it has said where it listens,
                and whom we name without an address others cannot ask.
        """
        member = self.members.get(key)
        if member is not None and contact is not None and contact.addresses:
            member.contact = contact
        if member is not None and key not in self._departed:
            member.last_heard = max(member.last_heard, now)
            member.unanswered = 0
            member.gone = False
            member.remembered = False

    def remember(self, contact: Contact, heard_at: float) -> None:
        """Count whom an earlier run counted: what was acknowledged before may be held by nobody else."""
        if self.count_in(contact, heard_at):
            self.members[contact.key].remembered = True
            self.counted = True
            self.new = False

    def compare(self, source: int, named: Collection[int]) -> None:
        """Count remembered members no more that those in authority have stopped to count while this node was down.

        Only those who were asked and have not answered: who is alive may be a newcomer, which those have not begun to count.

        Args:
            source: Who handed over, in authority.
            named: Everybody it counts, itself included.
        """
        remembered = [member for member in self.members.values() if member.remembered]
        counts = self.geometry.reach(source, named, self.size)
        for member in remembered:
            key = member.contact.key
            if key not in named and counts(key):
                member.denied_by |= {source}
        self._let_go_of_denied()

    def miss(self, key: int) -> None:
        """Note that a member was asked to hand over, and has not."""
        member = self.members.get(key)
        if member is not None and member.remembered:
            member.missed = True
            self._let_go_of_denied()

    def silent_since(self, before: float) -> list[Member]:
        """Members not gone and not heard of since `before`, the longest silent first."""
        silent = [member for member in self.members.values() if member.last_heard < before and not member.gone]
        return sorted(silent, key=_LAST_HEARD)

    def unlearn(self, before: float) -> bool:
        """Of a new node: count no more who was not heard of since `before`, to begin anew. Those asked then may name them again.

        Who is new owes nothing to anybody yet, and a newcomer is told who is counted by those in authority. So one of them has to be there,
        lest the last ones to join pass for the network.

        Returns:
            Whether there were any.
        """
        silent = [key for key, member in self.members.items() if member.last_heard < before]
        if not self.new or not any(authoritative and key not in silent for key, authoritative in self._handed_over.items()):
            return False
        for key in silent:
            del self.members[key]
        self._draw_horizon()
        return bool(silent)

    def to_ping(self, now: float, *, silence: float, first_pause: float, limit: int) -> list[Contact]:
        """Whom to ask for a sign of life: the longest silent, but who did not answer after a pause, each time twice as long.

        Without the pauses a few dead members would be asked over and over until they are forgotten, and the living ones too late.

        Args:
            now: The clock.
            silence: Seconds of silence after which a member is asked, and the longest pause.
            first_pause: The shortest one.
            limit: How many at most; they count as asked.
        """
        if now >= self._looked_at + silence / _LOOKS:
            self._looked_at = now
            before = now - silence + silence / _LOOKS
            self._quiet = [member for member in self.members.values() if member.last_heard < before]
        due = [
            member
            for member in self._quiet
            if member.last_heard < now - silence
            and not member.gone
            and self.members.get(member.contact.key) is member
            and (not member.unanswered or now - member.asked_at >= min(silence, first_pause * 2 ** (member.unanswered - 1)))
        ]
        due = sorted(due, key=_LAST_HEARD)[:limit]
        for member in due:
            member.unanswered += 1
            member.asked_at = now
        return [member.contact for member in due]

    def reaches_majority(self, since: float) -> bool:
        """Whether more than half of the servers counted and not gone, this one included, were heard of since then."""
        heard = [member.last_heard >= since for member in self.members.values() if not member.gone]
        return 2 * (sum(heard) + 1) > len(heard) + 1

    def begin_takeover(self, *, settled: bool) -> None:
        """Begin to collect from everybody counted.

        Args:
            settled: Whether the word of this node keeps its weight meanwhile (members are gone, nothing else happened).
        """
        self.settled = settled
        self._taking_over = True
        self._handed_over = {}
        self._concerned = None
        if settled:  # only sets that lose a member change: who stands in one with it has to hear from the others there
            gone = [key for key, member in self.members.items() if member.gone]
            self._concerned = frozenset(self._around.sharing(gone))

    def handed_over(self, key: int, *, authoritative: bool) -> None:
        """Note that a member handed over all it holds for this node, and that it was merged."""
        if self._taking_over:
            self._handed_over[key] = authoritative

    def awaited(self) -> list[Contact]:
        """Members whose handing over is still waited for."""
        asked = self.members if self._concerned is None else self._concerned
        return [m.contact for key, m in self.members.items() if key not in self._handed_over and key in asked and not m.gone]

    def end_takeover(self, gone: Iterable[int] = ()) -> bool:
        """Be settled: everybody has handed over.

        Args:
            gone: Who was gone when it began, and is no more counted now.

        Returns:
            Whether majorities were certain everywhere; otherwise it was everybody left who handed over.
        """
        asked = [key for key in self.members if self._concerned is None or key in self._concerned]
        lacking = len(asked) - sum(self._handed_over.get(key, False) for key in asked)
        size = min(self.replicas, len(self.members) + self.counted)
        certain = lacking + self.counted <= size - majority(size)
        for key in gone:
            member = self.members.get(key)
            if member is not None and member.gone:
                del self.members[key]
        self._draw_horizon()
        self.settled = True
        self.counted = True
        self.new = False
        self._taking_over = False
        self._handed_over = {}
        return certain

    @property
    def taking_over(self) -> bool:
        """Whether a take-over is under way."""
        return self._taking_over

    def _let_go_of_denied(self) -> None:
        left = sum(not member.denied_by for member in self.members.values())
        enough = majority(min(self.replicas, left))
        for key, member in list(self.members.items()):
            if member.remembered and member.missed and len(member.denied_by) >= enough:
                del self.members[key]
        self._draw_horizon()

    def _draw_horizon(self) -> None:
        """Let go of whoever is too far away now."""
        self._around = self.geometry.survey(self.own.key, self.members, replicas=self.replicas, size=self.size)
        for key in self._around.beyond:
            del self.members[key]

    def _has_majority(self, position: int) -> bool:
        candidates = [*self.members, self.own.key] if self.counted else list(self.members)
        entered = closest(self.geometry, candidates, position, self.replicas)
        votes = sum(self._handed_over.get(key, False) for key in entered)
        return bool(entered) and votes >= majority(len(entered))
