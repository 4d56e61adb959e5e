from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from peerstack import (
    Closed,
    ConfigError,
    DeadlineExceeded,
    Host,
    InvalidAddress,
    InvalidPeerId,
    PeerEvent,
    PeerIdentified,
    PluginError,
    ProtocolNotSupported,
    ProtocolPlugin,
    Stream,
    StreamReset,
)
from peerstack.errors import ConnectionLost

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

ECHO = "/echo/1.0.0"


async def _echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


async def _ask(host: Host, target: Any, protocols: Any = ECHO, **options: Any) -> tuple[str, bytes]:
    async with host.open(target, protocols, **options) as stream:
        await stream.write(b"hello")
        answer = await stream.readexactly(5)
        return stream.protocol, answer


@pytest.mark.parametrize("kind", ["address", "text", "peer id", "text of a peer id"])
async def test_every_kind_of_target_reaches_the_peer(neighbourhood: Neighbourhood, kind: str) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        client.add_peer(server.addrs[0])
        address = server.addrs[0]
        target = {"address": address, "text": str(address), "peer id": server.peer_id, "text of a peer id": str(server.peer_id)}[kind]
        assert await _ask(client, target) == (ECHO, b"hello")


async def test_targets_that_name_no_peer_are_refused(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host") as host:
        with pytest.raises(InvalidAddress, match=r"/memory/5 names no peer: add /p2p/"):
            await host.connect("/memory/5")
        with pytest.raises(InvalidPeerId):
            await host.connect("somebody")
        with pytest.raises(InvalidAddress):
            await host.connect("/nowhere/5")


async def test_protocols_may_be_served_before_and_after_the_start_and_withdrawn(neighbourhood: Neighbourhood) -> None:
    server = neighbourhood.host("server")
    server.protocol("/before/1.0.0")(_echo)
    async with server, neighbourhood.host("client", listen=False) as client:
        server.protocol("/after/1.0.0", "/after/2.0.0")(_echo)
        for protocol in ("/before/1.0.0", "/after/1.0.0", "/after/2.0.0"):
            assert await _ask(client, server.addrs[0], protocol) == (protocol, b"hello")
        with pytest.raises(PluginError, match=r"served by '/before/1\.0\.0' of the application already"):
            server.protocol("/before/1.0.0")(_echo)
        server.remove_protocol("/before/1.0.0", "/ipfs/ping/1.0.0")
        assert "/ipfs/ping/1.0.0" in server.protocol_ids(), "a plugin's ids are the plugin's"
        with pytest.raises(ProtocolNotSupported):
            await _ask(client, server.addrs[0], "/before/1.0.0")


async def test_the_first_protocol_the_peer_speaks_is_chosen(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        assert await _ask(client, server.addrs[0], ["/echo/3.0.0", "/echo/2.0.0", ECHO]) == (ECHO, b"hello")
        with pytest.raises(ProtocolNotSupported) as caught:
            await client.open_stream(server.addrs[0], ["/a", "/b"])
        assert caught.value.protocols == ("/a", "/b")
        with pytest.raises(ValueError, match="at least one protocol"):
            await client.open_stream(server.addrs[0], [])


async def test_a_peer_known_to_serve_the_first_protocol_costs_no_round_trip(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        stream = await client.open_stream(server.peer_id, [ECHO, "/echo/0.9.0"])
        assert asyncio.get_running_loop().time() == began
        await stream.write(b"hello")
        assert await stream.readexactly(5) == b"hello"
        stream.reset()


async def test_a_refusal_surfaces_at_the_first_read_or_at_once_where_that_is_asked_for(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        stream = await client.open_stream(server.addrs[0], ECHO)
        with pytest.raises(ProtocolNotSupported):
            await stream.read()
        with pytest.raises(ProtocolNotSupported):
            await client.open_stream(server.addrs[0], ECHO, confirm=True)
        with pytest.raises(ProtocolNotSupported):
            async with client.open(server.addrs[0], ECHO) as stream:
                pass


async def test_a_peer_that_stopped_serving_is_believed_no_longer(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        server._core.events._listeners.clear()  # it tells nobody
        server.remove_protocol(ECHO)
        server.protocol("/echo/0.9.0")(_echo)
        with pytest.raises(ProtocolNotSupported):
            await _ask(client, server.peer_id, [ECHO, "/echo/0.9.0"])
        assert await _ask(client, server.peer_id, [ECHO, "/echo/0.9.0"]) == ("/echo/0.9.0", b"hello")


async def test_leaving_a_block_closes_the_stream_and_an_error_resets_it(neighbourhood: Neighbourhood) -> None:
    ends: list[str] = []
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:

        @server.protocol("/end/1.0.0")
        async def end(stream: Stream) -> None:
            try:
                await stream.read()
                ends.append("closed" if await stream.read() == b"" else "data")
            except StreamReset:
                ends.append("reset")

        async with client.open(server.addrs[0], "/end/1.0.0") as stream:
            await stream.write(b"x")
        await asyncio.sleep(1)
        with pytest.raises(LookupError):
            async with client.open(server.addrs[0], "/end/1.0.0") as stream:
                await stream.write(b"x")
                await asyncio.sleep(1)
                raise LookupError
        await asyncio.sleep(1)
        assert ends == ["closed", "reset"]


async def test_a_timeout_covers_dial_and_negotiation_but_not_the_block(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        async with client.open(server.addrs[0], ECHO, timeout=5, confirm=True) as stream:
            await asyncio.sleep(100)
            await stream.write(b"late")
            assert await stream.readexactly(4) == b"late"
        neighbourhood.network.partition(["server"], ["client"])
        with pytest.raises(DeadlineExceeded, match=f"opening {ECHO} to {server.peer_id} took longer than 3 seconds"):
            async with client.open(server.addrs[0], ECHO, timeout=3, confirm=True):
                pytest.fail("the block must not run")


async def test_a_connection_that_ended_unnoticed_is_replaced(neighbourhood: Neighbourhood) -> None:
    """The remote may find a connection idle in the very moment in which we open a stream on it."""
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        for connection in server._core.table.of(client.peer_id):
            connection.close()
        assert await _ask(client, server.addrs[0], confirm=True) == (ECHO, b"hello")


async def test_a_host_that_does_not_listen_is_a_full_client(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        client.protocol(ECHO)(_echo)
        assert list(client.addrs) == []
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        assert await _ask(server, client.peer_id) == (ECHO, b"hello"), "over the connection that the client made"


async def test_peers_are_known_by_what_they_told(neighbourhood: Neighbourhood) -> None:
    heard: list[PeerEvent] = []
    async with neighbourhood.host("server") as server, neighbourhood.host("client") as client:
        server.protocol(ECHO)(_echo)
        client.subscribe(heard.append)
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        (info,) = client.peers()
        assert info.peer_id == server.peer_id
        assert info.connected
        assert ECHO in info.protocols
        assert info.agent.startswith("peerstack/")
        assert server.addrs[0].without_peer() in info.addresses
        assert any(isinstance(event, PeerIdentified) and ECHO in event.protocols for event in heard)
        server.protocol("/new/1.0.0")(_echo)
        await asyncio.sleep(1)
        pushed = client.peer(server.peer_id)
        assert pushed is not None
        assert "/new/1.0.0" in pushed.protocols
        await client.disconnect(server.peer_id)
        assert client.peers() == []
        known = client.peer(server.peer_id)
        assert known is not None
        assert not known.connected


async def test_a_stopped_host_says_so(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server:
        client = neighbourhood.host("client", listen=False)
        with pytest.raises(Closed, match="not running"):
            await client.connect(server.addrs[0])
        async with client:
            stream = await client.open_stream(server.addrs[0], "/ipfs/ping/1.0.0", confirm=True)
        with pytest.raises(ConnectionLost):
            await stream.readexactly(32)
        with pytest.raises(Closed, match="not running"):
            await client.connect(server.addrs[0])
        with pytest.raises(Closed, match="a host starts once"):
            await client.start()


async def test_an_unknown_plugin_is_told_with_those_that_are_there(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host") as host:
        assert list(host.plugins) == ["identify", "ping"]
        with pytest.raises(ConfigError, match="'kad' is not enabled: identify, ping is"):
            host.plugin("kad")


class Table(ProtocolPlugin):
    """A DHT of one node, without rules: enough to see which one a host asks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[Any, Any] = {}

    async def put(self, key: Any, value: Any, **options: Any) -> Any:
        self.values[key] = value
        return (self.name, options)

    async def get(self, key: Any, **options: Any) -> Any:
        return (self.name, self.values[key], options)

    async def get_all(self, key: Any, **options: Any) -> Any:
        return []

    async def delete(self, key: Any, **options: Any) -> Any:
        return (self.name, self.values.pop(key))

    async def lookup(self, key: Any, **options: Any) -> Any:
        return None

    async def leave(self, **options: Any) -> Any:
        return None


async def test_put_and_get_go_to_the_first_dht_unless_another_is_named(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host", protocols=[Table("first"), Table("second")]) as host:
        result: Any = await host.put("key", b"value", ttl=60)
        assert result[0] == "first"
        assert result[1]["ttl"] == 60
        found: Any = await host.get("key", quorum=1)
        assert found[:2] == ("first", b"value")
        assert found[2]["quorum"] == 1
        assert id(host.dht("second")) == id(host.plugin("second"))
        await host.dht("second").put("key", b"other")
        deleted: Any = await host.delete("key")
        assert deleted == ("first", b"value")
        with pytest.raises(ConfigError, match="'ping' is no DHT"):
            host.dht("ping")
        with pytest.raises(ConfigError, match="'third' is not enabled"):
            host.dht("third")
    async with neighbourhood.host("other") as other:
        with pytest.raises(ConfigError, match="no DHT is enabled"):
            await other.get("key")


@dataclass
class _Crash(Exception):
    reason: str


async def test_a_handler_that_crashes_resets_its_stream_and_ends_nothing_else(
    neighbourhood: Neighbourhood, caplog: pytest.LogCaptureFixture
) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        server.protocol(ECHO)(_echo)

        @server.protocol("/crash/1.0.0")
        async def crash(stream: Stream) -> None:
            await stream.read()
            raise _Crash("no luck")

        healthy = await client.open_stream(server.addrs[0], ECHO)
        with pytest.raises(StreamReset):
            await _ask(client, server.peer_id, "/crash/1.0.0")
        assert "/crash/1.0.0 crashed" in caplog.text
        assert server.metrics.value("peerstack_handler_errors_total", plugin="/crash/1.0.0", error="_Crash") == 1
        await healthy.write(b"still there")
        assert await healthy.readexactly(11) == b"still there"
        await healthy.close()
