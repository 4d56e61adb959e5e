"""A network of Chord nodes that is looked at after every event: Zave's invariant while all are on the ring, the maps while it forms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from peerstack_chord import ring
from peerstack_chord.maintenance import Ring
from peerstack_chord.messages import JoinReply, StateReply, Verdict
from peerstack_chord.ring import Member, Mode, State
from peerstack_chord.successors import SuccessorList

from peerstack.testing.message_network import MessageEndpoint
from peerstack.testing.virtual_time import Timer
from tests.sim.chord_network import SimulatedChord

__all__ = ["RingBroken", "WatchedChord"]

_PROPERTIES = (ring.one_live_successor, ring.no_duplicates, ring.ordered_successor_lists, ring.one_ordered_ring, ring.connected_appendages)


class RingBroken(AssertionError):
    """An invariant of the ring does not hold."""


@dataclass(slots=True)
class _Event:
    """What the loop calls: it happens, and is looked at."""

    network: WatchedChord
    callback: Callable[..., object]

    def __call__(self, *args: Any) -> None:
        self.callback(*args)
        self.network.look()


class WatchedChord(SimulatedChord):
    """Looks at everybody after each message that arrives and each timer that ends.

    Attributes:
        looks: How often all were on the ring, and how often all were forming it, when it was looked at: an invariant that was never looked
            at proves nothing.
        broken: What did not hold, and when; empty if all did.
    """

    def watch_events(self) -> None:
        """Begin to look."""
        self.looks: dict[Mode, int] = dict.fromkeys(Mode, 0)
        self.broken: list[str] = []
        self._last: Sequence[tuple[State, object]] = []
        loop = self.messages.loop
        schedule = loop.schedule

        def watched(delay: float, callback: Callable[..., object], *args: Any) -> Timer:
            return schedule(delay, _Event(self, callback), *args)

        loop.schedule = watched  # type: ignore[method-assign]

    @property
    def rings(self) -> list[Ring]:
        """Everybody's part in the ring."""
        return [node.node.ring for node in self.nodes if node.is_up]

    def look(self) -> None:
        """Note what does not hold. A ring is judged only while all of its members are in the same mode."""
        members = [each for each in self.rings if each.place.is_member]
        states = [each.place.state() for each in members]
        forming = [each._transitions.forming for each in members]
        seen = [(state, part and part.map.entries) for state, part in zip(states, forming, strict=True)]
        if seen == self._last or self.broken:
            return
        self._last = seen
        modes = {state.mode for state in states}
        if modes == {Mode.RING}:
            self.looks[Mode.RING] += 1
            wrong = [each.__name__ for each in _PROPERTIES if not each(states)]
            if not ring.sufficient_principals(states, self.parameters.r):
                wrong.append("sufficient_principals")
        else:
            self.looks[Mode.FORMING] += modes == {Mode.FORMING}
            wrong = self._missing_on_maps(members)
        if wrong:
            self.broken.append(f"at {self.messages.loop.time():.3f} s: {', '.join(wrong)}\n{_show(states)}")

    def bears(self, victims: Collection[int]) -> bool:
        """Whether these may crash at once by what Zave assumes: everybody keeps a live successor, and r + 1 are skipped by nobody.

        What answers under way will make of lists counts as well. While all are forming anybody may crash.
        """
        if {each.mode for each in self.rings} == {Mode.FORMING}:
            return True
        dying = {self.nodes[number].contact.key for number in victims}
        states = [each.place.state() for each in self.rings if each.place.is_member and each.place.own.key not in dying]
        lists = [state.extended for state in states] + [each for each in self._becoming() if each[0].key not in dying]
        live = {state.member for state in states}
        keeps = all(any(entry in live for entry in extended[1:]) for extended in lists)
        return keeps and len(ring.principals(states, lists)) > self.parameters.r

    def _becoming(self) -> list[tuple[Member, ...]]:
        by_key = {each.place.own.key: each.place for each in self.rings}
        found: list[tuple[Member, ...]] = []
        for _when, _number, event, args in self.messages.loop._timers:
            exchange = getattr(getattr(event, "callback", None), "__self__", None)
            reply, source = (args or (None,))[0], getattr(exchange, "_source", None)
            if not isinstance(source, MessageEndpoint) or not isinstance(reply, StateReply | JoinReply):
                continue
            place = by_key.get(self.by_peer[source.peer_id].contact.key)
            if place is None or (isinstance(reply, JoinReply) and reply.verdict is not Verdict.JOINED):
                continue
            becoming = SuccessorList(place.own.key, place.r)
            if isinstance(reply, StateReply):
                becoming.adopt(reply.state.member, reply.state.successors)
            else:
                becoming.copy(reply.state.successors)
            if place.mode is not Mode.FORMING and len(becoming):
                found.append((place.own, *becoming))
        return found

    def _missing_on_maps(self, members: Sequence[Ring]) -> list[str]:
        """While the ring forms, every live member's map holds every live member whose join completed."""
        forming = [(each.place.own, each._transitions.forming) for each in members]
        confirmed = [(own, part.map.live) for own, part in forming if part is not None and part.confirmed]
        return [
            f"the map of {own.key:x} lacks {other.key:x}"
            for own, on_its_map in confirmed
            for other, _ in confirmed
            if other not in on_its_map
        ]


def _show(states: Sequence[State]) -> str:
    return "\n".join(
        f"{state.member.key >> 240:04x}/{state.member.incarnation} {state.mode.name} after "
        f"{'nobody' if state.predecessor is None else f'{state.predecessor.key >> 240:04x}'}: "
        + " ".join(f"{entry.key >> 240:04x}/{entry.incarnation}" for entry in state.successors)
        for state in sorted(states, key=lambda state: state.member.key)
    )
