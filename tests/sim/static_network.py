"""Lookups alone, in a network whose routing tables stand still: 10,000 nodes in seconds, and some of them lie.

The adversaries are those of Baumgart and Mies (2007, 5): whoever of them is asked names only colluders, closer to the target than anybody
but the goal (whoever can choose ids closer than that stands in the result too). A path that meets one before it heard of the goal never
hears of it, so with path lengths `h` (the share of paths with `i` peers on them) and `m` of all nodes lying, one of `d` disjoint paths gets
through with the probability ``sum h_i (1 - (1 - (1 - m)^i)^d)``.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from peerstack_kad.lookup import LookupProgress, LookupRules

from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.identity import PeerId

__all__ = ["LookupSample", "StaticNetwork", "compare", "expected_success"]


def _contact(number: int, key: int) -> Contact:
    return Contact(PeerId(b"\x00\x04" + number.to_bytes(4, "big")), key)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupSample:
    """What came of many lookups.

    Attributes:
        success: The share of them that found the goal.
        lengths: How many peers each path asked until it heard of the goal; None where it never did.
        requests: Requests of one lookup, on average.
    """

    success: float
    lengths: Mapping[int | None, int] = field(default_factory=dict)
    requests: float = 0.0


class StaticNetwork:
    """Nodes at random positions, each of which knows up to `k` random others of every distance, and everybody in its own corner.

    Args:
        size: How many nodes.
        seed: Same seed, same network.
        k: Size of the buckets, and of answers.
    """

    def __init__(self, size: int, *, seed: int, k: int = 16) -> None:
        rng = random.Random(f"static network {seed}")
        self.k = k
        self.keys = sorted(rng.getrandbits(KEY_BITS) for _ in range(size))
        self.contacts = {key: _contact(number, key) for number, key in enumerate(self.keys)}
        self._tables: dict[int, list[int]] = {key: [] for key in self.keys}
        self._fill(rng)

    def closest_known(self, node: int, target: int, count: int) -> list[Contact]:
        """What a node answers."""
        return [self.contacts[key] for key in sorted(self._tables[node], key=target.__xor__)[:count]]

    def closest(self, target: int, count: int) -> list[int]:
        """What somebody who sees every node would answer."""
        return sorted(self.keys, key=target.__xor__)[:count]

    def sample(self, *, paths: int, adversaries: float, lookups: int, seed: int = 0) -> LookupSample:
        """Look up the positions of honest nodes from other ones, one request at a time on every path.

        Args:
            paths: Disjoint paths.
            adversaries: The share of nodes that lie.
            lookups: How many.
            seed: Of targets, starting points and who lies.
        """
        rng = random.Random(f"lookups {seed}")
        liars = set(rng.sample(self.keys, round(adversaries * len(self.keys))))
        honest = [key for key in self.keys if key not in liars]
        found = requests = 0
        lengths: Counter[int | None] = Counter()
        for _ in range(lookups):
            goal, own = rng.sample(honest, 2)
            target = goal ^ rng.getrandbits(8)
            progress, reached = self._look_up(own, target, goal, liars, paths)
            found += any(contact.key == goal for contact in progress.result())
            requests += progress.requests
            lengths.update(reached)
        return LookupSample(success=found / lookups, lengths=lengths, requests=requests / lookups)

    def _look_up(self, own: int, target: int, goal: int, liars: set[int], paths: int) -> tuple[LookupProgress, list[int | None]]:
        colluders = [_contact((1 << 24) + number, target ^ (1 << 16) + number) for number in range(self.k)]
        by_key = {contact.key for contact in colluders}
        rules = LookupRules(count=self.k, parallelism=paths, paths=paths, max_requests=4000)
        seeds = self.closest_known(own, target, self.k)
        progress = LookupProgress(target, seeds, rules, own=own, now=0.0)
        waiting: deque[Contact] = deque()
        told: set[int] = set()  # who named the goal
        while not progress.done:
            waiting.extend(ask.contact for ask in progress.next(0.0))
            peer = waiting.popleft()
            lies = peer.key in liars or peer.key in by_key
            answer = colluders if lies else self.closest_known(peer.key, target, self.k)
            if any(contact.key == goal for contact in answer):
                told.add(peer.key)
            progress.on_reply(peer, answer, 0.0)
        asked: list[list[int]] = [[] for _ in range(paths)]
        for hop in progress.trace(0.0):
            asked[hop.path].append(hop.distance ^ target)
        from_the_start = [any(seed.key == goal for seed in seeds[number::paths]) for number in range(paths)]
        lengths = [
            0 if known else next((i for i, key in enumerate(way, 1) if key in told), None)
            for way, known in zip(asked, from_the_start, strict=True)
        ]
        return progress, lengths

    def _fill(self, rng: random.Random) -> None:
        """Deal out the halves of every subtree to each other; in a small one everybody knows everybody, as with sibling lists."""
        subtrees = [(0, len(self.keys), KEY_BITS - 1)]
        while subtrees:
            low, high, bit = subtrees.pop()
            if high - low <= 4 * self.k:
                for key in self.keys[low:high]:
                    self._tables[key] += [other for other in self.keys[low:high] if other != key]
                continue
            prefix = self.keys[low] >> bit + 1 << bit + 1
            middle = bisect_left(self.keys, prefix | 1 << bit, low, high)
            halves = self.keys[low:middle], self.keys[middle:high]
            for own, other in (halves, halves[::-1]):
                for key in own:
                    self._tables[key] += rng.sample(other, self.k) if len(other) > self.k else other
            subtrees += [(low, middle, bit - 1), (middle, high, bit - 1)]


def expected_success(lengths: Mapping[int | None, int], *, paths: int, adversaries: float) -> float:
    """The formula, for measured path lengths; a path that never gets there has no peer on it that could help."""
    total = sum(count for length, count in lengths.items() if length is not None)
    through = {length: (1 - adversaries) ** length for length in lengths if length is not None}
    return sum(lengths[length] / total * (1 - (1 - chance) ** paths) for length, chance in through.items())


def compare(
    network: StaticNetwork, *, paths: Sequence[int] = (1, 2, 4, 8), adversaries: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5), lookups: int
) -> list[dict[str, float]]:
    """Success beside the formula for each number of paths and share of adversaries: one row each."""
    rows = []
    for count in paths:
        clean = network.sample(paths=count, adversaries=0.0, lookups=lookups)
        rows.append({"paths": count, "adversaries": 0.0, "success": clean.success, "formula": 1.0, "requests": clean.requests})
        for share in adversaries:
            measured = network.sample(paths=count, adversaries=share, lookups=lookups)
            formula = expected_success(clean.lengths, paths=count, adversaries=share)
            rows.append(
                {"paths": count, "adversaries": share, "success": measured.success, "formula": formula, "requests": measured.requests}
            )
    return rows
