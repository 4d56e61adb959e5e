from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peerstack import (
    Address,
    ConnectionConfig,
    DialError,
    Host,
    HostConfig,
    LimitExceeded,
    LimitsConfig,
    PeerConnected,
    PeerDisconnected,
    PeersConfig,
    PrivateKey,
    preset,
)
from peerstack.host.connections import ConnectionTable
from peerstack.host.metrics import HostMetrics
from peerstack.plugin import PeerEvent

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


def _table(config: HostConfig) -> ConnectionTable:
    table = ConnectionTable(PrivateKey.from_seed(b"t" * 32).peer_id, config, HostMetrics(), clock=lambda: 0.0, on_change=lambda event: None)
    table.accepting = True
    return table


def _address(text: str) -> Address:
    return Address.parse(text)


async def test_nobody_is_admitted_before_the_doors_open() -> None:
    table = _table(preset("wan"))
    table.accepting = False
    assert not table.admit(_address("/ip4/192.0.2.1/tcp/1"))
    assert table.pending == 0


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (LimitsConfig(max_pending_inbound=3), "max_pending_inbound"),
        (LimitsConfig(max_pending_inbound_per_ip=3), "max_pending_inbound_per_ip"),
        (LimitsConfig(max_connections=3), "max_connections"),
        (LimitsConfig(max_connections_per_ip=3), "max_connections_per_ip"),
    ],
)
async def test_pending_links_are_bounded_and_counted(limits: LimitsConfig, limit: str, caplog: pytest.LogCaptureFixture) -> None:
    table = _table(preset("wan", limits=limits))
    remotes = [_address(f"/ip4/192.0.2.1/tcp/{port}") for port in range(1, 101)]
    assert sum(table.admit(remote) for remote in remotes) == 3
    assert table.pending == 3
    assert limit in caplog.text
    assert len(caplog.records) == 1
    for remote in remotes[:3]:
        table.failed(remote, DialError("gone"))
    assert table.pending == 0
    assert table.admit(remotes[0])


async def test_one_ip_cannot_take_the_places_of_others() -> None:
    table = _table(preset("wan", limits=LimitsConfig(max_pending_inbound_per_ip=2)))
    for port in (1, 2):
        assert table.admit(_address(f"/ip6/2001:db8::{port}/tcp/{port}"))
    assert not table.admit(_address("/ip6/2001:db8::ffff/tcp/3")), "the same /64"
    assert table.admit(_address("/ip6/2001:db8:0:1::1/tcp/3"))
    assert table.admit(_address("/ip4/192.0.2.1/tcp/3"))


@pytest.mark.parametrize(("name", "admitted"), [("local", 5), ("lan", 2), ("wan", 2)])
async def test_loopback_counts_as_one_ip_except_in_the_local_preset(name: str, admitted: int) -> None:
    limits = LimitsConfig(max_pending_inbound_per_ip=2)
    table = _table(replace(preset(name), limits=limits))  # type: ignore[arg-type]
    assert sum(table.admit(_address(f"/ip4/127.0.0.1/tcp/{port}")) for port in range(1, 6)) == admitted


async def test_denied_subnets_are_not_admitted() -> None:
    table = _table(preset("wan", peers=PeersConfig(deny_subnets=("192.0.2.0/24",))))
    assert not table.admit(_address("/ip4/192.0.2.1/tcp/1"))
    assert table.admit(_address("/ip4/198.51.100.1/tcp/1"))


async def test_the_first_and_the_last_connection_of_a_peer_are_told(neighbourhood: Neighbourhood) -> None:
    heard: list[PeerEvent] = []
    async with neighbourhood.host("server") as server, neighbourhood.host("client") as client:
        server.subscribe(heard.append)
        # Both dial: two connections, one peer.
        await asyncio.gather(client.connect(server.addrs[0]), server.connect(client.addrs[0]))
        await asyncio.sleep(1)
        assert len(server.connections(client.peer_id)) == 2
        assert await client.disconnect(server.peer_id) == 2
        await asyncio.sleep(1)
        assert not server.connections()
    changes = [event for event in heard if isinstance(event, PeerConnected | PeerDisconnected)]
    assert [type(event) for event in changes] == [PeerConnected, PeerDisconnected]
    assert {event.peer_id for event in changes} == {client.peer_id}


