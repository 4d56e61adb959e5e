from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from peerstack import ConfigError, Host, PeerEvent, PrivateKey

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


def _bootstrap_host(neighbourhood: Neighbourhood) -> Host:
    identity = PrivateKey.from_seed(b"bootstrap".ljust(32, b"."))
    return Host(identity=identity, listen="/memory/77", config=neighbourhood.config("bootstrap"))


async def test_a_host_connects_to_its_bootstrap_peers_by_itself_and_stays(neighbourhood: Neighbourhood) -> None:
    async with _bootstrap_host(neighbourhood) as peer, neighbourhood.host("host", bootstrap=peer.addrs) as host:
        await asyncio.sleep(1)
        assert [info.peer_id for info in host.peers()] == [peer.peer_id]
        await asyncio.sleep(3600)
        assert [info.peer_id for info in host.peers()] == [peer.peer_id]


async def test_an_unreachable_bootstrap_peer_stops_nothing_and_is_tried_until_it_is_there(
    neighbourhood: Neighbourhood, caplog: pytest.LogCaptureFixture
) -> None:
    peer = _bootstrap_host(neighbourhood)
    async with neighbourhood.host("host", bootstrap=[f"/memory/77/p2p/{peer.peer_id}"]) as host:
        await asyncio.sleep(60)
        assert "no bootstrap peer can be reached" in caplog.text
        assert host.peers() == []
        async with peer:
            await asyncio.sleep(10)
            assert [info.peer_id for info in host.peers()] == [peer.peer_id]


async def test_a_lost_bootstrap_peer_is_dialled_again_when_it_is_back(neighbourhood: Neighbourhood) -> None:
    first = _bootstrap_host(neighbourhood)
    await first.start()
    async with neighbourhood.host("host", bootstrap=first.addrs) as host:
        await asyncio.sleep(1)
        await first.close()
        await asyncio.sleep(100)
        assert host.peers() == []
        async with _bootstrap_host(neighbourhood) as second:
            await asyncio.sleep(20)
            assert [info.peer_id for info in host.peers()] == [second.peer_id]


async def test_a_bootstrap_peer_that_turns_us_away_is_not_hammered(neighbourhood: Neighbourhood) -> None:
    async with _bootstrap_host(neighbourhood) as peer:
        host = neighbourhood.host("host", listen=False, bootstrap=peer.addrs)

        def turn_away(event: PeerEvent) -> None:
            for connection in peer._core.table.all():
                connection.abort()

        peer.subscribe(turn_away)
        async with host:
            await asyncio.sleep(60)
            assert 2 <= host.metrics.value("libp2p_swarm_connections_opened_total", dir="outbound") <= 60 / 0.3


async def test_a_host_may_be_its_own_bootstrap_peer(neighbourhood: Neighbourhood) -> None:
    identity = PrivateKey.from_seed(b"self".ljust(32, b"."))
    async with Host(
        identity=identity, listen="/memory/5", bootstrap=f"/memory/5/p2p/{identity.peer_id}", config=neighbourhood.config("self")
    ) as host:
        await asyncio.sleep(60)
        assert host.peers() == []


async def test_a_bootstrap_address_that_names_no_peer_is_refused(neighbourhood: Neighbourhood) -> None:
    with pytest.raises(ConfigError, match="/memory/5 names no peer"):
        neighbourhood.host("host", bootstrap="/memory/5")
