"""The ring while it is small: everybody knows everybody, from a map that all merge alike.

Chord's invariant needs r + 1 members to begin with. Up to then, and until the next one is known to all, every member keeps a map, see
`member_map`. A live member that finds itself gone begins a higher life. Where everybody stands follows from the sorted map.

Whenever the map changes everybody is told. While all is quiet each one asks the next alone, clockwise, naming the map by its digest.

A node has joined when everybody on the map confirmed it, by answering with the newcomer on its own map; then it says that it is up. When
at least r + 2 are up and all who live confirmed the very same map, the ring has formed, and each is told so by whoever it asks next. Who
is still joining then confirms, but is not counted: nobody's list may depend on a node that does not answer as a member.

A node that leaves says so, and stays until everybody on the map has answered that as a member of the ring that forms: from then on any
number may go. So nobody who stands on a ring of r + 2 is left with too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peerstack.dht.replica.messages import Reply
from peerstack_chord.asking import Asker
from peerstack_chord.member_map import MAP_ENTRIES_PER_PLACE, MemberMap
from peerstack_chord.messages import Entry, ExchangeMap, MapReply, Status
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, Mode, clockwise

__all__ = ["Forming", "FormingCalls"]


@dataclass(slots=True)
class FormingCalls:
    """What a `Forming` tells its node."""

    formed: Callable[[], None]
    """The ring has formed: all of at least r + 2 members confirmed one map, or somebody says so."""
    joined: Callable[[], None]
    """Every live member confirmed us."""
    alone: Callable[[], None]
    """No member is left who could confirm us."""
    buried: Callable[[Member], None]
    """A life is over."""
    left: Callable[[], None]
    """Nobody needs us any more, after `Forming.leave`."""


class Forming:
    """One member's part in a ring that forms.

    Args:
        place: Whose.
        asker: Asks.
        calls: What it tells its node.

    Attributes:
        map: The map.
        confirmed: Whether we are a member: everybody has us on its map.
        leaving: Whether we said that we leave.
    """

    def __init__(self, place: Place, asker: Asker, calls: FormingCalls) -> None:
        self.map = MemberMap(MAP_ENTRIES_PER_PLACE * (place.r + 2), place.believes)
        self.confirmed = False
        self.leaving = False
        self._place = place
        self._asker = asker
        self._calls = calls
        self._version = 0
        self._since = 0  # the version in which we first said of ourselves what we say now
        self._acknowledged: dict[Member, int] = {}  # the version of our map that a member has on its own
        self._asking: set[int] = set()
        self._live: set[Member] = set()
        self._insisted = False
        self._came_over = False
        self._ended = False

    @property
    def others(self) -> list[Member]:
        """The members but for ourselves."""
        return [member for member in self.map.members if member.key != self._place.own.key]

    @property
    def is_full(self) -> bool:
        """Whether the ring can form once all have joined: who comes now waits until it has."""
        return len(self.map.live) >= self._place.r + 2

    @property
    def lets_in(self) -> bool:
        """Whether we let anybody in; else they have to wait, so that those already here may hear of us first.

        Who comes over from a ring is a member without having been confirmed. Until all who live have its map, there may be a member that it
        does not know: whoever it let in would not know that one either, and nobody would stop it from joining.
        """
        return not self._came_over

    def begin(self, era: int, entries: Iterable[Entry], *, confirmed: bool, leaving: bool = False) -> None:
        """Begin with a map, as one who joins, or as a member that comes over from a ring, or that leaves it."""
        self.confirmed = self._came_over = confirmed
        self.leaving = leaving
        self._place.advance(era)
        self.map.merge(entries)
        self._changed()

    def leave(self) -> None:
        """Say that we leave; `left` is called once everybody answered that as a member of the ring that forms."""
        if not self.leaving:
            self.leaving = True
            self._changed()

    def end(self) -> None:
        """Take no part any more; answers that are under way are not read."""
        self._ended = True

    def merge(self, entries: Iterable[Entry], era: int = 0) -> None:
        """Take in what somebody else knows, and tell everybody what is new."""
        before = self._place.era
        self._place.advance(era)
        is_later = self._place.era != before
        if is_later:
            self._acknowledged.clear()  # whoever has been on a ring since has forgotten its map
        if self.map.merge(entries) or is_later:
            self._changed()

    def notified(self, member: Member) -> bool:
        """A member of the ring that was here before takes us for its successor: whether it is on the map, or on the way there.

        If we take it for gone, it has yet to hear that: we ask it, and it begins a higher life.
        """
        if member not in self.map:
            return False
        if all(live.key != member.key for live in self.map.live):
            self._ask(member)
        return True

    def round(self) -> None:
        """Tell the map to everybody who has yet to confirm it, and ask who stands next: each that lives is watched by the one before it."""
        peers = self._peers()
        nearest = min(peers, key=lambda member: clockwise(self._place.own.key, member.key), default=None)
        for member in peers:
            if member is nearest or not self._is_told(member):
                self._ask(member)

    @property
    def _status(self) -> Status:
        if self.leaving:
            return Status.LEAVING
        return Status.UP if self.confirmed else Status.JOINING

    def _peers(self) -> list[Member]:
        return [member for member in self.map.live if member.key != self._place.own.key]

    def _is_told(self, member: Member) -> bool:
        return self._acknowledged.get(member) == self._version

    def _changed(self) -> None:
        self._speak_for_ourselves()
        self._version += 1
        live = set(self.map.live)
        lost, self._live = self._live - live, live
        self._acknowledged = {member: version for member, version in self._acknowledged.items() if member in live}
        self._arrange()
        for member in sorted(lost, key=lambda each: each.key):
            if member.key != self._place.own.key:
                self._calls.buried(member)
        self.round()
        self._judge()

    def _speak_for_ourselves(self) -> None:
        """Say how we stand; whoever says that we went further, or lived longer, is told of a higher life."""
        own = self._place.own
        entry = self.map.get(own.key)
        if entry is not None and (entry.status > self._status or entry.member.incarnation > own.incarnation):
            self._place.live_again(above=entry.member.incarnation)
        if self.map.merge((Entry(self._place.own, self._status),)):
            self._since = self._version + 1

    def _arrange(self) -> None:
        if self.confirmed:
            self._place.arrange(Mode.FORMING, self._place.era, self.map.members)

    def _ask(self, member: Member) -> None:
        if member.key in self._asking or self._ended:
            return
        self._asking.add(member.key)
        version = self._version
        told = self._is_told(member)
        digest = self.map.digest if told else b""
        request = ExchangeMap(self._place.era, () if told else self.map.entries, digest)
        self._asker.ask(member.contact, request, lambda reply: self._answered(member, version, digest, reply))

    def _answered(self, member: Member, version: int, digest: bytes, reply: Reply | None) -> None:
        self._asking.discard(member.key)
        if self._ended:
            return
        if isinstance(reply, MapReply) and reply.mode is Mode.RING:
            if version == self._version:
                self._heard_of_ring(reply.era)
                return  # else it was said to another map, which may have had members that are gone by now: ask again
        elif isinstance(reply, MapReply) and reply.digest != digest and reply.digest:
            self._acknowledged.pop(member, None)
            self.merge((), reply.era)
        elif isinstance(reply, MapReply):
            if reply.era >= self._place.era:
                self._acknowledged[member] = max(version, self._acknowledged.get(member, 0))
            self.merge(reply.entries, reply.era)
        else:
            self.merge((Entry(member, Status.GONE),))
        peer = next((other for other in self._peers() if other.key == member.key), None)
        if peer is not None and not self._is_told(peer):
            self._ask(peer)
        self._judge()

    def _heard_of_ring(self, era: int) -> None:
        """Somebody stands on the ring that we form.

        If too few would stay but for those about to leave, whom we may have told that we form the ring without them, we go on forming, in
        the next era. We insist on that once: a ring that is in that era too was asked, and has enough who stay.
        """
        if era < self._place.era:
            return  # it has yet to notice how small the ring is
        staying = len(self.map.up)
        if self.confirmed and not self._insisted and staying < min(len(self.map.members), self._place.r + 2):
            self._insisted = True
            self.merge((), era + 1)
        else:
            self._calls.formed()

    def _judge(self) -> None:
        """See whether we are confirmed, may leave, and whether the ring has formed."""
        if self._ended:
            return
        if all(map(self._is_told, self._peers())):
            self._came_over = False
        heard_by_all = all(self._acknowledged.get(member, -1) >= self._since for member in self._peers())
        if self.leaving:
            if heard_by_all:
                self._calls.left()
        elif not self.confirmed:
            if not self.others:
                self._calls.alone()
            elif heard_by_all:
                self.confirmed = True
                self._changed()
                self._calls.joined()
        else:
            is_enough = len(self.map.up) >= self._place.r + 2
            if is_enough and all(map(self._is_told, self._peers())):  # joiners too: they may be members by then, and skip nobody
                self._calls.formed()
