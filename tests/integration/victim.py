"""A host under attack, and an honest peer that it goes on serving all the while."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from peerstack import Host, PrivateKey, Stream, preset
from peerstack.addresses import Address
from peerstack.net.connection import Connection
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.net.transport import Transport
from peerstack.net.upgrade import Upgrade
from peerstack.testing.virtual_time import seeded_environment
from peerstack.wire import multistream
from peerstack.wire.yamux_frames import RST, SYN
from tests.unit.net.raw_peer import RAW_KEY, RawPeer, ack_ping, make_upgrade
from tests.unit.wire.yamux_remote import data, update

ECHO = "/echo/1.0.0"
PROPOSAL = multistream.proposal(ECHO)
LATENCY_S = 0.005


async def echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


class Victim:
    """The host, the honest peer with a stream open to it, and the way in for the others."""

    def __init__(self, host: Host, witness: Host, attacker: Transport, address: Address) -> None:
        self.host = host
        self.witness = witness
        self.attacker = attacker
        self.address = address
        self._stream: Stream | None = None
        self._asked = 0

    async def serves(self) -> None:
        """Assert that the honest peer is served on its old stream and on a new one."""
        if self._stream is None:
            self._stream = await self.witness.open_stream(self.host.peer_id, ECHO, timeout=10)
        async with asyncio.timeout(30):
            self._asked += 1
            question = b"question %d" % self._asked
            await self._stream.write(question)
            assert await self._stream.readexactly(len(question)) == question
            async with self.witness.open(self.host.peer_id, ECHO, timeout=10) as stream:
                await stream.write(question, eof=True)
                assert await stream.readexactly(len(question)) == question

    async def raw(self) -> RawPeer:
        """A link on which nothing has been said."""
        return await RawPeer.dial(self.attacker, self.address)

    async def secured(self, upgrade: Upgrade | None = None) -> RawPeer:
        """A peer that is honest until the muxer runs."""
        peer = await RawPeer.dial(self.attacker, self.address, upgrade or make_upgrade(outbound=True))
        await peer.until(lambda p: any(frame.stream_id == 2 for frame in p.frames) or p.ended)
        peer.send(ack_ping(peer), update(2, flags=RST))  # refuses to be identified
        return peer

    async def opened(self, peer: RawPeer, stream_id: int = 1) -> None:
        """Have an echo stream agreed on."""
        peer.send(data(stream_id, PROPOSAL, SYN))
        await peer.until(lambda p: p.payload(stream_id) == PROPOSAL)

    @property
    def pending(self) -> int:
        return self.host._core.table.pending

    @property
    def attackers(self) -> list[Connection]:
        """The connections of raw peers."""
        return [connection for connection in self.host._core.table.all() if connection.peer_id == RAW_KEY.peer_id]

    def failed(self, code: str) -> float:
        """How many inbound links failed with this error."""
        return self.host.metrics.value("peerstack_inbound_failed_total", error=code)

    def refused(self, limit: str) -> float:
        """How often a limit refused something."""
        return self.host.metrics.value("libp2p_rcmgr_blocked_resources", resource=limit)


@asynccontextmanager
async def attacked(**changes: Any) -> AsyncIterator[Victim]:
    """A host of the `local` preset on a memory network; at its end it must have been well behaved."""
    network = MemoryNetwork(seed=1, latency_s=(LATENCY_S, LATENCY_S))

    def host(name: str, **arguments: Any) -> Host:
        config = preset(
            "local", transports=(MemoryTransport(network, node=name),), environment=seeded_environment(name), **arguments.pop("changes", {})
        )
        return Host(identity=PrivateKey.from_seed(name.encode().ljust(32, b".")), config=config, **arguments)

    async with host("victim", listen="/memory/0", changes=changes) as victim, host("witness") as witness:
        victim.protocol(ECHO)(echo)
        await witness.connect(victim.addrs[0])
        scene = Victim(victim, witness, MemoryTransport(network, node="attacker"), victim.addrs[0].without_peer())
        await scene.serves()
        yield scene
        await scene.serves()


@asynccontextmanager
async def quiet_logs(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Assert that nothing was logged as an error, neither by us nor by the event loop (such as a callback that raised)."""
    with caplog.at_level(logging.ERROR):
        yield
        gc.collect()
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
