from __future__ import annotations

import random
from functools import partial
from itertools import combinations, permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peerstack_chord import ring
from peerstack_chord.messages import Entry, ExchangeMap, Join, JoinReply, MapReply, Notify, NotMember, Status, Verdict
from peerstack_chord.ring import Mode

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.seam import RpcDone
from tests.unit.chord.ring_world import Node, World, contact, form, member


def knows_all(world: World) -> bool:
    """Whether every live member's map holds every live member."""
    live = {node.ring.place.own for node in world.live() if node.ring.place.is_member}
    return all(
        node.ring._transitions.forming is None or live <= set(node.ring._transitions.forming.map.live)
        for node in world.live()
        if node.ring.place.is_member
    )


@pytest.mark.parametrize("r", [2, 3, 4])
def test_rings_of_every_size_stand_in_order(r: int) -> None:
    for n in range(1, r + 4):
        world = form(r, [(7 * step) % 29 for step in range(n)])
        assert world.modes() == {Mode.RING if n >= r + 2 else Mode.FORMING}


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 4), st.integers(0, 1 << 32))
def test_every_live_member_knows_every_live_member_whose_join_completed(r: int, seed: int) -> None:
    world = World(r, seed)
    world.add(0)
    keys = world.random.sample(range(1, 64), r)
    for key in keys:
        world.add(key, [0, *keys])
    while world.step(30.0):
        assert knows_all(world)
    assert ring.ideal(world.states(), r)
    assert world.modes() == {Mode.FORMING}


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 4), st.integers(0, 1 << 32))
def test_it_goes_over_to_the_ring_and_back_again_both_ways(r: int, seed: int) -> None:
    world = form(r, list(range(0, 10 * (r + 1), 10)), seed)
    assert world.modes() == {Mode.FORMING}
    for turn in range(2):
        for step in range(3):
            world.add(5 + 10 * step, [0, 10])
        world.run_until(lambda: world.modes() == {Mode.RING} and ring.ideal(world.states(), r) and len(world.states()) == r + 4, 60)
        assert ring.zave_invariant(world.states(), r)
        for step in range(3):
            if turn:
                world.nodes[5 + 10 * step].ring.leave(lambda: None)
                world.run(0.2)
            world.crash(5 + 10 * step)
            world.run(6 * r)
        world.run_until(lambda: world.modes() == {Mode.FORMING} and ring.ideal(world.states(), r), 60)
        assert len(world.states()) == r + 1


def test_it_shrinks_to_one_by_crashes_and_grows_again() -> None:
    world = form(2, [10, 20, 30, 40, 50, 60])
    for left, key in enumerate([20, 50, 10, 60, 40]):
        world.crash(key)
        world.run_until(lambda left=left: len(world.states()) == 5 - left and ring.ideal(world.states(), 2), 60)  # type: ignore[misc]
    assert world.modes() == {Mode.FORMING}
    for key in (20, 50, 10, 60, 40):
        world.add(key, [30])
    world.run_until(lambda: len(world.states()) == 6 and ring.ideal(world.states(), 2), 60)
    assert world.modes() == {Mode.RING}


