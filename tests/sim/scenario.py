"""What a scenario is, and what they have in common."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from peerstack.testing.message_network import LinkModel
from tests.sim.node_network import NodeOptions
from tests.sim.world import World

__all__ = ["FLOORS", "REGISTERED", "Scenario", "names_of", "one", "scenario", "until", "use"]

Play = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One of them."""

    name: str
    summary: str
    play: Play
    links: LinkModel = field(default_factory=LinkModel)
    options: Callable[[random.Random, int], NodeOptions] = lambda _dice, _number: NodeOptions()
    """What each server has of its own."""
    size: int = 60
    least: int = 1
    """The fewest servers with which it makes sense."""
    most: Mapping[str, int] = field(default_factory=dict)
    """The most with which it is promised, by DHT: docs/guides/guarantees.md says why."""
    seeds: int = 3
    """How many the tests play."""
    sure: float = 0.99
    """The least share of covered reads that have to be sure, and are."""
    no_floor: str = ""
    """Why operations may fail that the promise covers; empty: they may not, see `FLOORS`."""
    no_copies: str = ""
    """Why values may lie elsewhere than in their responsible sets at the end; empty: they may not."""
    only: str = ""
    """The DHT whose promise it tries; empty: all of them promise it."""


REGISTERED: dict[str, Scenario] = {}

FLOORS: Final[Mapping[str, float]] = {"reads": 0.99, "puts": 0.95}
"""The least shares of covered operations, see `tests.sim.oracle.Availability`, that succeed within five virtual seconds, retry included."""


def scenario(name: str, summary: str, **rest: Any) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        REGISTERED[name] = Scenario(name=name, summary=summary, play=play, **rest)
        return play

    return register


def names_of(prefix: str, count: int) -> list[str]:
    return [f"{prefix} {number}" for number in range(count)]


async def use(world: World, names: Sequence[str], seconds: float, *, pause_s: float = 1.0, puts: float = 0.2) -> None:
    """Read and write for a while, somebody now and then."""
    end = world.now + seconds
    while world.now < end:
        await one(world, names, puts)
        await asyncio.sleep(pause_s)


async def one(world: World, names: Sequence[str], puts: float = 0.2) -> None:
    name = world.dice.choice(names)
    await (world.write(name) if world.dice.random() < puts else world.read(name))


async def until(task: asyncio.Task[None], step: Callable[[], Awaitable[object]], pause_s: float) -> None:
    while not task.done():
        await step()
        await asyncio.sleep(pause_s)
    await task
