"""Ways to bring the same bytes to a machine: at once, byte by byte, or cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Protocol

import pytest
from hypothesis import strategies as st

from peerstack.wire.machine import Buffer

LIMIT = 1 << 16


class Fed(Protocol):
    def feed(self, data: Buffer, now: float) -> object: ...


class Talking(Fed, Protocol):
    def take_output(self, limit: int) -> list[Buffer]: ...


Cutter = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for index in range(len(data)):
        yield data[index : index + 1]


def cut_by(sizes: Iterable[int]) -> Cutter:
    """A cutter whose pieces have these sizes, over and over."""
    pattern = list(sizes)

    def cut(data: bytes) -> Iterator[bytes]:
        offset = 0
        for size in cycle(pattern):
            if offset >= len(data):
                return
            yield data[offset : offset + size]
            offset += size

    return cut


each_way = pytest.mark.parametrize("cut", [whole, bytewise, cut_by([7]), cut_by([2, 1, 30])], ids=["whole", "bytewise", "sevens", "mixed"])
"""Runs a test once per way."""

cutters = st.lists(st.integers(1, 70), min_size=1, max_size=8).map(cut_by)
"""Cuts in arbitrary places."""


def feed_all(machine: Fed, data: bytes, cut: Cutter = whole) -> None:
    for chunk in cut(data):
        machine.feed(chunk, 0.0)


def output(machine: Talking) -> bytes:
    """What the machine wants to send now."""
    return b"".join(machine.take_output(LIMIT))


def converse(left: Talking, right: Talking, cut: Cutter = whole) -> None:
    """Carry bytes both ways until both are quiet."""
    while (forth := output(left)) + (back := output(right)):
        feed_all(right, forth, cut)
        feed_all(left, back, cut)