async def test_an_inbound_connection_over_the_peers_limit_is_ended(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("server", limits=LimitsConfig(max_connections_per_peer=1))
    async with neighbourhood.host("server", config=config) as server, neighbourhood.host("client") as client:
        await asyncio.gather(client.connect(server.addrs[0]), server.connect(client.addrs[0]))
        await asyncio.sleep(1)
        assert len(server.connections()) == 1
        assert len(client.connections()) == 1
        assert server.metrics.value("libp2p_rcmgr_blocked_resources", resource="max_connections_per_peer") == 1


async def test_a_denied_peer_is_ended_as_soon_as_it_is_known(neighbourhood: Neighbourhood) -> None:
    client = neighbourhood.host("client", listen=False)
    config = neighbourhood.config("server", peers=PeersConfig(deny_peers=(str(client.peer_id),)))
    async with neighbourhood.host("server", config=config) as server, client:
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        assert not server.connections()
        assert not client.connections()
        assert server.metrics.value("peerstack_gater_denied_total", direction="inbound") == 1


async def _connected(neighbourhood: Neighbourhood, server: Host, names: list[str]) -> list[Host]:
    clients = []
    for name in names:
        config = neighbourhood.config(name, connection=ConnectionConfig(idle_timeout_s=10_000))
        client = neighbourhood.host(name, listen=False, config=config)
        await client.start()
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        clients.append(client)
    return clients


async def _close(hosts: list[Host]) -> None:
    for host in hosts:
        await host.close()


async def test_a_trim_takes_the_longest_idle_and_neither_protected_nor_young_ones(neighbourhood: Neighbourhood) -> None:
    peers = PeersConfig(low_water=4, high_water=5, grace_period_s=20)
    config = neighbourhood.config("server", peers=peers, connection=ConnectionConfig(idle_timeout_s=1000))
    async with neighbourhood.host("server", config=config) as server:

        @server.protocol("/hold/1.0.0")
        async def hold(stream: object) -> None:
            await asyncio.sleep(1000)

        old = await _connected(neighbourhood, server, ["busy", "protected", "idle 1", "idle 2"])
        stream = await old[0].open_stream(server.peer_id, "/hold/1.0.0")
        server._core.table.protect(old[1].peer_id, "test")
        await asyncio.sleep(60)
        young = await _connected(neighbourhood, server, ["young 1", "young 2"])
        await asyncio.sleep(1)
        left = [info.peer_id for info in server.peers()]
        expected = [host.peer_id for host in (old[0], old[1], *young)]
        assert left == expected, "the two idle ones went; all that is left is busy, protected or young"
        assert server.metrics.value("peerstack_connections_trimmed_total") == 2
        stream.reset()
        await _close(old + young)


async def test_a_trim_ends_at_the_low_water_mark(neighbourhood: Neighbourhood) -> None:
    peers = PeersConfig(low_water=2, high_water=5, grace_period_s=0.5)
    config = neighbourhood.config("server", peers=peers, connection=ConnectionConfig(idle_timeout_s=1000))
    async with neighbourhood.host("server", config=config) as server:
        clients = await _connected(neighbourhood, server, [f"client {number}" for number in range(6)])
        await asyncio.sleep(10)
        assert [info.peer_id for info in server.peers()] == [client.peer_id for client in clients[-2:]]
        await _close(clients)


async def test_an_idle_connection_is_closed_unless_it_is_protected(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("server", connection=ConnectionConfig(idle_timeout_s=10))
    async with neighbourhood.host("server", config=config) as server:
        plain, protected, busy = clients = await _connected(neighbourhood, server, ["plain", "protected", "busy"])

        @server.protocol("/hold/1.0.0")
        async def hold(stream: object) -> None:
            await asyncio.sleep(1000)

        stream = await busy.open_stream(server.peer_id, "/hold/1.0.0")
        server._core.table.protect(protected.peer_id, "one")
        server._core.table.protect(protected.peer_id, "two")
        server._core.table.unprotect(protected.peer_id, "one")
        await asyncio.sleep(30)
        assert [info.peer_id for info in server.peers()] == [protected.peer_id, busy.peer_id]
        assert not plain.connections()
        server._core.table.unprotect(protected.peer_id, "two")
        stream.reset()
        await asyncio.sleep(30)
        assert server.peers() == []
        await _close(list(clients))


async def test_of_connections_far_apart_in_time_the_newest_is_used(neighbourhood: Neighbourhood) -> None:
    """The older one may be dead: a peer that lost its power comes back and dials again."""
    async with neighbourhood.host("server") as server:
        first = neighbourhood.host("client", listen=False)
        await first.start()
        await first.connect(server.addrs[0])
        await asyncio.sleep(20)
        neighbourhood.network.crash("client", reset=False)
        again = neighbourhood.host("client", listen=False, config=neighbourhood.config("client again"))
        async with again:
            await again.connect(server.addrs[0])
            await asyncio.sleep(1)
            newest = server._core.table.best(again.peer_id)
            assert newest is not None
            assert newest.opened_at >= 20
        await first.close()


async def test_a_limit_of_this_host_is_the_dialers_error(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", limits=LimitsConfig(max_connections=1))
    async with (
        neighbourhood.host("one") as one,
        neighbourhood.host("two") as two,
        neighbourhood.host("client", listen=False, config=config) as client,
    ):
        outcomes = await asyncio.gather(client.connect(one.addrs[0]), client.connect(two.addrs[0]), return_exceptions=True)
        assert [isinstance(outcome, LimitExceeded) for outcome in outcomes].count(True) == 1
        await asyncio.sleep(1)
        assert len(client.connections()) == 1
        assert len(one.connections()) + len(two.connections()) == 1


async def test_connections_are_counted_under_the_names_dashboards_know(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        assert server.metrics.value("libp2p_rcmgr_connections", dir="inbound", scope="system") == 1
        await client.disconnect(server.peer_id)
        await asyncio.sleep(1)
        assert server.metrics.value("libp2p_rcmgr_connections", dir="inbound", scope="system") == 0
        assert client.metrics.value("libp2p_swarm_connections_opened_total", dir="outbound") == 1
        assert client.metrics.value("libp2p_swarm_connections_closed_total", dir="outbound") == 1
