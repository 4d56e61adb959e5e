"""What the data engine needs from outside: requests to other nodes, clocks, timers, random bits.

`peerstack.rpc.streams` and the host provide it in real life, a message network in simulations. Nothing here awaits: answers come by
callback, and only the public operations turn one callback into one future.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply, Request
from peerstack.errors import PeerstackError

__all__ = ["Finished", "Outside", "Respond", "Rpc", "RpcDone"]

ResultT = TypeVar("ResultT")

Finished = Callable[[ResultT | PeerstackError], None]
"""Ends one operation, with what came of it."""

RpcDone = Callable[[Reply | PeerstackError, float], None]
"""``(reply or error, now)``: called once per request, never from within `Rpc.request`."""

Respond = Callable[[Reply], None]
"""Answers one request, at once or once the store has committed."""


class Rpc(Protocol):
    """Sends requests."""

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        """Ask another node.

        Args:
            peer: Whom; its addresses are where it can be dialled.
            message: What.
            timeout: Seconds until `peerstack.errors.DeadlineExceeded`.
            done: Gets the answer, or why there is none.
        """


class Outside(Protocol):
    """Clocks, timers and random bits."""

    def time(self) -> float:
        """Monotonic seconds."""

    def wall_us(self) -> int:
        """The wall clock, microseconds since 1970."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after `delay` seconds unless the returned function is called."""

    def random_bits(self, count: int) -> int:
        """`count` random bits, for jitter and sampling."""
