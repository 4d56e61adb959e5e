"""A network of messages without connections or encryption: the `rpc` seam of a DHT plugin, in virtual time.

Whoever is attached asks others by `MessageEndpoint.request` and is asked through its handler. Messages are passed as the objects they are.
A *message* is one request or one reply. Latency and loss come from one seeded generator, so that the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from peerstack.errors import DeadlineExceeded, DialError, PeerstackError
from peerstack.identity import PeerId

__all__ = ["LinkModel", "MessageEndpoint", "MessageNetwork", "Named"]

MessageT = TypeVar("MessageT")

Answered = Callable[[Any, float], None]
"""``(reply or error, now)``."""


class Named(Protocol):
    """Whoever can be asked: a contact of any DHT."""

    @property
    def peer_id(self) -> PeerId:
        """Its peer id."""


Handler = Callable[[PeerId, Any, Callable[[Any], None]], None]
"""``(sender, request, respond)``: `respond` is called at most once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkModel:
    """How messages travel."""

    latency_s: float = 0.02
    """The least one-way delay."""
    jitter_s: float = 0.02
    """The mean of an exponential delay on top; it reorders messages."""
    loss: float = 0.0
    """The share of messages that are lost."""
    duplication: float = 0.0
    """The share of requests that arrive twice."""


class MessageEndpoint:
    """One node's way into the network: an implementation of the `rpc` seam."""

    def __init__(self, network: MessageNetwork, peer_id: PeerId, handler: Handler) -> None:
        self.peer_id = peer_id
        self._network = network
        self.handler = handler

    def request(self, peer: Named, message: Any, timeout: float, done: Answered) -> None:
        """Ask another node; `done` gets the reply or why there is none, exactly once and never from within this call."""
        self._network.request(self, peer.peer_id, message, timeout, done)


class MessageNetwork:
    """All nodes and the links between them.

    Attributes:
        messages: Requests and replies sent so far, the lost ones included.
    """

    def __init__(self, seed: int | str = 0, links: LinkModel | None = None) -> None:
        self.messages = 0
        self._random = random.Random(f"message network {seed}")
        self._links = links or LinkModel()
        self._nodes: dict[PeerId, MessageEndpoint] = {}
        self._side: dict[PeerId, int] = {}
        self._slow: dict[PeerId, float] = {}
        self._silent: set[PeerId] = set()
        self._cut: set[tuple[PeerId, PeerId]] = set()

    def attach(self, peer_id: PeerId, handler: Handler) -> MessageEndpoint:
        """Let a node take part."""
        self._silent.discard(peer_id)
        endpoint = self._nodes[peer_id] = MessageEndpoint(self, peer_id, handler)
        return endpoint

    def detach(self, peer_id: PeerId) -> None:
        """Take a node away whose machine stays: who asks it is refused after one round trip."""
        self._nodes.pop(peer_id, None)

    def crash(self, peer_id: PeerId) -> None:
        """Take a node and its machine away at once: who asks it hears nothing."""
        self._nodes.pop(peer_id, None)
        self._silent.add(peer_id)

    def partition(self, *sides: Iterable[PeerId]) -> None:
        """Cut the network into sides; whoever stands on none belongs to the first."""
        self._side = {peer: number for number, side in enumerate(sides) for peer in side}

    def cut(self, source: PeerId, target: PeerId) -> None:
        """Lose whatever one node sends to another; the other way stays open."""
        self._cut.add((source, target))

    def heal(self) -> None:
        """Undo `partition` and `cut`."""
        self._side = {}
        self._cut.clear()

    def slow_down(self, peer_id: PeerId, seconds: float) -> None:
        """Let every answer of a node take longer."""
        self._slow[peer_id] = seconds

    def request(self, source: MessageEndpoint, target: PeerId, message: Any, timeout: float, done: Answered) -> None:
        """See `MessageEndpoint.request`."""
        loop = asyncio.get_running_loop()
        if not self._up(source):
            return  # the dead ask nobody and are told nothing

        def unless_dead(outcome: Any, now: float) -> None:
            if self._up(source):
                done(outcome, now)

        exchange: _Exchange[Any] = _Exchange(unless_dead, loop)
        if target not in self._nodes and target not in self._silent:
            exchange.arm(self._delay() + self._delay(), DialError(f"nobody listens as {target}"))
            self.messages += 1
            return
        exchange.arm(timeout, DeadlineExceeded(f"{target} did not answer within {timeout:g} s"))
        copies = 2 if self._links.duplication and self._random.random() < self._links.duplication else 1
        for _ in range(copies):
            self._send(source.peer_id, target, lambda: self._arrive(source, target, message, exchange))

    def _arrive(self, source: MessageEndpoint, target: PeerId, message: Any, exchange: _Exchange[Any]) -> None:
        endpoint = self._nodes.get(target)
        if endpoint is None:
            return

        def respond(reply: Any) -> None:
            if self._up(endpoint):
                self._send(
                    target, source.peer_id, lambda: exchange.settle(reply) if self._up(source) else None, self._slow.get(target, 0.0)
                )

        endpoint.handler(source.peer_id, message, respond)

    def _send(self, source: PeerId, target: PeerId, deliver: Callable[[], object], extra: float = 0.0) -> None:
        self.messages += 1
        if self._side.get(source, 0) != self._side.get(target, 0) or (source, target) in self._cut:
            return
        if self._links.loss and self._random.random() < self._links.loss:
            return
        asyncio.get_running_loop().call_later(self._delay() + extra, deliver)

    def _delay(self) -> float:
        links = self._links
        return links.latency_s + (self._random.expovariate(1 / links.jitter_s) if links.jitter_s else 0.0)

    def _up(self, endpoint: MessageEndpoint) -> bool:
        return self._nodes.get(endpoint.peer_id) is endpoint


class _Exchange(Generic[MessageT]):
    """One request and its only answer."""

    __slots__ = ("_done", "_loop", "_timer")

    def __init__(self, done: Callable[[MessageT | PeerstackError, float], None], loop: asyncio.AbstractEventLoop) -> None:
        self._done: Callable[[MessageT | PeerstackError, float], None] | None = done
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, delay: float, error: PeerstackError) -> None:
        self._timer = self._loop.call_later(delay, self.settle, error)

    def settle(self, outcome: MessageT | PeerstackError) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        done(outcome, self._loop.time())
