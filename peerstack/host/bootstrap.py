"""Staying in touch with the bootstrap peers: dialled in the background, again with back-off while none is connected."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from peerstack.addresses import Address
from peerstack.config import DialConfig
from peerstack.errors import ConfigError, PeerstackError
from peerstack.host.connections import ConnectionTable
from peerstack.host.dialer import Dialer
from peerstack.identity import PeerId
from peerstack.plugin import PeerDisconnected, PeerEvent

__all__ = ["Bootstrap"]

_logger = logging.getLogger(__name__)

_TAG = "bootstrap"
_JITTER = 0.25


class Bootstrap:
    """Bootstrap peers are protected: neither trimmed nor closed for idleness. One that cannot be reached never stops the host."""

    def __init__(
        self, addresses: Sequence[Address], dialer: Dialer, table: ConnectionTable, config: DialConfig, rng: random.Random
    ) -> None:
        """Sort the addresses by peer; this host's own are passed over.

        Raises:
            ConfigError: An address names no peer.
        """
        self._dialer = dialer
        self._table = table
        self._config = config
        self._rng = rng
        self._lost = asyncio.Event()
        self._peers: dict[PeerId, list[Address]] = {}
        for address in addresses:
            if address.peer_id is None:
                raise ConfigError(f"bootstrap address {address} names no peer: add /p2p/<peer id>")
            if address.peer_id != table.own_id:
                self._peers.setdefault(address.peer_id, []).append(address)
        for peer_id in self._peers:
            table.protect(peer_id, _TAG)

    def on_peer(self, event: PeerEvent) -> None:
        """Look again when a bootstrap peer is gone."""
        if isinstance(event, PeerDisconnected) and event.peer_id in self._peers:
            self._lost.set()

    async def run(self) -> None:
        """Dial, wait, dial again; until cancelled."""
        wait = self._config.backoff_s
        while self._peers:
            self._lost.clear()
            if not self._connected():
                await self._dial_all(wait)
            if self._connected():
                wait = self._config.backoff_s
                await self._lost.wait()
            # Also after a loss: a bootstrap peer that turns us away at once is not hammered.
            await asyncio.sleep(wait * self._rng.uniform(1 - _JITTER, 1 + _JITTER))
            wait = min(2 * wait, self._config.max_backoff_s)

    def _connected(self) -> bool:
        return any(self._table.of(peer_id) for peer_id in self._peers)

    async def _dial_all(self, wait: float) -> None:
        outcomes = await asyncio.gather(*(self._dial(peer_id, given) for peer_id, given in self._peers.items()))
        reached = outcomes.count(None)
        if reached:
            _logger.info("connected to %d of %d bootstrap peers", reached, len(self._peers))
        else:
            reasons = "; ".join(str(error) for error in outcomes)
            _logger.warning("no bootstrap peer can be reached, next try in about %.1f s: %s", wait, reasons)

    async def _dial(self, peer_id: PeerId, given: Sequence[Address]) -> PeerstackError | None:
        try:
            await self._dialer.connect(peer_id, given)
        except PeerstackError as error:
            return error
        return None
