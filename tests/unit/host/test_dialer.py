from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from peerstack import Address, DeadlineExceeded, DialConfig, DialError, Host, LimitsConfig, PeerIdMismatch, PeersConfig, PrivateKey
from peerstack.errors import Closed, LimitExceeded
from peerstack.plugin import ConnectionInfo

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

STRANGER = PrivateKey.from_seed(b"s" * 32).peer_id


def _now() -> float:
    return asyncio.get_running_loop().time()


def _nowhere(number: int = 999) -> Address:
    return Address.from_memory(number)


async def test_dials_to_one_peer_share_one_attempt(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        connections = await asyncio.gather(*(client.connect(server.addrs[0]) for _ in range(10)))
        await asyncio.sleep(1)
        assert len({id(connection) for connection in connections}) == 1
        assert len(client.connections()) == 1
        assert len(server.connections()) == 1


async def test_one_that_gives_up_does_not_end_the_dial_of_others(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        impatient = asyncio.create_task(client.connect(server.addrs[0]))
        patient = asyncio.create_task(client.connect(server.addrs[0]))
        await asyncio.sleep(0.015)
        impatient.cancel()
        assert (await patient).peer_id == server.peer_id
        with pytest.raises(asyncio.CancelledError):
            await impatient


async def test_a_dial_nobody_waits_for_ends_and_the_next_one_starts_afresh(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        task = asyncio.create_task(client.connect(server.addrs[0]))
        await asyncio.sleep(0.015)
        task.cancel()
        await asyncio.wait([task])
        again = await client.connect(server.addrs[0])
        await asyncio.sleep(1)
        assert list(client.connections()) == [again]
        assert len(server.connections()) == 1


async def test_a_timeout_is_the_callers_own(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        neighbourhood.network.partition(["server"], ["client"])
        began = _now()
        with pytest.raises(DeadlineExceeded, match=r"took longer than 0\.5 seconds"):
            await client.connect(server.addrs[0], timeout=0.5)
        assert _now() - began == pytest.approx(0.5)


async def test_the_configured_deadline_ends_a_dial_with_a_cause_per_address(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", dial=DialConfig(timeout_s=5, address_timeout_s=3))
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False, config=config) as client:
        neighbourhood.network.partition(["server"], ["client"])
        client.add_peer(_nowhere().with_peer(server.peer_id))
        began = _now()
        with pytest.raises(DialError) as caught:
            await client.connect(server.addrs[0])
        assert _now() - began <= 5
        causes = caught.value.causes
        assert isinstance(causes["/memory/1"], DeadlineExceeded)
        assert isinstance(causes["/memory/999"], DialError)
        assert "/memory/999" in str(caught.value)


async def test_a_failure_starts_the_next_address_at_once_and_success_waits_for_nobody(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", dial=DialConfig(stagger_s=100, timeout_s=300))
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False, config=config) as client:
        for number in range(900, 905):
            client.add_peer(_nowhere(number).with_peer(server.peer_id))
        client.add_peer(server.addrs[0])
        began = _now()
        connection = await client.connect(server.peer_id)
        assert connection.remote_address == server.addrs[0].without_peer()
        assert _now() - began < 1


async def test_a_silent_address_delays_the_next_by_its_head_start_only(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", dial=DialConfig(stagger_s=0.25))
    async with (
        neighbourhood.host("silent") as silent,
        neighbourhood.host("server") as server,
        neighbourhood.host("client", listen=False, config=config) as client,
    ):
        neighbourhood.network.partition(["silent"])
        client.add_peer(silent.addrs[0].with_peer(server.peer_id))
        client.add_peer(server.addrs[0])
        began = _now()
        await client.connect(server.peer_id)
        assert 0.25 <= _now() - began < 0.5
        neighbourhood.network.heal()
        await asyncio.sleep(60)
        assert len(client.connections()) == 1, "the slow one was given up"
        assert not silent.connections()


async def test_losers_of_the_race_are_closed(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", dial=DialConfig(stagger_s=0))
    server = Host(
        identity=PrivateKey.from_seed(b"server".ljust(32, b".")),
        listen=[f"/memory/{number}" for number in range(10, 15)],
        config=neighbourhood.config("server"),
    )
    async with server, neighbourhood.host("client", listen=False, config=config) as client:
        for address in server.addrs:
            client.add_peer(address)
        await client.connect(server.peer_id)
        await asyncio.sleep(1)
        assert len(client.connections()) == 1
        assert len(server.connections()) == 1


async def test_an_address_that_worked_is_tried_first(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        client.add_peer(_nowhere().with_peer(server.peer_id))
        await client.connect(server.addrs[0])
        info = client.peer(server.peer_id)
        assert info is not None
        assert info.addresses[0] == server.addrs[0].without_peer()


async def test_somebody_else_answering_is_told_as_such(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        with pytest.raises(PeerIdMismatch) as caught:
            await client.connect(server.addrs[0].with_peer(STRANGER))
        assert (caught.value.expected, caught.value.actual) == (str(STRANGER), str(server.peer_id))
        assert not client.connections()


async def test_a_failed_peer_is_left_alone_for_a_while_but_not_at_an_address_the_user_names(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        client.add_peer(_nowhere().with_peer(server.peer_id))
        with pytest.raises(DialError, match="nobody listens"):
            await client.connect(server.peer_id)
        with pytest.raises(DialError, match=r"not dialled again for 0\.\d s, as the last dial failed: .*nobody listens"):
            await client.connect(server.peer_id)
        await client.connect(server.addrs[0])


async def test_a_new_address_ends_the_back_off(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False) as client:
        client.add_peer(_nowhere().with_peer(server.peer_id))
        with pytest.raises(DialError):
            await client.connect(server.peer_id)
        client.add_peer(server.addrs[0])
        assert (await client.connect(server.peer_id)).peer_id == server.peer_id


async def test_an_address_that_joins_a_dial_under_way_is_tried_too(neighbourhood: Neighbourhood) -> None:
    async with (
        neighbourhood.host("silent") as silent,
        neighbourhood.host("server") as server,
        neighbourhood.host("client", listen=False) as client,
    ):
        neighbourhood.network.partition(["silent"])
        stuck = asyncio.create_task(client.connect(silent.addrs[0].with_peer(server.peer_id)))
        await asyncio.sleep(1)
        await client.connect(server.addrs[0])
        assert (await stuck).peer_id == server.peer_id


async def test_a_host_does_not_dial_itself(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host") as host:
        with pytest.raises(DialError, match="this host itself"):
            await host.connect(host.addrs[0])
        with pytest.raises(PeerIdMismatch):
            await host.connect(host.addrs[0].with_peer(STRANGER))
        await asyncio.sleep(1)
        assert not host.connections()


async def test_a_peer_without_addresses_is_told_as_such(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host") as host:
        with pytest.raises(DialError, match="no usable address"):
            await host.connect(STRANGER)


async def test_an_address_without_transport_fails_with_that_cause(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("host") as host:
        with pytest.raises(DialError, match="no transport of this host serves it"):
            await host.connect(f"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{STRANGER}")


async def test_names_are_resolved_and_what_they_stand_for_is_dialled(neighbourhood: Neighbourhood) -> None:
    asked: list[str] = []

    async def resolver(name: str, family: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1", "127.0.0.2"]

    config = neighbourhood.config("host")
    config = replace(config, transports=None, environment=replace(config.environment, resolver=resolver))
    async with neighbourhood.host("host", listen=False, config=config) as host:
        with pytest.raises(DialError) as caught:
            await host.connect(f"/dns4/peer.example/tcp/1/p2p/{STRANGER}")
        assert asked == ["peer.example"]
        assert set(caught.value.causes) == {"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.2/tcp/1"}


async def test_a_name_that_does_not_resolve_is_a_cause(neighbourhood: Neighbourhood) -> None:
    config = replace(neighbourhood.config("host"), transports=None)
    async with neighbourhood.host("host", listen=False, config=config) as host:
        with pytest.raises(DialError, match=r"peer\.example does not resolve"):
            await host.connect(f"/dns4/peer.example/tcp/1/p2p/{STRANGER}")


@pytest.mark.parametrize("text", ["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/dns4/trick.example/tcp/1"])
async def test_private_addresses_learned_from_peers_are_not_dialled_where_that_is_off(neighbourhood: Neighbourhood, text: str) -> None:
    async def resolver(name: str, family: int) -> list[str]:
        return ["127.0.0.1"]

    config = neighbourhood.config("host", dial=DialConfig(private_addresses=False))
    config = replace(config, transports=None, environment=replace(config.environment, resolver=resolver))
    async with neighbourhood.host("host", listen=False, config=config) as host:
        host._core.book.add_addresses(STRANGER, [Address.parse(text)], ttl=100)
        with pytest.raises(DialError, match=r"no usable address|it is private, and was learned from the network"):
            await host.connect(STRANGER)
        with pytest.raises(DialError) as caught:
            await host.connect(f"{text}/p2p/{STRANGER}")
        assert not any("private" in str(cause) for cause in caught.value.causes.values()), "the user named it"


async def test_the_gater_is_asked_before_a_dial(neighbourhood: Neighbourhood) -> None:
    peers = PeersConfig(deny_peers=(str(STRANGER),), deny_subnets=("192.0.2.0/24",))
    config = replace(neighbourhood.config("host", peers=peers), transports=None)
    other = PrivateKey.from_seed(b"o" * 32).peer_id
    async with neighbourhood.host("host", listen=False, config=config) as host:
        with pytest.raises(DialError, match="denied by the configuration"):
            await host.connect(f"/ip4/198.51.100.1/tcp/1/p2p/{STRANGER}")
        with pytest.raises(DialError, match="denied by the configuration"):
            await host.connect(f"/ip4/192.0.2.1/tcp/1/p2p/{other}")


async def test_dials_over_the_limit_wait_their_turn(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", limits=LimitsConfig(max_dials=2))
    servers = [neighbourhood.host(f"server {number}") for number in range(6)]
    async with neighbourhood.host("client", listen=False, config=config) as client:
        for server in servers:
            await server.start()
        assert len(await asyncio.gather(*(client.connect(server.addrs[0]) for server in servers))) == 6
        for server in servers:
            await server.close()


async def test_a_full_host_dials_nobody(neighbourhood: Neighbourhood) -> None:
    config = neighbourhood.config("client", limits=LimitsConfig(max_connections=1))
    async with (
        neighbourhood.host("one") as one,
        neighbourhood.host("two") as two,
        neighbourhood.host("client", listen=False, config=config) as client,
    ):
        await client.connect(one.addrs[0])
        with pytest.raises(LimitExceeded) as caught:
            await client.connect(two.addrs[0])
        assert caught.value.limit == "max_connections"


async def test_a_host_that_stops_tells_those_who_wait_for_a_dial(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("server") as server:
        neighbourhood.network.partition(["server"], ["client"])
        client = neighbourhood.host("client", listen=False)
        await client.start()
        waiting = asyncio.create_task(client.connect(server.addrs[0]))
        await asyncio.sleep(0.1)
        await client.close()
        with pytest.raises(Closed):
            await waiting


async def test_two_hosts_that_dial_each_other_at_once_lose_no_stream(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("one") as one, neighbourhood.host("two") as two:
        for host in (one, two):

            @host.protocol("/echo/1.0.0")
            async def echo(stream: Any) -> None:
                async for chunk in stream:
                    await stream.write(chunk)

        async def ask(host: Host, other: Host, text: bytes) -> bytes:
            async with host.open(other.addrs[0], "/echo/1.0.0") as stream:
                await stream.write(text)
                return await stream.readexactly(len(text))

        questions = [(one, two, b"one %d" % n) for n in range(5)] + [(two, one, b"two %d" % n) for n in range(5)]
        answers = await asyncio.gather(*(ask(*question) for question in questions))
        assert answers == [text for _, _, text in questions]
        assert len(one.connections()) == len(two.connections()) == 2

        def dialled_by(host: Host, other: Host) -> Host:
            best: ConnectionInfo | None = host._core.table.best(other.peer_id)
            assert best is not None
            return host if best.outbound else other

        assert dialled_by(one, two) is dialled_by(two, one) is min((one, two), key=lambda host: host.peer_id)
