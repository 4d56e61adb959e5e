"""Addresses of one peer, raced: each gets a short head start over the next, a failure starts the next at once (RFC 8305, section 5)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from peerstack.addresses import Address
from peerstack.errors import DeadlineExceeded, DialError, PeerstackError
from peerstack.host.tasks import TaskScope
from peerstack.identity import PeerId
from peerstack.net.connection import Connection

__all__ = ["AddressRace", "Candidate"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address to try."""

    peer_id: PeerId
    address: Address
    """Without ``/p2p``."""
    trusted: bool
    """Named by this host's user, or known to have worked: dialled even where it is private."""


Attempt = Callable[[Candidate], Awaitable[Connection | list[Candidate]]]
"""Dials one candidate, or turns a DNS name into candidates."""


class AddressRace:
    """One race.

    Attributes:
        causes: The error of each address that failed, by its text.
        tried: Binary forms of the addresses entered.
    """

    def __init__(self, attempt: Attempt, scope: TaskScope, *, stagger_s: float, max_addresses: int) -> None:
        """Prepare a race without runners.

        Args:
            attempt: Dials one candidate.
            scope: Owns the tasks of the runners.
            stagger_s: Head start of each over the next.
            max_addresses: Entered at most.
        """
        self.causes: dict[str, BaseException] = {}
        self.tried: dict[bytes, None] = {}
        self._attempt = attempt
        self._scope = scope
        self._stagger_s = stagger_s
        self._max_addresses = max_addresses
        self._queue: deque[Candidate] = deque()
        self._running: dict[asyncio.Task[None], Candidate] = {}
        self._winner: Connection | None = None
        self._over = False
        self._wake = asyncio.Event()

    def enter(self, candidates: Iterable[Candidate], *, in_front: bool = False) -> None:
        """Add candidates, also while the race runs; those entered before are passed over."""
        fresh = []
        for candidate in candidates:
            key = candidate.address.to_bytes()
            if key not in self.tried and len(self.tried) < self._max_addresses:
                self.tried[key] = None
                fresh.append(candidate)
        if in_front:
            self._queue.extendleft(reversed(fresh))
        else:
            self._queue.extend(fresh)
        self._wake.set()

    async def run(self) -> Connection | None:
        """Race; returns the first connection, or None when every candidate failed.

        Losers are cancelled; one that comes up all the same is closed.
        """
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        try:
            while self._winner is None and (self._queue or self._running):
                failures = len(self.causes)
                if self._queue and (not self._running or loop.time() >= next_at):
                    self._start(self._queue.popleft())
                    next_at = loop.time() + self._stagger_s
                await self._woken(next_at if self._queue else None)
                if len(self.causes) > failures:
                    next_at = loop.time()
            return self._winner
        finally:
            self._over = True
            for task, candidate in self._running.items():
                self.causes.setdefault(str(candidate.address), DeadlineExceeded("no connection in time"))
                task.cancel()

    def _start(self, candidate: Candidate) -> None:
        task = self._scope.spawn(self._try(candidate), name=f"dial {candidate.address}")
        self._running[task] = candidate
        task.add_done_callback(self._ended)

    async def _woken(self, deadline: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()
        self._wake.clear()

    async def _try(self, candidate: Candidate) -> None:
        try:
            outcome = await self._attempt(candidate)
        except PeerstackError as error:
            self.causes[str(candidate.address)] = error
        except Exception as error:  # the boundary of a transport: what it lets through fails this one address
            _logger.exception("dialling %s crashed", candidate.address)
            self.causes[str(candidate.address)] = DialError(f"the transport crashed: {error!r}")
        else:
            if isinstance(outcome, list):
                self.enter(outcome, in_front=True)
            elif self._winner is None and not self._over:
                self._winner = outcome
            else:
                outcome.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wake.set()
