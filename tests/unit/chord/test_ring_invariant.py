"""Zave's invariant over schedules of joins, crashes and rounds, with messages delivered in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from peerstack_chord import ring
from peerstack_chord.ring import Mode, State

from tests.unit.chord.ring_world import Node, form

POSITIONS = 32


class RingMachine(RuleBasedStateMachine):
    """Everybody is in ring mode at first; nobody crashes whom Zave's assumptions keep alive."""

    @initialize(r=st.integers(2, 4), more=st.integers(0, 3), data=st.data())
    def begin(self, r: int, more: int, data: Any) -> None:
        keys = data.draw(st.lists(st.integers(0, POSITIONS - 1), min_size=r + 2 + more, max_size=r + 2 + more, unique=True))
        self.r = r
        self.world = form(r, keys)
        self.drain()
        for node in self.world.live():
            node.ring._timers.stop()
            node.events.clear()

    def drain(self) -> None:
        """Deliver everything that is under way, and what follows from it."""
        while self.world.bag:
            self.world.deliver(min(self.world.bag))

    def pick(self, data: Any, choices: Sequence[Any]) -> Any:
        return choices[data.draw(st.integers(0, len(choices) - 1))]

    @precondition(lambda self: self.world.bag)
    @rule(data=st.data(), count=st.integers(1, 4))
    def deliver(self, data: Any, count: int) -> None:
        for _ in range(count):
            if self.world.bag:
                self.world.deliver(self.pick(data, sorted(self.world.bag)))
                self.check()

    @rule(data=st.data())
    def stabilise(self, data: Any) -> None:
        self.pick(data, self.world.live()).ring.stabilise()

    @rule(key=st.integers(0, POSITIONS - 1), data=st.data())
    def join(self, key: int, data: Any) -> None:
        present = self.world.nodes.get(key)
        if (present is None or not present.alive) and len(self.world.live()) < 10:
            first = data.draw(st.integers(0, 9))
            through = [node.contact.key for node in self.world.live()]
            self.world.add(key, through[first:] + through[:first], timers=False)

    @rule(data=st.data())
    def crash(self, data: Any) -> None:
        node: Node = self.pick(data, self.world.live())
        if self.bearable(without=node):
            node.alive = False
            note(f"crashed {node.contact.key}")

    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        node: Node = self.pick(data, self.world.live())
        if self.bearable(without=node):
            node.ring.leave(lambda: None)

    @rule(data=st.data())
    def wait(self, data: Any) -> None:
        timers = [timer for timer in self.world.timers if not timer.cancelled and timer.node.alive]
        if timers:
            self.world.fire(self.pick(data, timers))

    def bearable(self, without: Node) -> bool:
        """What Zave assumes of failures: every member keeps a live successor, r + 1 are skipped by nobody; who leaves counts as gone."""
        gone = [node for node in self.world.live() if node is without or node.ring.is_leaving]
        for node in gone:
            node.alive = False
        states, lists = self.world.states(), self.world.lists()
        for node in gone:
            node.alive = True
        live = {state.member for state in states}
        keeps = all(any(entry in live for entry in extended[1:]) for extended in lists)
        return keeps and len(ring.principals(states, lists)) > self.r

    @invariant()
    def check(self) -> None:
        states = self.world.states()
        assert ring.one_live_successor(states), show(states)
        assert ring.sufficient_principals(states, self.r), show(states)
        assert ring.no_duplicates(states), show(states)
        assert ring.ordered_successor_lists(states), show(states)
        assert ring.one_ordered_ring(states), show(states)
        assert ring.connected_appendages(states), show(states)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for node in self.world.live():
            if node.ring.place.is_member or not node.ring.is_leaving:
                node.ring._timers = type(node.ring._timers)(node)
                node.ring._timers.every("stabilise", 1.0, node.ring.stabilise)
                node.ring._timers.every("meet", 10.0, node.ring._meet_another)
        self.world.run_until(self.is_quiet, 300)
        self.check()

    def is_quiet(self) -> bool:
        """Whether everybody who did not leave stands where it belongs."""
        states = self.world.states()
        staying = [node for node in self.world.live() if not node.ring.is_leaving]
        wanted = Mode.RING if len(staying) >= self.r + 2 else Mode.FORMING
        return len(states) == len(staying) and {state.mode for state in states} == {wanted} and ring.ideal(states, self.r)


def show(states: Sequence[State]) -> str:
    lines = [
        f"{state.member.key}/{state.member.incarnation} {state.mode.name} after {state.predecessor and state.predecessor.key}: "
        + " ".join(f"{entry.key}/{entry.incarnation}" for entry in state.successors)
        for state in sorted(states, key=lambda state: state.member.key)
    ]
    return "\n".join(lines)


RingMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
test_the_invariant_holds_after_every_event_and_the_ring_becomes_ideal = RingMachine.TestCase
