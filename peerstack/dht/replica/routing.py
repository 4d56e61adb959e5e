"""What the data engine needs of a plugin's routing table, and of a look-up that begins from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.rtt import RoundTrips

__all__ = ["Ask", "Known", "Progress", "Routing"]


@dataclass(slots=True)
class Ask:
    """Send the look-up's question to this peer."""

    contact: Contact
    timeout: float


class Known(Protocol):
    """A server in the routing table."""

    @property
    def contact(self) -> Contact:
        """Who."""

    @property
    def last_heard(self) -> float:
        """When there was a sign of life last, monotonic seconds."""

    @property
    def failures(self) -> int:
        """Requests in a row that it did not answer."""

    @property
    def stale(self) -> bool:
        """Whether those are too many for it to be named to others."""


class Progress(Protocol):
    """One look-up under way: it says whom to ask, is told what came of it, and knows when it is over."""

    def next(self, now: float) -> list[Ask]:
        """Whom to ask now; called again after every report and at `deadline`."""

    def on_reply(self, peer: Contact, closer: Sequence[Contact], now: float) -> None:
        """Take an answer; late ones count too."""

    def on_failure(self, peer: Contact, now: float, outcome: HopOutcome = HopOutcome.TIMEOUT) -> None:
        """Take the news that a peer does not answer."""

    def deadline(self) -> float | None:
        """When `next` wants to be called although nothing was reported."""

    def extend(self, count: int) -> None:
        """Look for more of the closest than was said at first."""

    @property
    def done(self) -> bool:
        """Whether it is over: complete, or nobody is left to ask or to wait for."""

    @property
    def complete(self) -> bool:
        """Whether the closest servers that are not dead have all answered."""

    @property
    def converged(self) -> bool:
        """As `complete`, but without waiting for those who take longer than they usually do."""

    def result(self) -> list[Contact]:
        """The closest servers that answered, closest first."""

    def trace(self, now: float) -> tuple[Hop, ...]:
        """What was asked of whom, in order of sending."""


class Routing(Protocol):
    """The servers that one node knows of itself: reachable, and of its own network."""

    @property
    def revision(self) -> int:
        """Another number whenever somebody came in or went."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Known]: ...

    def get(self, key: int) -> Known | None:
        """The server at a position."""

    def heard(self, contact: Contact, now: float) -> None:
        """Note a sign of life of a server: its request, its answer, its identification."""

    def failed(self, key: int) -> None:
        """Note that a server did not answer a request."""

    def remove(self, key: int) -> None:
        """Take a server out: it left, or serves the network no more."""

    def forget_silent(self, before: float) -> list[Contact]:
        """Take out, and return, failing servers not heard of since `before`."""

    def stale(self) -> list[Contact]:
        """The servers that failed too often to be named to others."""

    def closest(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """The `count` servers closest to a position that are not stale, closest first, the one at `exclude` left out."""

    def leading_to(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """Whom to name to a server that looks for a position: on a ring those before it, who lead there, and not the closest alone."""

    def begin_lookup(self, target: int, seeds: Iterable[Contact], *, count: int, trips: RoundTrips, now: float) -> Progress:
        """Begin to look for the `count` servers closest to a position.

        Args:
            target: The position.
            seeds: The closest servers known.
            count: How many to find.
            trips: How long to wait for whom.
            now: Monotonic seconds.
        """

    def looked_up(self, target: int, now: float) -> None:
        """Note that a look-up ended."""

    def adopt(self, parameters: NetworkParameters) -> None:
        """Use the parameters of the network met: for a client."""