def test_a_quiet_member_asks_only_who_stands_next_and_sends_no_map() -> None:
    world = form(4, [10, 20, 30, 40, 50])
    world.run(5)
    before = {key: node.sent for key, node in world.nodes.items()}
    asked: set[tuple[int, int]] = set()
    sent: list[Request] = []
    send = world.send

    def watched(sender: Node, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        asked.add((sender.contact.key, peer.key))
        sent.append(message)
        send(sender, peer, message, timeout, done)

    world.send = watched  # type: ignore[method-assign]
    world.run(20 * world.parameters.stabilise_s)
    assert asked == {(10, 20), (20, 30), (30, 40), (40, 50), (50, 10)}
    assert all(isinstance(message, ExchangeMap) and message.digest and not message.entries for message in sent)
    assert all(node.sent - before[key] <= 21 for key, node in world.nodes.items())


@pytest.mark.parametrize("dead", [[30], [30, 40], [20, 40], [20, 30, 40, 50]])
def test_whoever_dies_is_gone_from_every_map_after_a_round_and_a_few_timeouts(dead: list[int]) -> None:
    world = form(4, [10, 20, 30, 40, 50])
    world.run(5)
    for key in dead:
        world.crash(key)
    phases = min(2, len(dead))  # the first one's death has all the others asked at once
    waited = world.parameters.stabilise_s + 2 * phases * world.parameters.rpc_timeout_s
    world.run_until(lambda: len(world.states()) == 5 - len(dead) and ring.ideal(world.states(), 4), waited + 0.5)


def test_members_whose_maps_differ_find_out_by_the_digest_and_exchange_them() -> None:
    world = form(4, [10, 20, 30])
    news = Entry(member(77, 5), Status.GONE)
    forming = world.nodes[20].ring._transitions.forming
    assert forming is not None
    forming.map.merge([news])  # and nobody was told
    world.run(3 * world.parameters.stabilise_s)
    for node in world.live():
        assert node.ring._transitions.forming is not None
        assert node.ring._transitions.forming.map.get(77) == news


def test_a_higher_era_reaches_every_member() -> None:
    world = form(4, [10, 20, 30, 40])
    forming = world.nodes[30].ring._transitions.forming
    assert forming is not None
    forming.merge((), era=7)
    world.run(world.parameters.stabilise_s)
    assert {node.ring.place.era for node in world.live()} == {7}


def test_who_joins_elsewhere_is_no_member_of_a_map_with_its_former_life() -> None:
    world = form(4, [10, 20])
    other = form(4, [110, 120])
    world.crash(20)
    restarted = joining(other, 20, [110])
    answers: list[Reply] = []
    request = ExchangeMap(1, tuple(Entry(node.ring.place.own) for node in world.nodes.values()))
    restarted.ring.serve(contact(10), ExchangeMap(1, (), bytes(32)), answers.append)
    restarted.ring.serve(contact(10), request, answers.append)
    differing, refused = answers
    assert isinstance(differing, MapReply)
    assert differing.digest != bytes(32)
    assert not differing.entries
    assert isinstance(refused, NotMember)


def test_a_live_member_that_is_called_gone_begins_a_higher_life() -> None:
    world = form(3, [10, 20, 30])
    life = world.nodes[20].ring.place.own.incarnation
    forming = world.nodes[10].ring._transitions.forming
    assert forming is not None
    forming.merge([Entry(world.nodes[20].ring.place.own, Status.GONE)])
    world.run(5)
    assert world.nodes[20].ring.place.own.incarnation > life
    assert len(world.states()) == 3
    assert ring.ideal(world.states(), 3)


def test_a_restarted_member_is_another_life_and_joins_again() -> None:
    world = form(3, [10, 20, 30])
    old = world.nodes[20].ring.place.own
    world.crash(20)
    world.add(20, [10])
    world.run_until(lambda: len(world.states()) == 3 and ring.ideal(world.states(), 3), 10)
    assert world.nodes[20].ring.place.own.incarnation > old.incarnation


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 4), st.integers(0, 1 << 32))
def test_from_the_first_member_in_ring_mode_on_the_invariant_holds(r: int, seed: int) -> None:
    world = World(r, seed)
    world.add(0)
    for key in world.random.sample(range(1, 64), r + 4):
        world.add(key, [0])
    for _ in range(400):
        if world.bag and world.random.random() < 0.8:
            world.deliver(world.random.choice(world.bag))
        else:
            assert world.step(world.now + 100)
        if Mode.RING in world.modes():
            assert ring.zave_invariant(world.states(), r)
            assert ring.one_ordered_ring(world.states())
            assert ring.connected_appendages(world.states())
    world.run_until(lambda: ring.ideal(world.states(), r) and len(world.states()) == r + 5, 120)


def test_a_crowd_that_joins_at_once_forms_one_ring() -> None:
    world = World(3, seed=5)
    world.add(0)
    for key in range(1, 40):
        world.add(key * 1000, [0])
    world.run_until(lambda: len(world.states()) == 40 and ring.ideal(world.states(), 3), 120)


