"""Lookups in seeded networks, beside what somebody who sees every node would answer."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_kad.buckets import RoutingTable
from peerstack_kad.lookup import LookupProgress, LookupRules

from peerstack.dht.replica.contacts import Contact
from peerstack.identity import PeerId


def network(seed: int, size: int, k: int) -> dict[int, RoutingTable]:
    """Nodes at random positions, each of which heard of everybody once, in a random order."""
    rng = random.Random(seed)
    everybody = [Contact(PeerId(b"\x00\x03" + index.to_bytes(3, "big")), rng.getrandbits(256)) for index in range(size)]
    tables = {}
    for own in everybody:
        table = RoutingTable(own.key, k=k, neighbourhood=2 * k)
        for other in rng.sample(everybody, size):
            table.heard(other, 0.0)
        tables[own.key] = table
    return tables


def drive(progress: LookupProgress, answer: Callable[[Contact], list[Contact] | None], rng: random.Random, parallelism: int) -> int:
    """Answer in random order; None is no answer. Returns the most requests ever under way."""
    under_way: list[Contact] = []
    most = 0
    now = 0.0
    while not progress.done:
        under_way += [ask.contact for ask in progress.next(now)]
        most = max(most, len(under_way))
        assert under_way, "it is not over, but waits for nobody"
        now += 0.01
        peer = under_way.pop(rng.randrange(len(under_way)))
        closer = answer(peer)
        if closer is None:
            progress.on_failure(peer, now)
        else:
            progress.on_reply(peer, closer, now)
    return most


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 8), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_it_finds_exactly_the_closest_of_all_nodes(seed: int, size: int, count: int, parallelism: int) -> None:
    rng = random.Random(seed)
    tables = network(seed, size, k=8)
    own = rng.choice(sorted(tables))
    target = rng.getrandbits(256)
    rules = LookupRules(count=count, parallelism=parallelism)
    progress = LookupProgress(target, tables[own].closest(target, 8), rules, own=own, now=0.0)
    most = drive(progress, lambda peer: tables[peer.key].closest(target, 8), rng, parallelism)
    assert most <= parallelism
    assert progress.complete
    assert [found.key for found in progress.result()] == sorted((key for key in tables if key != own), key=target.__xor__)[:count]


@given(st.integers(0, 10**6), st.sets(st.integers(0, 39), max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_dead_never_stop_it_from_ending_nor_stand_in_its_result(seed: int, dead: set[int]) -> None:
    rng = random.Random(seed)
    tables = network(seed, 40, k=8)
    keys = sorted(tables)
    down = {keys[index] for index in dead}
    own = rng.choice(keys)
    target = rng.getrandbits(256)
    progress = LookupProgress(target, tables[own].closest(target, 8), LookupRules(count=8, parallelism=3), own=own, now=0.0)
    drive(progress, lambda peer: None if peer.key in down else tables[peer.key].closest(target, 8), rng, 3)
    assert not {found.key for found in progress.result()} & down
    assert progress.requests < 40


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_liars_cannot_make_it_go_on_for_ever(seed: int, parallelism: int) -> None:
    rng = random.Random(seed)
    target = rng.getrandbits(256)
    number = iter(range(1, 1 << 24))

    def closer_and_closer(_peer: Contact) -> list[Contact]:
        step = next(number)
        return [
            Contact(PeerId(b"\x00\x04" + (step * 64 + i).to_bytes(4, "big")), target ^ (1 << 250) // (step * 64 + i)) for i in range(64)
        ]

    rules = LookupRules(count=20, parallelism=parallelism, max_requests=100)
    seeds = [Contact(PeerId(b"\x00\x01\x00"), rng.getrandbits(256))]
    progress = LookupProgress(target, seeds, rules, own=0, now=0.0)
    drive(progress, closer_and_closer, rng, parallelism)
    assert progress.requests <= 100
