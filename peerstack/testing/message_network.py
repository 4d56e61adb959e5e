"""A network of messages without connections or encryption: the `rpc` seam of a DHT plugin, in virtual time.

Whoever is attached asks others by `MessageEndpoint.request` and is asked through its handler. Messages are passed as the objects they are.
A *message* is one request or one reply. Latency and loss come from one seeded generator, so that the same seed gives the same run.

Made for millions of messages: nobody is woken for a timeout unless the answer is known to miss it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any, Protocol

from peerstack.errors import DeadlineExceeded, DialError, PeerstackError
from peerstack.identity import PeerId
from peerstack.testing.virtual_time import Timer, VirtualTimeLoop

__all__ = ["LinkModel", "MessageEndpoint", "MessageNetwork", "Named"]

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
    """One node's way into the network: an implementation of the `rpc` seam.

    Attributes:
        peer_id: Whose.
        handler: Serves what others ask it.
        up: Whether it still takes part, under this very attachment.
    """

    __slots__ = ("_network", "handler", "peer_id", "up")

    def __init__(self, network: MessageNetwork, peer_id: PeerId, handler: Handler) -> None:
        self.peer_id = peer_id
        self.handler = handler
        self.up = True
        self._network = network

    def request(self, peer: Named, message: Any, timeout: float, done: Answered) -> None:
        """Ask another node; `done` gets the reply or why there is none, exactly once and never from within this call."""
        if self.up:  # the dead ask nobody and are told nothing
            self._network.request(self, peer.peer_id, message, timeout, done)


class MessageNetwork:
    """All nodes and the links between them. Made and used under a `virtual_time.VirtualTimeLoop`.

    Attributes:
        messages: Requests and replies sent so far, the lost ones included.
    """

    def __init__(self, seed: int | str = 0, links: LinkModel | None = None) -> None:
        self.messages = 0
        self.links = links or LinkModel()
        self._random = random.Random(f"message network {seed}").random
        self._nodes: dict[PeerId, MessageEndpoint] = {}
        self._side: dict[PeerId, int] = {}
        self._slow: dict[PeerId, float] = {}
        self._silent: set[PeerId] = set()
        self._cut: set[tuple[PeerId, PeerId]] = set()
        self._loop: VirtualTimeLoop | None = None

    @property
    def loop(self) -> VirtualTimeLoop:
        """The loop that the messages travel in."""
        if self._loop is None:
            running = asyncio.get_running_loop()
            if not isinstance(running, VirtualTimeLoop):
                raise RuntimeError("a message network lives in virtual time: run it with peerstack.testing.virtual_time.run")
            self._loop = running
        return self._loop

    def attach(self, peer_id: PeerId, handler: Handler) -> MessageEndpoint:
        """Let a node take part."""
        self._take_away(peer_id)
        self._silent.discard(peer_id)
        endpoint = self._nodes[peer_id] = MessageEndpoint(self, peer_id, handler)
        return endpoint

    def detach(self, peer_id: PeerId) -> None:
        """Take a node away whose machine stays: who asks it is refused after one round trip."""
        self._take_away(peer_id)

    def crash(self, peer_id: PeerId) -> None:
        """Take a node and its machine away at once: who asks it hears nothing."""
        self._take_away(peer_id)
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
        loop = self._loop or self.loop
        exchange = _Exchange(self, loop, source, target, message, done)
        if target not in self._nodes and target not in self._silent:
            exchange.fail_in(self.delay() + self.delay(), DialError, f"nobody listens as {target}")
            self.messages += 1
            return
        exchange.deadline, exchange.timeout = loop.time() + timeout, timeout
        copies = 2 if self.links.duplication and self._random() < self.links.duplication else 1
        arrives = False
        for _ in range(copies):
            delay = self.travel(source.peer_id, target)
            if delay is not None:
                arrives = arrives or delay < timeout
                loop.schedule(delay, exchange.arrive)
        if not arrives:
            exchange.await_timeout()

    def endpoint(self, peer_id: PeerId) -> MessageEndpoint | None:
        """Who takes part under a peer id now."""
        return self._nodes.get(peer_id)

    def travel(self, source: PeerId, target: PeerId) -> float | None:
        """Send one message: how long it is under way, or None where it never arrives."""
        self.messages += 1
        if self._side and self._side.get(source, 0) != self._side.get(target, 0):
            return None
        if self._cut and (source, target) in self._cut:
            return None
        if self.links.loss and self._random() < self.links.loss:
            return None
        return self.delay()

    def delay(self) -> float:
        """The one-way delay of one message."""
        links = self.links
        return links.latency_s - log(1.0 - self._random()) * links.jitter_s if links.jitter_s else links.latency_s

    def thinking_time(self, peer_id: PeerId) -> float:
        """How much longer than others a node takes to answer."""
        return self._slow.get(peer_id, 0.0) if self._slow else 0.0

    def _take_away(self, peer_id: PeerId) -> None:
        if (endpoint := self._nodes.pop(peer_id, None)) is not None:
            endpoint.up = False


class _Exchange:
    """One request and its only answer.

    A timer for the timeout is set only once it is known that no reply is sure to be there before: the request is lost, or its handler does
    not answer on the spot, or the reply is lost or late.
    """

    __slots__ = ("_answered", "_done", "_loop", "_message", "_network", "_source", "_target", "_timer", "deadline", "timeout")

    def __init__(
        self, network: MessageNetwork, loop: VirtualTimeLoop, source: MessageEndpoint, target: PeerId, message: Any, done: Answered
    ) -> None:
        self._network = network
        self._loop = loop
        self._source = source
        self._target = target
        self._message = message
        self._done: Answered | None = done
        self._timer: Timer | None = None
        self._answered = False  # whether a reply is under way that is in time
        self.deadline = self.timeout = 0.0

    def arrive(self) -> None:
        """The request has arrived."""
        endpoint = self._network.endpoint(self._target)
        if endpoint is not None:
            endpoint.handler(self._source.peer_id, self._message, partial(self._respond, endpoint))
        if not self._answered:
            self.await_timeout()

    def await_timeout(self) -> None:
        """Set the timer of the timeout, unless that has been done, or the exchange is over."""
        left = self.deadline - self._loop.time()
        if self._timer is None and self._done is not None and left >= 0:
            self.fail_in(left, DeadlineExceeded, f"{self._target} did not answer within {self.timeout:g} s")

    def fail_in(self, delay: float, error: type[PeerstackError], why: str) -> None:
        """End the exchange after `delay` seconds unless a reply does before."""
        self._timer = self._loop.schedule(delay, self._fail, error, why)

    def _respond(self, endpoint: MessageEndpoint, reply: Any) -> None:
        if not endpoint.up:
            return
        delay = self._network.travel(self._target, self._source.peer_id)
        if delay is not None:
            delay += self._network.thinking_time(self._target)
            self._answered = self._answered or self._loop.time() + delay < self.deadline
            self._loop.schedule(delay, self._settle, reply)

    def _fail(self, error: type[PeerstackError], why: str) -> None:
        self._settle(error(why))

    def _settle(self, outcome: Any) -> None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._loop.unschedule(self._timer)
        if done is not None and self._source.up:
            done(outcome, self._loop.time())
