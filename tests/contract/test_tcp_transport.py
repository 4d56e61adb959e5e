from __future__ import annotations

import pytest

from peerstack.addresses import Address
from peerstack.net.tcp import TcpTransport
from peerstack.testing.transport_conformance import TransportConformance


@pytest.mark.asyncio
class TestTcpTransport(TransportConformance):
    def make_transports(self) -> tuple[TcpTransport, TcpTransport]:
        return TcpTransport(), TcpTransport()

    def listen_address(self) -> Address:
        return Address.parse("/ip4/127.0.0.1/tcp/0")


@pytest.mark.asyncio
class TestTcpTransportOverIpv6(TestTcpTransport):
    def listen_address(self) -> Address:
        return Address.parse("/ip6/::1/tcp/0")