def joining(world: World, key: int, others: list[int]) -> Node:
    """A node whose timers and joiner rest, with a map of members that do not know it."""
    node = world.add(key, [others[0]], timers=False)
    node.ring._transitions._joiner.stop()
    world.bag.clear()
    node.ring._transitions.form(1, [Entry(world.nodes[other].ring.place.own) for other in others], confirmed=False)
    return node


def deliver_answer(world: World, node: Node) -> None:
    """Deliver the one answer that is under way to a node."""
    (answer,) = (delivery for delivery in world.bag if delivery.to is node and delivery.reply is not None)
    world.deliver(answer)


def test_who_begins_another_life_while_joining_is_confirmed_anew() -> None:
    world = form(3, [10, 20])
    node = joining(world, 30, [10, 20])
    old = node.ring.place.own
    to_10, to_20 = (delivery for delivery in sorted(world.bag) if delivery.to is node)
    world.deliver(to_10)
    deliver_answer(world, node)  # 10 confirms
    assert node.ring._transitions.forming is not None
    node.ring._transitions.forming.merge([Entry(old, Status.GONE)])
    assert node.ring.place.own != old
    world.deliver(to_20)
    deliver_answer(world, node)  # 20 confirms the former life
    assert not node.ring.place.is_member
    assert knows_all(world)
    world.run_until(lambda: len(world.states()) == 3 and ring.ideal(world.states(), 3), 10)
    assert knows_all(world)


def test_what_was_confirmed_in_an_earlier_era_counts_no_more() -> None:
    world = form(2, [10, 20, 30])
    node = joining(world, 40, [10, 20, 30])
    to_10, to_20, to_30 = world.bag
    world.deliver(to_20)
    deliver_answer(world, node)  # 20 confirms
    world.bag = [to_10, to_30]
    again = tuple(Entry(world.nodes[key].ring.place.own) for key in (10, 20, 30))
    world.nodes[20].ring._transitions._form_again(again, 2)  # it was on the ring meanwhile, without its map
    world.deliver(next(delivery for delivery in world.bag if delivery.to is world.nodes[20]))  # so 10 forms in era 2 as well
    world.deliver(to_10)
    deliver_answer(world, node)
    world.deliver(to_30)
    deliver_answer(world, node)
    assert knows_all(world)
    world.run_until(lambda: len(world.states()) == 4 and ring.ideal(world.states(), 2), 20)


def on_the_ring_and_back(world: World, key: int) -> None:
    """Have a member that forms hear that the ring has formed, and find it small again."""
    transitions = world.nodes[key].ring._transitions
    transitions._formed()
    assert world.nodes[key].ring.mode is Mode.RING
    transitions._form_again(tuple(Entry(node.ring.place.own) for node in world.live() if node.ring.place.is_member), 2)


def test_who_was_on_the_ring_meanwhile_still_knows_whom_it_confirmed() -> None:
    world = form(2, [10, 20, 30])
    node = joining(world, 40, [10, 20, 30])
    _, to_20, _ = world.bag
    world.deliver(to_20)
    deliver_answer(world, node)  # 20 confirms
    on_the_ring_and_back(world, 20)
    forming = world.nodes[20].ring._transitions.forming
    assert forming is not None
    assert forming.map.get(40) == Entry(node.ring.place.own, Status.JOINING)


def test_who_comes_over_from_a_ring_lets_nobody_in_until_all_have_its_map() -> None:
    world = form(2, [10, 20, 30])
    on_the_ring_and_back(world, 20)
    answers: list[Reply] = []

    def ask() -> Verdict:
        world.nodes[20].ring.serve(contact(40), Join(member(40)), answers.append)
        answer = answers.pop()
        assert isinstance(answer, JoinReply)
        return answer.verdict

    assert ask() is Verdict.BUSY
    world.run_until(lambda: not world.bag, 5)
    assert ask() is Verdict.FORMING


