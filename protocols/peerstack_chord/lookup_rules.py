"""How a lookup on the ring goes about it. See `lookup`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peerstack.dht.replica.contacts import Contact

__all__ = ["LookupRules"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupRules:
    """How a lookup goes about it."""

    count: int = 1
    """How many members to find from the position on; 0 for its closest predecessor alone."""
    parallelism: int = 10
    """Requests under way at once, overdue ones not counted, once the approach is over."""
    max_requests: int = 200
    """Over all; then the lookup ends incomplete."""
    max_hops: int = 128
    """The longest way; fingers make it a few hops, without them it leads along successor lists."""
    max_named: int = 64
    """Members accepted from one answer."""
    timeout: Callable[[Contact], float] = lambda _contact: 10.0
    """Seconds after which a member's silence is a failure."""
    patience: Callable[[Contact], float] = lambda _contact: 10.0
    """Seconds after which somebody else is asked as well."""
    rtt: Callable[[Contact], float | None] = lambda _contact: None
    """A member's round-trip time in seconds, where known."""
