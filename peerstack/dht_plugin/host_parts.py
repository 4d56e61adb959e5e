"""A host as the pure half of a DHT sees it: clocks, timers, random bits, and a signature."""

from __future__ import annotations

from collections.abc import Callable

from peerstack.dht.clock import to_microseconds
from peerstack.identity import PublicKey
from peerstack.plugin import PluginContext

__all__ = ["HostOutside", "HostSigner"]


class HostOutside:
    """The host's clocks and timers: see `peerstack.dht.replica.seam.Outside`."""

    def __init__(self, context: PluginContext) -> None:
        self.time: Callable[[], float] = context.time
        self.call_later = context.call_later
        self._wall_clock = context.environment.wall_clock
        self.random_bits: Callable[[int], int] = context.environment.random.getrandbits

    def wall_us(self) -> int:
        """The wall clock, microseconds since 1970."""
        return to_microseconds(self._wall_clock())


class HostSigner:
    """The host's identity signs records: see `peerstack.dht.records.Signer`."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    @property
    def public_key(self) -> PublicKey:
        """The key that the signatures are checked with."""
        return self._context.public_key

    def sign(self, data: bytes) -> bytes:
        """Sign."""
        return self._context.sign(data)
