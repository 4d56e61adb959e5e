"""One node's part in the ring. The tests named `test_defect_…` each show that a fault found in another Chord implementation is impossible
here: DCsunset/chord-dht, https://github.com/DCsunset/chord-dht."""

from __future__ import annotations

import pytest
from peerstack_chord import ring
from peerstack_chord.events import MemberDied, MemberLeft, ModeChanged, PlaceChanged
from peerstack_chord.maintenance import Ring
from peerstack_chord.messages import Depart, GetState, Join, JoinReply, Notify, NotMember, StateReply, Verdict
from peerstack_chord.ring import Mode

from peerstack.dht.replica.messages import Done, FindNode, NodesReply, Ping, Reply, Request
from tests.unit.chord.ring_world import Node, World, contact, form, member

SIX = [10, 20, 30, 40, 50, 60]


def ask(world: World, sender: int, receiver: int, request: Request) -> Reply:
    """What a member answers, at once."""
    replies: list[Reply] = []
    assert world.nodes[receiver].ring.serve(contact(sender), request, replies.append)
    (reply,) = replies
    return reply


def is_ideal(world: World, count: int) -> bool:
    return len(world.states()) == count and ring.ideal(world.states(), world.r)


def looked_up(world: World, node: Node, position: int, count: int) -> list[int]:
    from peerstack_chord.asking import Finding

    found: list[list[int]] = []
    lookup = node.ring.begin_lookup(position, count)
    Finding(node.ring._asker, lookup, lambda over: found.append([each.key for each in over.result()])).step()
    world.run_until(lambda: bool(found), 30)
    return found[0]


def test_defect_1_every_periodic_task_repeats() -> None:
    world = form(2, SIX)
    world.run(5)
    before = {key: node.sent for key, node in world.nodes.items()}
    rounds = []
    for _ in range(5):
        world.run(2)
        rounds.append({key: node.sent - before[key] for key, node in world.nodes.items()})
        before = {key: node.sent for key, node in world.nodes.items()}
    assert all(sent >= 1 for sent_by in rounds for sent in sent_by.values())


@pytest.mark.parametrize("r", [1, 2, 3])
def test_defect_2_a_dead_predecessor_is_noticed_and_replaced(r: int) -> None:
    world = form(r, SIX)
    world.crash(30)
    if r == 1:  # one place in the list cannot outlive its one entry: the node joins again
        world.nodes[20].ring.way.acquaintances._configured[40] = contact(40)
    world.run_until(lambda: is_ideal(world, 5), 60)
    before = world.nodes[40].ring.place.predecessor
    assert before is not None
    assert before.key == 20


def test_defect_3_the_successor_is_notified_even_if_it_knows_no_predecessor() -> None:
    world = form(2, SIX)
    world.nodes[30].ring.place.predecessor = None
    world.run_until(lambda: is_ideal(world, 6), 10)


def test_defect_4_who_joins_takes_over_the_whole_list_and_has_a_predecessor_at_once() -> None:
    world = form(3, SIX)
    joined = world.add(35, [60])
    world.run_until(lambda: joined.ring.mode is Mode.RING, 5)
    state = joined.ring.place.state()
    assert [entry.key for entry in state.successors] == [40, 50, 60]
    assert state.predecessor is not None
    assert state.predecessor.key == 30
    world.run_until(lambda: is_ideal(world, 7), 10)


def test_defect_5_an_unreachable_owner_is_passed_over() -> None:
    world = form(3, SIX)
    world.crash(30)
    assert looked_up(world, world.nodes[60], 25, 2) == [40, 50]


def test_defect_6_who_is_responsible_is_asked_and_never_taken_from_our_own_tables() -> None:
    world = form(3, SIX)
    node = world.nodes[20]
    assert [member.key for member in node.ring.place.successors][:1] == [30]
    before = node.sent
    assert looked_up(world, node, 25, 1) == [30]
    assert node.sent == before + 1


def test_defect_7_every_request_is_answered_at_once_whoever_is_dead() -> None:
    world = form(3, SIX)
    for key in (20, 40, 50):
        world.crash(key)
    for request in (GetState(), FindNode(position=25), Notify(member(25, 7)), Join(member(25, 8)), Depart(member(25, 9), None)):
        assert ask(world, 25, 10, request) is not None


def test_defect_8_fingers_drop_the_dead() -> None:
    world = form(2, [key << 250 for key in range(1, 30)])
    world.run(40)
    node = world.nodes[1 << 250]
    (finger, *_) = [each for each in node.ring.way.fingers if each.key not in {entry.key for entry in node.ring.place.successors}]
    world.crash(finger.key)
    looked_up(world, node, (finger.key + 1) % (1 << 256), 1)
    world.run(1)
    assert finger.key not in node.ring.way.fingers


def test_defect_9_a_member_serves_any_number_of_others() -> None:
    world = form(2, SIX)
    for key in range(100, 200):
        assert isinstance(ask(world, key, 10, FindNode(position=key)), NodesReply)
        assert isinstance(ask(world, key, 10, GetState()), StateReply)


def test_who_restarted_is_no_member_until_it_joined_again() -> None:
    world = form(2, SIX)
    world.crash(30)
    again = world.add(30, [10], timers=False)
    for request in (GetState(), FindNode(position=5), Join(member(35)), Notify(member(25))):
        assert isinstance(ask(world, request.member.key if isinstance(request, (Join, Notify)) else 10, 30, request), NotMember)
    world.run_until(lambda: again.ring.mode is Mode.RING, 10)
    world.run_until(lambda: is_ideal(world, 6), 20)


