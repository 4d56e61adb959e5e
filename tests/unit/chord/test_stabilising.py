from __future__ import annotations

from peerstack_chord import ring
from peerstack_chord.messages import GetState, Join, Notify, StateReply
from peerstack_chord.ring import Mode, State

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, Request
from peerstack.dht.replica.seam import Respond
from tests.unit.chord.ring_world import Node, World, contact, form, member, members

SIX = [10, 20, 30, 40, 50, 60]


def settle(world: World) -> None:
    while world.bag:
        world.deliver(min(world.bag))


class Liar(dict[int, Node]):
    """Any number of nodes between two others, each of which knows of one more."""

    def __init__(self, world: World, low: int, high: int) -> None:
        super().__init__(world.nodes)
        self.world, self.low, self.high = world, low, high
        self.asked = 0

    def get(self, key: int, default: object = None) -> Node | None:  # type: ignore[override]
        if not self.low < key < self.high:
            return super().get(key)
        node = Node(self.world, contact(key))
        node.ring = self  # type: ignore[assignment]
        return node

    def serve(self, _sender: object, request: Request, respond: Respond) -> bool:
        self.asked += isinstance(request, GetState)
        nearest = self.high - self.asked
        state = State(member(nearest), Mode.RING, 1, member(nearest - 1), members(self.high))
        respond(Done() if isinstance(request, Notify) else StateReply(state))
        return True


def test_a_better_successor_is_asked_before_it_is_adopted() -> None:
    world = form(2, SIX)
    settle(world)
    world.nodes[30].ring.place.predecessor = member(25)  # nobody is there
    world.nodes[20].ring.stabilise()
    while world.bag:
        world.deliver(min(world.bag))
        assert member(25) not in world.nodes[20].ring.place.successors
    assert [entry.key for entry in world.nodes[20].ring.place.successors] == [30, 40]


def test_only_a_successor_that_does_not_take_us_for_its_predecessor_is_notified() -> None:
    world = form(2, SIX)
    settle(world)
    asked: list[type] = []
    serve = world.nodes[30].ring.serve

    def watch(sender: Contact, request: Request, respond: Respond) -> bool:
        asked.append(type(request))
        return serve(sender, request, respond)

    world.nodes[30].ring.serve = watch  # type: ignore[method-assign]
    world.nodes[20].ring.stabilise()
    settle(world)
    assert asked.count(GetState) == 1
    assert Notify not in asked
    for other in (member(10), member(20, world.nodes[20].ring.place.own.incarnation - 1), None):
        asked.clear()
        world.nodes[30].ring.place.predecessor = other
        world.nodes[20].ring.stabilise()
        settle(world)
        assert asked.count(Notify) == 1
        assert world.nodes[30].ring.place.predecessor == world.nodes[20].ring.place.own


def test_nobody_takes_the_place_of_a_predecessor_that_is_alive() -> None:
    world = form(2, SIX)
    settle(world)
    present = world.nodes[40].ring.place.predecessor
    world.nodes[40].ring.serve(contact(20), Notify(member(20, 99)), lambda reply: None)
    settle(world)
    assert world.nodes[40].ring.place.predecessor == present


def test_the_nearest_of_those_who_wait_takes_the_place_of_a_dead_predecessor() -> None:
    world = form(3, SIX)
    settle(world)
    world.crash(30)
    for key in (10, 20, 60):
        world.nodes[40].ring.serve(contact(key), Notify(world.nodes[key].ring.place.own), lambda reply: None)
    settle(world)
    assert world.nodes[40].ring.place.predecessor == world.nodes[20].ring.place.own


def test_all_of_several_dead_successors_are_dropped_in_one_round() -> None:
    world = form(3, SIX)
    settle(world)
    world.crash(30)
    world.crash(40)
    world.nodes[20].ring.stabilise()
    settle(world)
    assert [entry.key for entry in world.nodes[20].ring.place.successors] == [50, 60, 10]


def test_one_round_finds_its_place_behind_several_newcomers() -> None:
    world = form(2, [10, 100, 200, 300, 400])
    for key in range(20, 80, 10):
        world.add(key, [10])
    world.run_until(lambda: len(world.states()) == 11 and ring.ideal(world.states(), 2), 5)


def test_a_liar_who_knows_of_one_more_for_ever_is_followed_a_few_steps() -> None:
    world = form(2, [10, 10_000, 20_000, 30_000])
    settle(world)
    world.nodes[10_000].ring.place.predecessor = member(9_999)
    liar = world.nodes = Liar(world, 10, 10_000)
    world.nodes[10].ring.stabilise()
    settle(world)
    assert 0 < liar.asked <= 2 * 8


def test_who_lost_the_whole_list_joins_again() -> None:
    world = World(2, seed=4)
    for key in range(0, 120, 10):
        world.add(key, [0] if key else [])
        world.run(0.5)
    world.run_until(lambda: len(world.states()) == 12 and ring.ideal(world.states(), 2), 30)
    world.run(20)
    for key in (30, 40):
        world.crash(key)
    world.run_until(lambda: len(world.states()) == 10 and ring.ideal(world.states(), 2), 60)
    assert world.modes() == {Mode.RING}


def test_what_an_outlived_life_said_of_itself_is_not_taken_though_it_stood_on_no_list() -> None:
    world = form(2, SIX)
    newcomer = world.add(25, [20], timers=False)
    world.run_until(lambda: newcomer.ring.mode is Mode.RING, 5)
    settle(world)
    node = world.nodes[20]
    node.ring.place.drop(newcomer.ring.place.own)
    node.ring.place.adopt(world.nodes[30].ring.place.own, world.nodes[30].ring.place.successors.entries)
    world.nodes[30].ring.place.predecessor = newcomer.ring.place.own
    node.ring.stabilise()
    under_way: list[StateReply] = []
    while not under_way:  # until 25 has answered, and its answer is on its way
        replies = [each.reply for each in world.bag if each.to is node and isinstance(each.reply, StateReply)]
        under_way = [reply for reply in replies if reply.state.member == newcomer.ring.place.own]
        if not under_way:
            world.deliver(min(world.bag))
    old = newcomer.ring.place.own
    world.crash(25)
    node.ring.serve(contact(25), Join(member(25, old.incarnation + 1)), lambda reply: None)
    for delivery in sorted(world.bag):
        world.deliver(delivery)
        assert old not in node.ring.place.successors
