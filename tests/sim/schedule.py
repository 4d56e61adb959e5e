"""What a schedule is, how one is entered, and how it is played. See `schedules` for what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.testing import virtual_time
from tests.sim.oracle import Violation
from tests.sim.stage import Stage
from tests.sim.world import SMALL

__all__ = ["REGISTERED", "Schedule", "perform", "schedule"]

Play = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A small play, and the network it is played on."""

    name: str
    play: Play
    size: int
    parameters: NetworkParameters
    dht: str = "kad"


REGISTERED: Final[dict[str, Schedule]] = {}
"""Those entered so far, by name."""


def schedule(*, size: int = 12, parameters: NetworkParameters = SMALL, dht: str = "kad") -> Callable[[Play], Play]:
    """Enter a play under its name."""

    def register(play: Play) -> Play:
        name = play.__name__.replace("_", " ")
        REGISTERED[name] = Schedule(name=name, play=play, size=size, parameters=parameters, dht=dht)
        return play

    return register


def perform(entry: Schedule, seed: int = 0) -> list[str]:
    """Play a schedule; what promises were broken.

    Args:
        entry: Which.
        seed: Another one is another network: other identities, other delays.

    Raises:
        BrokenPremise: It did not come to its point.
        RuntimeError: Something raised where nobody catches.
    """
    return virtual_time.run(_perform(entry, seed))


async def _perform(entry: Schedule, seed: int) -> list[str]:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
    stage = Stage(entry.size, seed=seed, parameters=entry.parameters, dht=entry.dht)
    world = stage.world
    broken: list[Violation] = []
    try:
        await entry.play(stage)
    except AssertionError as error:
        broken.append(Violation("promise", world.now, str(error)))
    finally:
        await world.network.close()
    if raised:
        raise RuntimeError(f"{raised[0].get('message')}: {raised[0].get('exception')!r}")
    return [str(each) for each in [*broken, *world.oracle().judge(world.history)]]
