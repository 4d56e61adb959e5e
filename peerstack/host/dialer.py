"""Dialing: one attempt per peer at a time, its addresses raced, failures backed off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from peerstack.addresses import Address, resolve
from peerstack.config import HostConfig
from peerstack.errors import Closed, DialError, PeerIdMismatch, PeerstackError
from peerstack.host.backoff import Backoff
from peerstack.host.connections import ConnectionTable
from peerstack.host.metrics import HostMetrics, error_label
from peerstack.host.peerbook import PeerBook
from peerstack.host.race import AddressRace, Candidate
from peerstack.host.tasks import TaskScope
from peerstack.host.transports import find_transport
from peerstack.identity import PeerId
from peerstack.net.connection import Connection
from peerstack.net.endpoint import Endpoint
from peerstack.net.stored_errors import fresh
from peerstack.net.transport import Transport

__all__ = ["Dialer"]


class _Attempt:
    """A dial under way, and everybody who waits for it."""

    def __init__(self, race: AddressRace) -> None:
        self.race = race
        self.task: asyncio.Task[None] | None = None
        self.abandoned = False
        self._waiters: dict[asyncio.Future[Connection | PeerstackError], None] = {}

    async def join(self) -> Connection:
        """Wait for the outcome. Leaving early ends the attempt only when nobody else waits."""
        waiter: asyncio.Future[Connection | PeerstackError] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            outcome = await waiter
        finally:
            del self._waiters[waiter]
            if not self._waiters and self.task is not None and not self.task.done():
                self.abandoned = True
                self.task.cancel()
        if isinstance(outcome, PeerstackError):
            raise fresh(outcome)
        return outcome

    def settle(self, outcome: Connection | PeerstackError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)


class Dialer:
    """Connects to peers.

    Args:
        endpoint: Makes the connections.
        transports: In order of preference.
        table: Keeps them; knows the gater and the limits.
        book: Knows the addresses, and learns which ones work.
        config: The host's configuration.
        metrics: Where dials are counted.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transports: Sequence[Transport],
        table: ConnectionTable,
        book: PeerBook,
        config: HostConfig,
        metrics: HostMetrics,
        scope: TaskScope,
    ) -> None:
        self._endpoint = endpoint
        self._transports = transports
        self._table = table
        self._book = book
        self._config = config.dial
        self._resolver = config.environment.resolver
        self._metrics = metrics
        self._scope = scope
        self._slots = asyncio.Semaphore(config.limits.max_dials)
        self._backoff = Backoff(config.dial, config.environment.random, lambda: asyncio.get_running_loop().time())
        self._attempts: dict[PeerId, _Attempt] = {}

    async def connect(self, peer_id: PeerId, given: Sequence[Address] = ()) -> Connection:
        """Dial a peer, or wait for the dial under way.

        Args:
            peer_id: Who has to answer.
            given: Addresses the user named: tried first, whatever the back-off and the policy for private addresses say.

        Raises:
            DialError: No address led to the peer; its `causes` say why.
            PeerIdMismatch: Every address was answered by somebody else.
            LimitExceeded: A connection limit of this host.
            Closed: The host stops.
        """
        candidates = self._candidates(peer_id, given)
        attempt = self._attempts.get(peer_id)
        if attempt is not None and not attempt.abandoned:
            attempt.race.enter(candidates, in_front=True)
            return await attempt.join()
        self._check(peer_id, candidates, forced=bool(given))
        race = AddressRace(self._dial, self._scope, stagger_s=self._config.stagger_s, max_addresses=self._config.max_addresses)
        race.enter(candidates)
        attempt = _Attempt(race)
        attempt.task = self._scope.spawn(self._run(peer_id, attempt), name=f"dial {peer_id}")
        self._attempts[peer_id] = attempt
        return await attempt.join()

    def _candidates(self, peer_id: PeerId, given: Sequence[Address]) -> list[Candidate]:
        named = [Candidate(peer_id, address.without_peer(), trusted=True) for address in given]
        known = [
            Candidate(peer_id, address, trusted=entry.given or entry.worked is not None) for address, entry in self._book.addresses(peer_id)
        ]
        return (named + [candidate for candidate in known if self._refusal(candidate) is None])[: self._config.max_addresses]

    def _check(self, peer_id: PeerId, candidates: Sequence[Candidate], *, forced: bool) -> None:
        """Raise what makes a dial pointless."""
        if peer_id == self._table.own_id:
            raise DialError("cannot dial this host itself")
        if not self._table.gater.allows_peer(peer_id):
            raise DialError(f"peer {peer_id} is denied by the configuration")
        if not candidates:
            raise DialError(f"no usable address of {peer_id} is known: connect to it by an address first, or find it through a DHT")
        wait, reason = self._backoff.remaining(peer_id.to_bytes(), [candidate.address.to_bytes() for candidate in candidates])
        if wait and not forced:
            raise DialError(f"{peer_id} is not dialled again for {wait:.1f} s, as the last dial failed: {reason}")
        self._table.check_room(peer_id)

    def _refusal(self, candidate: Candidate) -> str | None:
        """Why an address is not dialled."""
        address = candidate.address
        if find_transport(self._transports, address) is None:
            return "no transport of this host serves it"
        if not candidate.trusted and not self._config.private_addresses and address.is_private():
            return "it is private, and was learned from the network"
        if not self._table.gater.allows_address(address):
            return "it is denied by the configuration"
        return None

    async def _run(self, peer_id: PeerId, attempt: _Attempt) -> None:
        """Race, keep the winner, tell everybody who waits."""
        outcome: Connection | PeerstackError = Closed("the host stops")
        try:
            outcome = await self._outcome(peer_id, attempt.race)
        except PeerstackError as error:
            outcome = error
        finally:
            if self._attempts.get(peer_id) is attempt:
                del self._attempts[peer_id]
            attempt.settle(outcome)

    async def _outcome(self, peer_id: PeerId, race: AddressRace) -> Connection:
        connection: Connection | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.timeout_s):
                connection = await race.run()
        if connection is not None:
            self._table.add(connection)
            self._book.worked(peer_id, connection.remote_address)
            self._backoff.succeeded(peer_id.to_bytes())
            return connection
        arrived = self._table.best(peer_id)  # it may have dialled us in the meantime
        if arrived is not None:
            return arrived
        error = _failure(peer_id, race)
        self._backoff.failed(peer_id.to_bytes(), race.tried, str(error))
        raise error

    async def _dial(self, candidate: Candidate) -> Connection | list[Candidate]:
        """Try one address; a DNS name gives the addresses it stands for, which the same rules judge."""
        address = candidate.address
        refusal = self._refusal(candidate)
        if refusal is not None:
            raise DialError(f"not dialled: {refusal}")
        if address.host_kind in ("dns", "dns4", "dns6"):
            return [Candidate(candidate.peer_id, found, candidate.trusted) for found in await resolve(address, self._resolver)]
        transport = find_transport(self._transports, address)
        assert transport is not None, "refused above"
        async with self._slots:
            try:
                return await self._endpoint.connect(transport, address, candidate.peer_id)
            except PeerstackError as error:
                self._metrics.count("libp2p_swarm_dial_errors_total", error=error_label(error))
                raise


def _failure(peer_id: PeerId, race: AddressRace) -> PeerstackError:
    """One error for all that went wrong."""
    causes = list(race.causes.values())
    mismatches = [cause for cause in causes if isinstance(cause, PeerIdMismatch)]
    if mismatches and len(mismatches) == len(causes):
        return mismatches[0]
    return DialError(f"cannot reach {peer_id}", causes=race.causes)