def test_that_the_ring_has_formed_is_believed_only_of_the_map_of_which_it_was_said() -> None:
    world = form(2, [10, 20, 30, 40])
    back_to_forming(world, 20)
    node = world.nodes[20]
    for question in list(world.bag):
        world.deliver(question)
    world.crash(40)
    assert node.ring._transitions.forming is not None
    node.ring._transitions.forming.merge([Entry(world.nodes[40].ring.place.own, Status.GONE)])
    for answer in [delivery for delivery in world.bag if delivery.reply is not None]:
        world.deliver(answer)  # of the ring of four
    assert node.ring.mode is Mode.FORMING
    world.run_until(lambda: world.modes() == {Mode.FORMING} and ring.ideal(world.states(), 2), 20)


def member_gone(node: Node, key: int) -> bool:
    """Whether a member knows on its map that another is gone."""
    entry = node.ring._transitions.forming.map.get(key) if node.ring._transitions.forming is not None else None
    return entry is not None and entry.status is Status.GONE


def test_the_ring_forms_only_once_those_who_join_know_who_is_up() -> None:
    world = form(2, [10, 20, 30])
    world.latency = (0.03, 0.03)
    joiners = [world.add(15, [10]), world.add(25, [20])]  # at once, through two members
    world.run_until(lambda: any(node.ring.place.is_member for node in joiners), 5)
    (late,) = (node.contact.key for node in joiners if not node.ring.place.is_member)
    world.groups[late] = 1
    world.run_until(lambda: Mode.RING in world.modes(), 5)
    assert all(node.ring._transitions.forming is None or member_gone(node, late) for node in world.live() if node.contact.key != late)


def back_to_forming(world: World, *keys: int, dead: int | None = None) -> None:
    """Have these members of a ring hear once more that it has formed."""
    entries = tuple(Entry(node.ring.place.own, Status.GONE if key == dead else Status.UP) for key, node in world.nodes.items())
    for key in keys:
        world.nodes[key].ring._transitions._form_again(entries, 1)


def test_who_is_told_that_the_ring_has_formed_while_it_leaves_has_it_form_anew() -> None:
    world = form(2, [10, 20, 30, 40])
    back_to_forming(world, 30)
    world.crash(40)
    done: list[bool] = []
    world.nodes[30].ring.leave(lambda: done.append(True))
    while not done:
        assert world.step(world.now + 5)
        if Mode.RING in {state.mode for state in world.states()}:
            assert ring.zave_invariant(world.states(), 2)
    assert world.modes() == {Mode.FORMING, Mode.OUTSIDE}


def test_whoever_confirmed_that_somebody_leaves_does_not_go_back_to_the_ring_of_before() -> None:
    world = form(2, [10, 20, 30, 40])
    back_to_forming(world, 20, 30)
    forming = world.nodes[20].ring._transitions.forming
    assert forming is not None
    done: list[bool] = []
    world.nodes[30].ring.leave(lambda: done.append(True))
    forming.merge([Entry(world.nodes[30].ring.place.own, Status.LEAVING)])
    while not done:
        assert world.step(world.now + 5)
        assert world.nodes[20].ring.mode is Mode.FORMING
    world.nodes[30].ring.stop()
    world.crash(30)
    world.run_until(lambda: len(world.states()) == 3 and ring.ideal(world.states(), 2), 10)


def test_who_is_taken_for_dead_by_all_who_form_while_it_stands_on_the_ring_is_asked_when_it_notifies() -> None:
    world = form(2, [10, 20, 30, 40])
    back_to_forming(world, 10, 20, 30, dead=40)
    world.run(0.2)
    assert [node.ring.mode for node in world.live()] == [Mode.FORMING] * 3 + [Mode.RING]
    world.run_until(lambda: len(world.states()) == 4 and world.modes() == {Mode.RING} and ring.ideal(world.states(), 2), 8)


def test_who_notifies_those_who_form_is_taken_up_together_with_those_beside_it() -> None:
    world = form(2, [10, 20, 30, 40, 50])
    entries = tuple(Entry(world.nodes[key].ring.place.own) for key in (10, 20))
    world.nodes[10].ring._transitions._form_again(entries, 1)  # it knows neither 30 nor 40
    world.bag.clear()  # and hears of nobody else
    forming = world.nodes[10].ring._transitions.forming
    assert forming is not None
    forming.end()
    world.nodes[10].ring.serve(contact(50), Notify(world.nodes[50].ring.place.own), lambda _reply: None)
    while len(forming.map.members) == 2:
        assert world.step(world.now + 1)
    assert [member.key for member in forming.map.members] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("r", [2, 3])
