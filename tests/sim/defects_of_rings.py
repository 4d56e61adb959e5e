"""Defects of rings, each as a patch of ours. Most were read in DCsunset/chord-dht; see `defects`."""

from __future__ import annotations

from typing import Any

from peerstack_chord.messages import GetState, NotMember, StateReply
from peerstack_chord.ring import Mode, State

from tests.sim.defect import Patch

__all__ = [
    "fingers_stay",
    "join_empty_handed",
    "never_not_member",
    "no_hop_bound",
    "predecessor_unchecked",
    "silent_without_predecessor",
    "sixteen_slots",
    "unreachable_ends_a_read",
    "upkeep_runs_once",
]


def upkeep_runs_once(patch: Patch) -> None:
    real = patch.real("Ring.stabilise")

    def stabilise(self: Any) -> None:
        if not self.__dict__.setdefault("kept_up", False):
            self.kept_up = self.place.is_member
            real(self)

    patch.set("Ring.stabilise", stabilise)


def predecessor_unchecked(patch: Patch) -> None:
    patch.set("Rectifier.check", lambda _self, _present: None)


def silent_without_predecessor(patch: Patch) -> None:
    real_answered, real_enter = patch.real("Stabiliser.first_answered"), patch.real("Place.enter")

    def enter(self: Any, era: int, _predecessor: Any, successors: Any) -> None:
        real_enter(self, era, None, successors)

    def answered(self: Any, first: Any, version: int, state: Any) -> None:
        if state is not None and state.predecessor is None:
            self._end(again=False)
        else:
            real_answered(self, first, version, state)

    patch.set("Place.enter", enter)
    patch.set("Stabiliser.first_answered", answered)


def join_empty_handed(patch: Patch) -> None:
    real = patch.real("take_over")

    def take_over(self: Any, *, settled: bool) -> None:
        if settled:
            real(self, settled=settled)
            return
        self.engine.hood.begin_takeover(settled=False)
        self.engine.hood.end_takeover()
        self._changed()

    patch.set("take_over", take_over)
    patch.set("hand_to", lambda _self, _contact: None)


def unreachable_ends_a_read(patch: Patch) -> None:
    real_failure, real_done = patch.real("RingLookup.on_failure"), patch.real("RingLookup.done")
    aborted: set[int] = set()

    def on_failure(self: Any, *arguments: Any, **named: Any) -> None:
        aborted.add(id(self))
        real_failure(self, *arguments, **named)

    patch.set("RingLookup.on_failure", on_failure)
    patch.set("RingLookup.done", property(lambda self: id(self) in aborted or real_done.fget(self)))


def fingers_stay(patch: Patch) -> None:
    patch.set("FingerTable.failed", lambda _self, _key: None)


def no_hop_bound(patch: Patch) -> None:
    real = patch.real("RingLookup")

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self._rules = _Unbounded(self._rules)

    patch.set("RingLookup", init)


class _Unbounded:
    """The rules of a lookup, without its bounds."""

    max_requests = max_hops = 1 << 30

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)


def sixteen_slots(patch: Patch) -> None:
    real = patch.real("ChordNode.serve")

    def serve(self: Any, sender: Any, request: Any, respond: Any, **rest: Any) -> None:
        held = self.__dict__.setdefault("held", set())
        if sender.key in held or len(held) < 16:
            held.add(sender.key)
            real(self, sender, request, respond, **rest)

    patch.set("ChordNode.serve", serve)


def never_not_member(patch: Patch) -> None:
    real = patch.real("Server.serve")

    def serve(self: Any, sender: Any, request: Any, respond: Any) -> bool:
        def never(reply: Any) -> None:
            if isinstance(reply, NotMember) and isinstance(request, GetState):
                place = self._place
                reply = StateReply(State(place.own, Mode.RING, 1, None, ()))
            respond(reply)

        return bool(real(self, sender, request, never))

    patch.set("Server.serve", serve)