def test_a_request_to_join_proves_that_the_old_life_is_over_and_is_answered_in_its_place() -> None:
    world = form(3, SIX)
    life = world.nodes[30].ring.place.own.incarnation
    reply = ask(world, 30, 20, Join(member(30, life + 1)))
    assert isinstance(reply, JoinReply)
    assert reply.verdict is Verdict.JOINED
    assert [entry.key for entry in reply.state.successors] == [40, 50]
    assert any(isinstance(event, MemberDied) and event.contact.key == 30 for event in world.nodes[20].events)


def test_a_late_copy_of_a_request_to_join_kills_nobody() -> None:
    world = form(3, SIX)
    own = world.nodes[30].ring.place.own
    reply = ask(world, 30, 20, Join(own))
    assert isinstance(reply, JoinReply)
    assert reply.verdict is Verdict.ELSEWHERE
    assert own in world.nodes[20].ring.place.successors


def test_an_answer_that_the_list_has_outlived_is_not_taken() -> None:
    world = form(2, SIX)
    while world.bag:
        world.deliver(min(world.bag))
    node = world.nodes[20]
    node.ring.stabilise()
    (request,) = [delivery for delivery in world.bag if delivery.to is node][:1]
    world.deliver(request)  # 30 answers; before the answer comes, it leaves
    world.nodes[30].ring.leave(lambda: None)
    ask(world, 30, 20, Depart(world.nodes[30].ring.place.own, None))
    for delivery in sorted(world.bag):
        if isinstance(delivery.reply, StateReply) and delivery.to is node:
            world.deliver(delivery)
    assert next(entry.key for entry in node.ring.place.successors) == 40


def test_nobody_speaks_for_somebody_else() -> None:
    world = form(2, SIX)
    before = world.nodes[20].ring.place.state()
    for request in (Notify(member(15, 9)), Join(member(30, 1 << 60)), Depart(world.nodes[30].ring.place.own, None)):
        assert isinstance(ask(world, 50, 20, request), NotMember)
    assert world.nodes[20].ring.place.state() == before


def test_who_leaves_tells_its_neighbours_and_is_missed_by_nobody() -> None:
    world = form(3, SIX)
    told: list[bool] = []
    world.nodes[30].ring.leave(lambda: told.append(True))
    world.nodes[30].ring.leave(lambda: told.append(False))
    world.run(0.5)
    assert world.nodes[30].ring.mode is Mode.OUTSIDE
    assert told == [True]
    assert any(isinstance(event, MemberLeft) and event.contact.key == 30 for event in world.nodes[20].events)
    world.nodes[30].ring.stop()
    world.crash(30)
    world.run_until(lambda: is_ideal(world, 5), 10)


def test_a_network_of_one_leaves_too() -> None:
    world = form(2, [10])
    told: list[bool] = []
    world.nodes[10].ring.leave(lambda: told.append(True))
    world.run(0.1)
    assert told == [True]


def test_what_changes_is_told() -> None:
    world = form(2, [10, 20, 30, 40])
    modes = [event.mode for event in world.nodes[10].events if isinstance(event, ModeChanged)]
    assert modes == [Mode.FORMING, Mode.RING]
    places = [event for event in world.nodes[10].events if isinstance(event, PlaceChanged)]
    assert places[-1].predecessor is not None
    assert (places[-1].predecessor.key, [each.key for each in places[-1].successors]) == (40, [20, 30])


def test_a_neighbour_that_fails_others_is_looked_at_before_its_turn() -> None:
    world = form(3, SIX)
    world.run(0.5)
    while world.bag:
        world.deliver(min(world.bag))
    world.nodes[20].ring.failed(contact(30))
    assert any(delivery.to is world.nodes[20] for delivery in world.bag)


def test_nobody_who_is_configured_to_join_founds_before_three_rounds_went_unanswered() -> None:
    world = World(2)
    node = world.add(10, [20])
    world.run(1.5)
    assert world.modes() == {Mode.OUTSIDE}
    world.run(10)
    assert world.modes() == {Mode.FORMING}
    assert [event.mode for event in node.events if isinstance(event, ModeChanged)] == [Mode.FORMING]


def test_stopping_ends_everything() -> None:
    world = form(2, SIX)
    node = world.nodes[30]
    node.ring.stop()
    node.ring.stop()
    sent = node.sent
    world.run(20)
    assert node.sent == sent
    assert not [timer for timer in world.timers if timer.node is node and not timer.cancelled]


def test_requests_about_records_are_none_of_its_business() -> None:
    world = form(2, [10])
    assert not world.nodes[10].ring.serve(contact(20), Ping(), lambda reply: None)
    assert isinstance(ask(world, 20, 10, Notify(member(20))), Done)


def test_a_hundred_join_and_fingers_shorten_the_way() -> None:
    world = World(4, seed=3)
    keys = [world.random.getrandbits(256) for _ in range(100)]
    world.add(keys[0])
    for key in keys[1:]:
        world.add(key, [keys[0]])
        world.run(0.2)
    world.run_until(lambda: is_ideal(world, 100), 120)
    ordered = sorted(keys)
    position = ordered[57] - 1
    assert looked_up(world, world.nodes[ordered[3]], position, 4) == ordered[57:61]


def test_who_does_not_serve_looks_up_through_its_contacts_and_never_joins() -> None:
    world = form(3, SIX)
    client = Node(world, contact(33))
    client.ring = Ring(client.contact, world.parameters, client, client, client.events.append, incarnation=1)
    client.ring.start([contact(60), contact(99)], joins=False)
    assert looked_up(world, client, 25, 3) == [30, 40, 50]
    world.run(20)
    assert client.events == []
    assert looked_up(world, client, 55, 1) == [60]
