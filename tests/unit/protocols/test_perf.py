from __future__ import annotations

import pytest
from peerstack_perf import Perf

from peerstack import IncompleteRead, ProtocolViolation, Stream, StreamReset
from peerstack.testing.network import Network

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

PERF = "/perf/1.0.0"


async def test_a_transfer_carries_both_ways_what_was_asked_for() -> None:
    async with Network(hosts=2, protocols=["perf"]) as network:
        perf = network.hosts[0].plugin("perf")
        assert isinstance(perf, Perf)
        result = await perf.transfer(network.address(1), upload=300_001, download=500_003)
    assert (result.uploaded, result.downloaded) == (300_001, 500_003)
    assert result.seconds > 0


async def test_the_server_says_nothing_before_the_clients_end_then_exactly_the_eight_byte_count() -> None:
    async with Network(hosts=2, protocols=["perf"]) as network, network.hosts[0].open(network.address(1), PERF) as stream:
        await stream.write((5).to_bytes(8, "big") + b"upload", eof=True)
        assert await stream.readexactly(5) == bytes(5)
        assert await stream.read() == b""


async def test_a_client_that_asks_for_too_much_is_reset() -> None:
    small = lambda: Perf(Perf.Config(max_download_bytes=100))  # noqa: E731
    async with Network(hosts=2, protocols=[small]) as network, network.hosts[0].open(network.address(1), PERF) as stream:
        await stream.write((101).to_bytes(8, "big"), eof=True)
        with pytest.raises(StreamReset):
            await stream.read()


@pytest.mark.parametrize(("sent", "error"), [(9, IncompleteRead), (11, ProtocolViolation)])
async def test_a_server_that_sends_another_amount_is_told_from_one_that_does_not(sent: int, error: type[Exception]) -> None:
    async with Network(hosts=2) as network:

        @network.hosts[1].protocol(PERF)
        async def serve(stream: Stream) -> None:
            async for _ in stream:
                pass
            await stream.write(bytes(sent))

        perf = Perf()
        perf._context = network.hosts[0].plugin("ping")._context  # type: ignore[attr-defined]
        with pytest.raises(error):
            await perf.transfer(network.address(1), download=10)
