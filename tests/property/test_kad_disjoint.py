"""Lookups along disjoint paths, beside one path, and beside what somebody who sees every node would answer."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_kad.buckets import RoutingTable
from peerstack_kad.keys import closest
from peerstack_kad.lookup import LookupProgress, LookupRules

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.identity import PeerId
from tests.sim.static_network import StaticNetwork, compare, expected_success

NETWORK = StaticNetwork(300, seed=1, k=8)
PATHS = st.sampled_from([1, 2, 3, 4, 8])


class Play:
    """A lookup answered in random order by peers of which some are dead."""

    def __init__(self, seed: int, paths: int, parallelism: int, *, down: frozenset[int] = frozenset(), count: int = 8) -> None:
        self.rng = random.Random(seed)
        self.own = self.rng.choice(NETWORK.keys)
        self.target = self.rng.getrandbits(256)
        self.seeds = NETWORK.closest_known(self.own, self.target, 8)
        rules = LookupRules(count=count, parallelism=parallelism, paths=paths)
        self.progress = LookupProgress(self.target, self.seeds, rules, own=self.own, now=0.0)
        self.most_under_way: dict[int, int] = defaultdict(int)
        self.most_in_all = 0
        self.named: dict[int, set[int]] = defaultdict(set)  # by path, whom its peers named
        self._run(down)

    def _run(self, down: frozenset[int]) -> None:
        under_way: list[Contact] = []
        path_of: dict[int, int] = {}
        while not self.progress.done:
            under_way += [ask.contact for ask in self.progress.next(0.0)]
            assert under_way, "it is not over, but waits for nobody"
            path_of = {hop.distance ^ self.target: hop.path for hop in self.progress.trace(0.0)}
            self.most_in_all = max(self.most_in_all, len(under_way))
            for path in set(path_of.values()):
                busy = sum(path_of[peer.key] == path for peer in under_way)
                self.most_under_way[path] = max(self.most_under_way[path], busy)
            peer = under_way.pop(self.rng.randrange(len(under_way)))
            if peer.key in down:
                self.progress.on_failure(peer, 0.0)
            else:
                answer = NETWORK.closest_known(peer.key, self.target, 8)
                self.named[path_of[peer.key]] |= {contact.key for contact in answer}
                self.progress.on_reply(peer, answer, 0.0)


@given(st.integers(0, 10**6), PATHS, st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_every_path_keeps_to_its_share_of_the_parallelism(seed: int, paths: int, parallelism: int) -> None:
    play = Play(seed, paths, parallelism)
    assert play.most_in_all <= max(parallelism, paths)
    assert all(most <= max(1, -(-parallelism // paths)) for most in play.most_under_way.values())


@given(st.integers(0, 10**6), PATHS, st.sets(st.integers(0, 299), max_size=150))
@settings(max_examples=80, deadline=None)
def test_it_ends_asks_nobody_twice_and_every_path_only_whom_its_own_peers_named(seed: int, paths: int, dead: set[int]) -> None:
    play = Play(seed, paths, 8, down=frozenset(NETWORK.keys[index] for index in dead))
    hops = play.progress.trace(0.0)
    asked = [hop.distance ^ play.target for hop in hops]
    assert len(set(asked)) == len(asked)
    dealt = sorted((seed.key for seed in play.seeds), key=play.target.__xor__)
    for hop, key in zip(hops, asked, strict=True):
        assert key in play.named[hop.path] or key in dealt[hop.path :: paths]


@given(st.integers(0, 10**6), PATHS, st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_all_paths_together_find_what_one_finds(seed: int, paths: int, count: int) -> None:
    play = Play(seed, 1, 4, count=count)
    one, several = play.progress, Play(seed, paths, 8, count=count).progress
    found = [contact.key for contact in one.result()]
    together = [contact.key for contact in several.result()]
    assert found == closest((key for key in NETWORK.keys if key != play.own), one.target, count)
    assert together[:count] == found
    assert together == sorted(together, key=one.target.__xor__)
    assert len(together) <= paths * count


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_a_path_that_is_led_on_for_ever_does_not_starve_the_others(seed: int, paths: int) -> None:
    rng = random.Random(seed)
    own, target = rng.choice(NETWORK.keys), rng.getrandbits(256)
    seeds = NETWORK.closest_known(own, target, 8)
    rules = LookupRules(count=8, parallelism=paths, paths=paths, max_requests=200)
    progress = LookupProgress(target, seeds, rules, own=own, now=0.0)
    liar = min(seeds, key=lambda contact: contact.key ^ target)
    made_up = iter(range(1, 1 << 20))
    lying = {liar.key}
    under_way: list[Contact] = []
    while not progress.done:
        under_way += [ask.contact for ask in progress.next(0.0)]
        peer = under_way.pop(rng.randrange(len(under_way)))
        if peer.key not in lying:
            progress.on_reply(peer, NETWORK.closest_known(peer.key, target, 8), 0.0)
            continue
        numbers = [next(made_up) for _ in range(8)]
        closer = [Contact(PeerId(b"\x00\x04" + n.to_bytes(4, "big")), target ^ (1 << 100) - n) for n in numbers]
        lying |= {contact.key for contact in closer}
        progress.on_reply(peer, closer, 0.0)
    assert progress.requests <= 200
    best = min((key for key in NETWORK.keys if key != own), key=target.__xor__)
    assert best in {contact.key for contact in progress.result()} or best == liar.key


def test_a_path_whose_peers_are_all_slow_does_not_hold_up_the_others() -> None:
    rules = LookupRules(count=2, parallelism=2, paths=2, patience=lambda _contact: 1.0)
    near, far = (Contact(PeerId(b"\x00\x01" + bytes([key])), key) for key in (1, 2))
    progress = LookupProgress(0, [near, far], rules, own=1 << 255, now=0.0)
    assert [ask.contact for ask in progress.next(0.0)] == [near, far]
    progress.on_reply(far, [Contact(PeerId(b"\x00\x01\x03"), 3)], 0.1)
    (ask,) = progress.next(0.1)
    assert ask.contact.key == 3
    progress.on_reply(ask.contact, [], 0.2)
    assert not progress.done
    progress.next(1.5)
    assert progress.converged
    assert [(hop.path, hop.outcome) for hop in progress.trace(2.0)] == [
        (0, HopOutcome.PENDING),
        (1, HopOutcome.ANSWERED),
        (1, HopOutcome.ANSWERED),
    ]


def test_in_a_thousand_nodes_that_know_a_part_of_each_other_lookups_find_exactly_the_closest() -> None:
    rng = random.Random(5)
    everybody = [Contact(PeerId(b"\x00\x03" + index.to_bytes(3, "big")), rng.getrandbits(256)) for index in range(1000)]
    by_key = {contact.key: contact for contact in everybody}
    tables = {}
    for own in everybody:
        table = RoutingTable(own.key, k=20, neighbourhood=40)
        near = closest((other.key for other in everybody), own.key, 41)[1:]
        for other in [*rng.sample(everybody, 150), *map(by_key.__getitem__, near)]:
            table.heard(other, 0.0)
        tables[own.key] = table
    exact = 0
    for _ in range(300):
        start, target = rng.choice(everybody).key, rng.getrandbits(256)
        progress = LookupProgress(target, tables[start].closest(target, 20), LookupRules(), own=start, now=0.0)
        under_way: list[Contact] = []
        while not progress.done:
            under_way += [ask.contact for ask in progress.next(0.0)]
            peer = under_way.pop(rng.randrange(len(under_way)))
            progress.on_reply(peer, tables[peer.key].closest(target, 20), 0.0)
        right = closest((key for key in tables if key != start), target, 20)
        exact += [contact.key for contact in progress.result()] == right
    assert exact >= 297


@pytest.mark.parametrize("paths", [1, 2, 4, 8])
def test_against_adversaries_it_succeeds_as_often_as_disjoint_paths_can(paths: int) -> None:
    network = StaticNetwork(1000, seed=3)
    rows = compare(network, paths=[paths], adversaries=[0.1, 0.3, 0.5], lookups=150)
    assert rows[0]["success"] == 1.0
    for row in rows[1:]:
        assert row["success"] == pytest.approx(row["formula"], abs=0.11), row


def test_the_formula_is_that_of_the_paper() -> None:
    assert expected_success({1: 1}, paths=1, adversaries=0.25) == pytest.approx(0.75)
    assert expected_success({2: 3, 3: 1}, paths=2, adversaries=0.5) == pytest.approx(0.75 * (1 - 0.75**2) + 0.25 * (1 - 0.875**2))
    assert expected_success({0: 1}, paths=4, adversaries=0.9) == 1.0