def test_two_who_leave_a_ring_of_r_plus_2_at_once_have_it_form_first(r: int) -> None:
    keys = [10 * step for step in range(r + 2)]
    for pair in combinations(keys, 2):
        world = form(r, keys, seed=pair[0])
        done: list[Node] = []
        for leaver in (world.nodes[key] for key in pair):
            leaver.ring.leave(partial(done.append, leaver))
        while len(done) < len(pair):
            assert world.step(world.now + 5)
            if Mode.RING in {state.mode for state in world.states()}:
                assert ring.zave_invariant(world.states(), r)
        for leaver in done:
            leaver.ring.stop()
        world.run(2)
        assert len(world.states()) == r
        assert ring.ideal(world.states(), r)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 4), st.integers(1, 9), st.integers(0, 1 << 32))
@example(r=2, size=6, seed=56709)  # four of six at once, each of whom saw five others stay
def test_however_many_leave_at_once_all_get_away_and_the_rest_is_one_ring(r: int, size: int, seed: int) -> None:
    keys = random.Random(seed).sample(range(64), size)
    world = form(r, keys, seed)
    for node, other in permutations(world.live(), 2):  # nodes remember whom they met: rings that fall apart find each other again
        node.ring.way.acquaintances.bury(other.contact)
    leavers = [world.nodes[key] for key in keys[: 1 + seed % size]]
    done: list[Node] = []
    for leaver in leavers:
        leaver.ring.leave(partial(done.append, leaver))
    world.run_until(lambda: len(done) == len(leavers), 20)
    for leaver in leavers:
        leaver.ring.stop()
    left = size - len(leavers)
    world.run_until(lambda: len(world.states()) == left and (not left or ring.ideal(world.states(), r)), 200)


def test_who_leaves_waits_for_nobody_who_is_dead_for_ever() -> None:
    world = form(2, [10, 20, 30, 40])
    done: list[bool] = []
    world.groups[10] = 1
    world.nodes[10].ring.leave(lambda: done.append(True))
    world.run(8)
    assert done == [True]
    assert world.nodes[10].ring.mode is Mode.OUTSIDE


def test_a_member_of_whom_it_is_said_that_it_leaves_begins_a_higher_life_and_stays() -> None:
    world = form(3, [10, 20, 30])
    life = world.nodes[20].ring.place.own
    forming = world.nodes[10].ring._transitions.forming
    assert forming is not None
    forming.merge([Entry(life, Status.LEAVING)])
    world.run(5)
    assert world.nodes[20].ring.place.own.incarnation > life.incarnation
    assert ring.ideal(world.states(), 3)
    assert len(world.states()) == 3


def test_a_life_that_cannot_be_yet_is_not_believed_and_an_era_out_of_all_proportion_neither() -> None:
    world = form(3, [0, 7, 14])
    victim, peer = world.nodes[7], world.nodes[0]
    lie = ExchangeMap((1 << 62) - 1, (Entry(member(7, (1 << 62) - 1), Status.GONE),))
    peer.ring.serve(contact(21), lie, lambda _reply: None)
    world.run(10)
    assert victim.ring.place.own in peer.ring.place.successors
    assert {node.ring.place.era for node in world.live()} == {1}


def test_two_who_join_and_whose_map_has_no_member_begin_anew() -> None:
    world = form(3, [10])
    one, other = world.add(20, [30, 10]), world.add(30, [20, 10])
    one.ring._transitions.form(1, [Entry(other.ring.place.own, Status.JOINING)], confirmed=False)
    before = one.sent + other.sent
    world.slow[10] = 0.3
    world.run(10)
    assert ring.ideal(world.states(), 3)
    assert len(world.states()) == 3
    assert one.sent + other.sent - before < 100
