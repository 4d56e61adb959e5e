from __future__ import annotations

import pytest

from peerstack.addresses import Address
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.transport_conformance import TransportConformance


class _MemoryTransports(TransportConformance):
    def make_transports(self) -> tuple[MemoryTransport, MemoryTransport]:
        network = MemoryNetwork(seed=1, latency_s=(0.0, 0.03))
        return MemoryTransport(network, node="dialer"), MemoryTransport(network, node="listener")

    def listen_address(self) -> Address:
        return Address.parse("/memory/0")

    def foreign_address(self) -> Address:
        return Address.parse("/ip4/127.0.0.1/tcp/4001")


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestInVirtualTime(_MemoryTransports):
    """Simulations."""


@pytest.mark.asyncio
class TestOnTheOrdinaryLoop(_MemoryTransports):
    """Applications' own tests."""


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestWithABoundedRate(_MemoryTransports):
    """Slow links."""

    def make_transports(self) -> tuple[MemoryTransport, MemoryTransport]:
        network = MemoryNetwork(seed=2, latency_s=(0.01, 0.01), bytes_per_s=10e6)
        return MemoryTransport(network, node="dialer"), MemoryTransport(network, node="listener")
