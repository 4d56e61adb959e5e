"""Announcing many keys again, region by region of the key space instead of key by key.

One lookup shows all servers of a small subtree. A region is the smallest subtree with at least k servers around a key: every key in it has
its k closest servers in it too, so that a few lookups (about one for every k/2 servers) serve all keys there, whatever their number, and
each server is sent its keys in one message.

Source: https://ipshipyard.com/blog/2025-dht-provide-sweep/ has the idea
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS, Contact, position_of
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode
from peerstack_kad.codec_parts import MAX_PROVIDED
from peerstack_kad.keys import closest, common_prefix
from peerstack_kad.messages import AddProvider
from peerstack_kad.provider_records import ProviderRecords

__all__ = ["Sweep"]

_LOOKUP_TIMEOUT_S: Final = 60.0
_MAX_LOOKUPS: Final = 64  # of one region: more only where lookups contradict each other
_MAX_GUESSES: Final = 1 << 16


class Sweep:
    """One round over all keys.

    Attributes:
        lookups: How many it took so far.

    Args:
        engine: Whose node.
        keys: What it provides.
        own: Where this node notes what it is itself among the closest for; None for a client.
        finished: Called at the end.
    """

    def __init__(self, engine: Engine, keys: Iterable[bytes], *, own: ProviderRecords | None, finished: Callable[[], None]) -> None:
        self.lookups = 0
        self._engine = engine
        self._own = own
        self._finished = finished
        self._keys = sorted((position_of(key), key) for key in keys)
        self._next = 0  # the first key not announced yet
        self._servers: dict[int, Contact] = {}  # of the region
        self._depth = 0  # of the region: leading bits that its keys share
        self._unseen: list[tuple[int, int]] = []  # (a position, leading bits): subtrees of the region not looked at yet
        self._region_lookups = 0
        self._sending = 0
        self._stopped = False

    def start(self) -> None:
        """Begin."""
        self._next_region()

    def stop(self) -> None:
        """Look up and send nothing more."""
        self._stopped = True

    def _next_region(self) -> None:
        if self._stopped:
            return
        if self._next == len(self._keys):
            self._finished()
            return
        self._servers = {} if self._own is None else {self._engine.own.key: self._engine.own}
        self._region_lookups = 0
        position, key = self._keys[self._next]
        self._look(key, partial(self._found_region, position))

    def _found_region(self, position: int, locate: Locate) -> None:
        self._unseen = []
        shared = self._take(position, locate)
        if shared is None:
            # All servers there are, or an answer so poor that it should serve this key alone.
            self._depth = 0 if locate.complete else KEY_BITS
        else:
            self._depth = shared
            self._unseen.append(_beside(position, shared))
        self._look_at_unseen()

    def _look_at_unseen(self) -> None:
        while self._unseen and self._region_lookups < _MAX_LOOKUPS:
            position, depth = self._unseen.pop()
            key = self._key_within(position, depth)
            if key is not None:
                self._look(key, partial(self._found_more, position_of(key), depth))
                return
        self._unseen = []
        self._announce()

    def _found_more(self, position: int, depth: int, locate: Locate) -> None:
        shared = self._take(position, locate)
        if shared is not None:
            self._unseen += [_beside(position, bits) for bits in range(depth, shared + 1)]
        self._look_at_unseen()

    def _take(self, position: int, locate: Locate) -> int | None:
        """Learn the k closest servers found; how many bits the farthest of them shares with the position. None if there are fewer.

        All servers that share more bits than that are among them: what is left of the subtree are the siblings on the way up.
        """
        k = self._engine.parameters.k
        found = [contact for contact in locate.contacts if contact.key != self._engine.own.key][:k]
        self._servers.update((contact.key, contact) for contact in found)
        return common_prefix(position, found[-1].key) if len(found) == k else None

    def _announce(self) -> None:
        """Send every key of the region to its k closest servers, one message for each of them."""
        position = self._keys[self._next][0]
        batches: dict[int, list[bytes]] = {}
        k = self._engine.parameters.k
        while self._next < len(self._keys) and common_prefix(position, self._keys[self._next][0]) >= self._depth:
            target, key = self._keys[self._next]
            for server in closest(self._servers, target, k):
                batches.setdefault(server, []).append(key)
            self._next += 1
        self._sending = 1
        for server in sorted(batches):
            self._send(self._servers[server], batches[server])
        self._sent()

    def _send(self, server: Contact, keys: list[bytes]) -> None:
        engine = self._engine
        if server.key == engine.own.key:
            if self._own is not None:
                self._own.add(keys, engine.own, engine.outside.wall_us())
            return
        for start in range(0, len(keys), MAX_PROVIDED):
            self._sending += 1
            engine.ask(server, AddProvider(tuple(keys[start : start + MAX_PROVIDED]), (engine.own,)), lambda _reply, _now: self._sent())

    def _sent(self) -> None:
        self._sending -= 1
        if not self._sending:
            self._next_region()

    def _look(self, key: bytes, found: Callable[[Locate], None]) -> None:
        self.lookups += 1
        self._region_lookups += 1
        count = self._engine.parameters.k + 1  # this node may be one of them
        Locate(self._engine, FindNode.of(key), count=count, trace=False, timeout=_LOOKUP_TIMEOUT_S, finished=found).start()

    def _key_within(self, position: int, depth: int) -> bytes | None:
        """A key in a subtree: one of ours, else one found by trying (on foreign ids there is no other way to name a position)."""
        low = position >> (KEY_BITS - depth) << (KEY_BITS - depth)
        index = bisect_left(self._keys, (low, b""))
        if index < len(self._keys) and common_prefix(self._keys[index][0], position) >= depth:
            return self._keys[index][1]
        seed = self._engine.outside.random_bits(64).to_bytes(8, "big")
        for number in range(_MAX_GUESSES):
            key = hashlib.sha256(seed + number.to_bytes(4, "big")).digest()
            if common_prefix(position_of(key), position) >= depth:
                return key
        return None


def _beside(position: int, bits: int) -> tuple[int, int]:
    """The subtree whose members share exactly `bits` leading bits with a position."""
    return position ^ 1 << (KEY_BITS - bits - 1), bits + 1
