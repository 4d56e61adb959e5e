from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peerstack import (
    Address,
    Closed,
    Host,
    LocalChanged,
    PeerConnected,
    PeerDisconnected,
    PeerEvent,
    PeerIdentified,
    PluginContext,
    PluginError,
    PrivateKey,
    ProtocolNotSupported,
    ProtocolPlugin,
    Stream,
)

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

STRANGER = PrivateKey.from_seed(b"s" * 32).peer_id


class Probe(ProtocolPlugin):
    """Hands its context to the test."""

    ids = ("/probe/1.0.0", "/probe/2.0.0")
    serve_at_start = False

    context: PluginContext

    def __init__(self) -> None:
        self.events: list[PeerEvent] = []

    async def start(self, context: PluginContext) -> None:
        self.context = context

    async def handle(self, stream: Stream) -> None:
        await stream.write(stream.protocol.encode())

    def on_peer(self, event: PeerEvent) -> None:
        self.events.append(event)


class CrashingListener(ProtocolPlugin):
    name = "crashing"

    def on_peer(self, event: PeerEvent) -> None:
        raise ValueError("broken")


async def test_a_plugin_sees_its_host(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    probe = Probe()
    config = neighbourhood.config("host", data_folder=str(tmp_path), agent="test/1")
    bootstrap = Address.from_memory(9).with_peer(STRANGER)
    async with neighbourhood.host("host", config=config, protocols=probe, bootstrap=bootstrap) as host:
        context = probe.context
        assert context.name == "probe"
        assert context.peer_id == host.peer_id == context.public_key.peer_id()
        assert context.public_key.verify(b"data", context.sign(b"data"))
        assert context.listening
        assert [address.with_peer(context.peer_id) for address in context.addresses] == list(host.addrs)
        assert context.protocols == host.protocol_ids()
        assert context.agent == "test/1"
        assert context.environment is config.environment
        assert context.logger.name == "peerstack.plugin.probe"
        assert list(context.bootstrap) == [bootstrap]
        assert context.data_folder == str(tmp_path / "probe")
        assert (tmp_path / "probe").is_dir()
        assert context.time() == asyncio.get_running_loop().time()
        context.metrics.count("lookups")
        assert host.metrics.value("peerstack_probe_lookups_total") == 1
    async with neighbourhood.host("client", listen=False, protocols=(other := Probe())):
        assert not other.context.listening
        assert other.context.data_folder is None


async def test_ids_are_served_only_while_they_are_registered(neighbourhood: Neighbourhood) -> None:
    probe = Probe()
    async with neighbourhood.host("server", protocols=probe) as server, neighbourhood.host("client", listen=False) as client:
        context = probe.context

        async def ask(protocol: str) -> bytes:
            async with client.open(server.addrs[0], protocol) as stream:
                return await stream.read()

        with pytest.raises(ProtocolNotSupported):
            await ask("/probe/1.0.0")
        context.register("/probe/1.0.0", "/probe/2.0.0")
        context.register("/probe/1.0.0")
        assert await ask("/probe/2.0.0") == b"/probe/2.0.0"
        context.unregister("/probe/1.0.0", "/ipfs/ping/1.0.0")
        with pytest.raises(ProtocolNotSupported):
            await ask("/probe/1.0.0")
        assert "/ipfs/ping/1.0.0" in context.protocols, "it serves what it registered itself, no more"
        with pytest.raises(PluginError, match=r"'probe' of the application cannot serve /other/1\.0\.0: it is not among its `ids`"):
            context.register("/other/1.0.0")
        assert sum(isinstance(event, LocalChanged) for event in probe.events) == 3


async def test_peers_that_come_identify_themselves_and_go_are_told(neighbourhood: Neighbourhood) -> None:
    probe = Probe()
    async with neighbourhood.host("host", protocols=[CrashingListener(), probe]) as host:
        async with neighbourhood.host("peer", listen=False) as peer:
            await peer.connect(host.addrs[0])
            await asyncio.sleep(1)
            assert list(probe.context.connected_peers()) == [peer.peer_id]
            (connection,) = probe.context.connections(peer.peer_id)
            assert not connection.outbound
        await asyncio.sleep(1)
        assert [type(event) for event in probe.events] == [PeerConnected, PeerIdentified, PeerDisconnected]
        assert host.metrics.value("peerstack_crashes_total") == 3, "the other listener crashed each time, and disturbed nobody"


async def test_peers_a_plugin_learned_of_can_be_reached(neighbourhood: Neighbourhood) -> None:
    probe = Probe()
    async with neighbourhood.host("server") as server, neighbourhood.host("host", listen=False, protocols=probe) as host:
        context = probe.context
        context.add_peer(server.peer_id, [server.addrs[0]], ttl=10, protocols=frozenset({"/x"}), agent="other/2")
        context.add_peer(host.peer_id, [server.addrs[0]])
        assert context.peer(host.peer_id) is None, "itself is no peer"
        info = context.peer(server.peer_id)
        assert info is not None
        assert (info.protocols, info.agent, info.connected) == (frozenset({"/x"}), "other/2", False)
        assert (await context.connect(server.peer_id)).peer_id == server.peer_id
        stream = await context.open_stream(server.peer_id, "/ipfs/ping/1.0.0", confirm=True)
        await stream.close()
        assert context.peer(STRANGER) is None


async def test_what_a_plugin_started_ends_with_it(neighbourhood: Neighbourhood, caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe()
    called: list[str] = []
    host: Host = neighbourhood.host("host", protocols=probe)
    async with host:
        context = probe.context

        async def crash() -> None:
            raise ValueError("broken")

        context.spawn(crash(), name="doomed")
        context.spawn(asyncio.sleep(1e6), name="long")
        context.call_later(1, lambda: called.append("in time"))
        context.call_later(1e5, lambda: called.append("too late"))
        cancel = context.call_later(1, lambda: called.append("cancelled"))
        cancel()
        context.protect(STRANGER, "friend")
        context.protect(STRANGER, "neighbour")
        context.unprotect(STRANGER, "friend")
        await asyncio.sleep(2)
        assert host._core.table.is_protected(STRANGER)
        assert any(record.name == "peerstack.plugin.probe" and record.levelno == logging.ERROR for record in caplog.records)
        assert host.metrics.value("peerstack_probe_crashes_total") == 1
    await asyncio.sleep(1e6)
    assert called == ["in time"]
    assert not host._core.table.is_protected(STRANGER)
    with pytest.raises(Closed):
        context.spawn(asyncio.sleep(1))
    with pytest.raises(Closed):
        context.register("/probe/1.0.0")
