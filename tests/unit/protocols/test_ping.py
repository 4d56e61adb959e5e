from __future__ import annotations

import pytest
from peerstack_ping import Ping

from peerstack import DeadlineExceeded, ProtocolNotSupported, ProtocolViolation, Stream
from peerstack.testing.network import Network

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

PING = "/ipfs/ping/1.0.0"


def ping_of(network: Network, number: int) -> Ping:
    plugin = network.hosts[number].plugin("ping")
    assert isinstance(plugin, Ping)
    return plugin


async def test_each_ping_of_a_stream_is_a_round_trip() -> None:
    async with Network(hosts=2) as network:
        times = [seconds async for seconds in ping_of(network, 0).ping(network.address(1), count=3, interval_s=1)]
    assert len(times) == 3
    assert all(0 < seconds < 1 for seconds in times)


async def test_blocks_are_echoed_after_the_dialer_has_closed_its_side() -> None:
    async with Network(hosts=2) as network, network.hosts[0].open(network.address(1), PING) as stream:
        await stream.write(b"a" * 32 + b"b" * 32, eof=True)
        assert await stream.readexactly(64) == b"a" * 32 + b"b" * 32
        assert await stream.read() == b""


async def test_a_part_of_a_block_is_not_echoed() -> None:
    async with Network(hosts=2) as network, network.hosts[0].open(network.address(1), PING) as stream:
        await stream.write(b"a" * 33, eof=True)
        assert await stream.readexactly(32) == b"a" * 32
        assert await stream.read() == b""


async def test_a_stream_on_which_nothing_is_said_is_closed() -> None:
    async with Network(hosts=2) as network, network.hosts[0].open(network.address(1), PING) as stream:
        assert await stream.read() == b""


async def test_a_wrong_answer_is_a_violation_and_no_answer_is_a_timeout() -> None:
    async with Network(hosts=2) as network:
        liar, asker = network.hosts[1], ping_of(network, 0)

        async def lie(stream: Stream) -> None:
            await stream.readexactly(32)
            await stream.write(bytes(32))

        async def stay_silent(stream: Stream) -> None:
            await stream.readexactly(33)

        for handler, error in ((lie, ProtocolViolation), (stay_silent, DeadlineExceeded)):
            liar.protocol(f"/{handler.__name__}")(handler)
            stream = await network.hosts[0].open_stream(network.address(1), f"/{handler.__name__}")
            context = asker._context
            assert context is not None
            with pytest.raises(error):
                await asker._once(context, stream)
            stream.reset()


async def test_a_peer_that_does_not_serve_ping_says_so() -> None:
    async with Network(hosts=2) as network:
        network.hosts[1]._core.registry.unregister(PING)
        with pytest.raises(ProtocolNotSupported):
            _ = [seconds async for seconds in ping_of(network, 0).ping(network.address(1))]
