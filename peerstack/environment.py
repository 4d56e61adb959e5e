"""The outside world as arguments: clocks, entropy and name resolution.

Everything above the wire machines takes its time and randomness from an `Environment`, so that the same code runs on the real clock and in
virtual time.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["Environment", "Resolver", "clock_of", "resolve_host"]

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""``(name, family) -> numeric IP addresses``; family is `socket.AF_INET`, `AF_INET6` or `AF_UNSPEC`."""


async def resolve_host(name: str, family: int) -> list[str]:
    """Resolve a DNS name through the operating system.

    Args:
        name: Host name without a port.
        family: `socket.AF_INET`, `socket.AF_INET6` or `socket.AF_UNSPEC`.

    Returns:
        Numeric addresses in the resolver's order, without duplicates.

    Raises:
        OSError: The name does not resolve.
    """
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The event loop's clock, in seconds: cheap to read, and precise enough to measure round trips.

    asyncio's own loops and uvloop's both count the system's monotonic clock; uvloop's ticks in milliseconds and stands still during a turn.
    So for both that clock is read directly. A loop with a clock of its own, such as one in virtual time, is asked.
    """
    ordinary = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    return time.monotonic if ordinary or type(loop).__module__.partition(".")[0] == "uvloop" else loop.time


def _fresh_random() -> random.Random:
    return random.Random(secrets.randbits(128))


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a host takes from outside.

    The monotonic clock is the running event loop's (`asyncio.AbstractEventLoop.time`): virtual time comes in with the loop.
    """

    wall_clock: Callable[[], float] = time.time
    """Seconds since the Unix epoch (UTC); judges expiry of records."""

    entropy: Callable[[int], bytes] = secrets.token_bytes
    """``entropy(n)`` gives n bytes fit for keys."""

    random: random.Random = field(default_factory=_fresh_random)
    """Jitter and sampling; never for keys."""

    resolver: Resolver = resolve_host
    """Resolves ``/dns``, ``/dns4`` and ``/dns6`` addresses."""
