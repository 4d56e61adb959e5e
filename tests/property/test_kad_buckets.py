"""The routing table beside a naive one: a list that is sorted for every question."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from peerstack_kad.buckets import STALE_AFTER, RoutingTable
from peerstack_kad.keys import common_prefix

from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.identity import PeerId

_TOP = KEY_BITS - 8
OWN = 0b10110101 << _TOP | 12345
KEYS = st.integers(0, 255).map(lambda high: high << _TOP | 777)
ACTIONS = st.lists(st.tuples(st.sampled_from(["heard", "heard", "failed", "removed"]), KEYS), max_size=120)


def contact(key: int) -> Contact:
    return Contact(PeerId(b"\x00\x01" + bytes([key >> _TOP])), key)


class NaiveTable:
    """The same rules with plain lists: a bucket's contacts and its waiting newcomers, oldest first, as [key, failures]."""

    def __init__(self, k: int, neighbourhood: int) -> None:
        self.k = k
        self.neighbourhood = neighbourhood
        self.contacts: dict[int, list[list[int]]] = {}
        self.waiting: dict[int, list[int]] = {}

    def is_near(self, index: int) -> bool:
        deeper = sum(len(found) for i, found in self.contacts.items() if i > index)
        return len(self.contacts.get(index, [])) < max(self.neighbourhood, self.k) and deeper < self.neighbourhood

    def heard(self, key: int) -> None:
        index = common_prefix(OWN, key)
        found = self.contacts.setdefault(index, [])
        waiting = self.waiting.setdefault(index, [])
        known = [each for each in found if each[0] == key]
        if known:
            found.remove(known[0])
            found.append([key, 0])
            return
        if len(found) < self.k or self.is_near(index):
            found.append([key, 0])
        elif stale := [each for each in found if each[1] >= STALE_AFTER]:
            found.remove(stale[0])
            found.append([key, 0])
        else:
            self.waiting[index] = [*(each for each in waiting if each != key), key][-self.k :]
            return
        self.waiting[index] = [each for each in waiting if each != key]

    def failed(self, key: int) -> None:
        index = common_prefix(OWN, key)
        self.waiting[index] = [each for each in self.waiting.get(index, []) if each != key]
        for each in self.contacts.get(index, []):
            if each[0] == key:
                each[1] += 1
                if each[1] >= STALE_AFTER and self.waiting[index]:
                    self.contacts[index].remove(each)
                    self.contacts[index].append([self.waiting[index].pop(), 0])
                return

    def removed(self, key: int) -> None:
        index = common_prefix(OWN, key)
        self.waiting[index] = [each for each in self.waiting.get(index, []) if each != key]
        self.contacts[index] = [each for each in self.contacts.get(index, []) if each[0] != key]

    def closest(self, target: int, count: int) -> list[int]:
        alive = [key for found in self.contacts.values() for key, failures in found if failures < STALE_AFTER]
        return sorted(alive, key=lambda key: key ^ target)[:count]


@given(ACTIONS, st.integers(1, 4), st.integers(1, 8), st.lists(KEYS, min_size=1, max_size=5), st.integers(1, 12))
def test_the_table_keeps_and_finds_what_the_naive_one_does(
    actions: list[tuple[str, int]], k: int, neighbourhood: int, targets: list[int], count: int
) -> None:
    table = RoutingTable(OWN, k=k, neighbourhood=neighbourhood)
    naive = NaiveTable(k, neighbourhood)
    for now, (action, key) in enumerate(actions):
        if action == "heard":
            table.heard(contact(key), float(now))
            naive.heard(key)
        elif action == "failed":
            table.failed(key)
            naive.failed(key)
        else:
            table.remove(key)
            naive.removed(key)
        kept = {index: [entry.contact.key for entry in table.bucket(index)] for index in range(table.depth)}
        assert {index: keys for index, keys in kept.items() if keys} == {
            index: [each[0] for each in found] for index, found in naive.contacts.items() if found
        }
        assert sum(map(len, kept.values())) == len(table)
        stale = {each[0] for found in naive.contacts.values() for each in found if each[1] >= STALE_AFTER}
        assert {contact.key for contact in table.stale()} == stale
    for target in targets:
        assert [found.key for found in table.closest(target, count)] == naive.closest(target, count)
