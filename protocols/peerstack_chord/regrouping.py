"""From the ring back to forming: a ring that has shrunk to r + 1 members is formed anew, by who has asked them all. Over the seam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from peerstack.dht.replica.messages import Reply
from peerstack_chord.asking import Asker
from peerstack_chord.messages import Entry, GetState, Status
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, Mode
from peerstack_chord.stabilising import alive

__all__ = ["Regrouping"]

_MAX_PER_PLACE: Final = 4  # nodes asked, for each of the r + 2 that are too many


class Regrouping:
    """Asks everybody around whether the ring is small.

    It asks our neighbours, and whoever they name, until nobody unasked is left (it is small, and these are all) or more than r + 1 are
    known to live and to stay. Of two who leave at once, one at least is told of the other: each says that it leaves before it asks.
    So however many find the ring large enough and go, the last of them to begin counted none of the others: r + 2 stay.

    Args:
        place: Whose.
        asker: Asks.
        small: Called with the map of all members if at most r + 1 stay.
        large: Called if there are more.
        met: Called with all members, few or many, if we form a ring already: those who joined the ring of before are new to us.

    Attributes:
        staying: Others that lived and were not about to leave when they were asked last.
    """

    def __init__(
        self,
        place: Place,
        asker: Asker,
        small: Callable[[tuple[Entry, ...], int], None],
        large: Callable[[], None],
        met: Callable[[tuple[Entry, ...]], None],
    ) -> None:
        self._place = place
        self._asker = asker
        self._small = small
        self._large = large
        self._met = met
        self._running = False
        self._mode = Mode.OUTSIDE  # in which it began
        self._run = 0  # answers to an earlier one do not count
        self._leaving: set[Member] = set()
        self._era = 0
        self._asked: set[int] = set()
        self._waiting = 0
        self._entries: list[Entry] = []
        self.staying: tuple[Member, ...] = ()

    def begin(self, named: Iterable[Member] = (), era: int = 0, leaving: Iterable[Member] = ()) -> None:
        """Begin to ask, unless it is under way.

        Args:
            named: Whom to ask beside our own neighbours.
            era: In which somebody else is forming already.
            leaving: Who is about to leave.
        """
        self._era = max(self._era, era)
        self._leaving.update(leaving)
        if self._running or self._place.mode is Mode.OUTSIDE:
            return
        self._running = True
        self._mode = self._place.mode
        self._run += 1
        self._waiting = 0
        self._asked = {self._place.own.key}
        self._entries = []
        self._ask((*self._place.neighbours, *named))
        self._judge()

    def leave(self) -> None:
        """Begin to ask in order to leave; anew, since whoever was asked before was not told that we do."""
        self._running = False
        self.begin(leaving=[self._place.own])

    def _ask(self, members: Iterable[Member]) -> None:
        for member in members:
            if member.key in self._asked or len(self._asked) > _MAX_PER_PLACE * (self._place.r + 2):
                continue
            self._asked.add(member.key)
            self._waiting += 1
            self._asker.ask(member.contact, GetState(), partial(self._answered, self._run, member))

    def _answered(self, run: int, member: Member, reply: Reply | None) -> None:
        if run != self._run:
            return
        self._waiting -= 1
        state = alive(member, reply)
        if state is None:
            self._entries.append(Entry(member, Status.GONE))
        else:
            if state.leaving:
                self._leaving.add(state.member)
            self._entries.append(self._entry(state.member))
            if self._mode is Mode.FORMING or not self._is_large:
                self._ask(state.neighbours)
        self._judge()

    def _entry(self, member: Member) -> Entry:
        return Entry(member, Status.LEAVING if member in self._leaving else Status.UP)

    @property
    def _is_large(self) -> bool:
        staying = sum(entry.status is Status.UP for entry in (*self._entries, self._entry(self._place.own)))
        return staying > self._place.r + 1

    def _judge(self) -> None:
        if not self._running or self._waiting:
            return
        self._running = False
        era, self._era = self._era, 0
        is_large, entries = self._is_large, (*self._entries, self._entry(self._place.own))
        self._leaving.clear()
        self.staying = tuple(entry.member for entry in self._entries if entry.status is Status.UP)
        if self._place.mode is not self._mode:
            return
        if self._mode is Mode.FORMING:
            self._met(tuple(self._entries))
        elif is_large:
            self._place.advance(era)  # tells whoever forms that there are too many of us
            self._large()
        else:
            self._small(entries, max(self._place.era + 1, era))
