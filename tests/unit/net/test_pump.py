from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from peerstack.addresses import Address
from peerstack.config import ConnectionConfig, HostConfig, LimitsConfig, MuxerConfig
from peerstack.errors import (
    ConnectionLost,
    DeadlineExceeded,
    HandshakeFailed,
    LimitExceeded,
    NegotiationFailed,
    PeerstackError,
    ProtocolViolation,
    StreamReset,
)
from peerstack.net.connection import Connection
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.net.pump import Pump, PumpCallbacks
from peerstack.net.stream import Stream
from peerstack.wire import multistream
from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_session import YamuxSession
from tests.unit.net.endpoints import LATENCY_S, Ends, Side, connected, make_sides, settle
from tests.unit.net.raw_peer import RAW_KEY, RawPeer, ack_ping, make_upgrade
from tests.unit.wire.yamux_remote import data, go_away, ping, update

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

SYN, ACK, FIN, RST = wire.SYN, wire.ACK, wire.FIN, wire.RST
KIB = 1 << 10


def now() -> float:
    return asyncio.get_running_loop().time()


def writes(ends: Ends) -> list[bytes]:
    """What the near end wrote to its link so far."""
    return ends.near.transport.links[0].writes


@asynccontextmanager
async def raw_peer(*, config: HostConfig | None = None, latency_s: float = LATENCY_S) -> AsyncIterator[tuple[RawPeer, Side]]:
    """A raw peer that has dialled an endpoint and is through the upgrade."""
    network = MemoryNetwork(seed=1, latency_s=(latency_s, latency_s))
    _, far = make_sides(network, far=config)
    await far.listen(Address.parse("/memory/0"))
    peer = await RawPeer.dial(MemoryTransport(network, node="raw"), far.address, make_upgrade(outbound=True))
    await peer.until(lambda p: bool(p.frames))
    peer.send(ack_ping(peer))
    try:
        yield peer, far
    finally:
        peer.close()
        await far.stop()


# when bytes leave


async def test_the_first_small_write_of_a_turn_leaves_at_once() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        await settle()
        before = len(writes(ends))
        await near.write(b"small")
        assert len(writes(ends)) == before + 1
        await asyncio.sleep(1)
        assert len(writes(ends)) == before + 1


async def test_what_follows_in_the_same_turn_rides_together_at_its_end() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        other, _ = await ends.accepted("/y")
        await settle()
        before = len(writes(ends))
        for _ in range(50):
            await near.write(b"small")
            await other.write(b"small")
        other.write_eof()
        assert len(writes(ends)) == before + 1
        await settle(1)
        assert len(writes(ends)) == before + 2
        assert await far.readexactly(250) == b"small" * 50
        assert len(writes(ends)) == before + 2


async def test_each_turn_has_a_first_write_of_its_own() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        for _ in range(5):
            await settle()
            before = len(writes(ends))
            await near.write(b"small")
            assert len(writes(ends)) == before + 1


async def test_a_large_first_write_waits_for_the_end_of_the_turn() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        await settle()
        before = len(writes(ends))
        await near.write(bytes(16 * KIB))
        assert len(writes(ends)) == before
        await settle(1)
        assert len(writes(ends)) == before + 1


async def test_big_payloads_leave_in_batches_of_128_kib() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await settle()
        before = len(writes(ends))
        for _ in range(3):
            await near.write(bytes(32 * KIB))
        assert len(writes(ends)) == before
        await near.write(bytes(32 * KIB))
        assert len(writes(ends)) > before
        assert len(writes(ends)[before]) >= 128 * KIB
        assert await far.readexactly(128 * KIB) == bytes(128 * KIB)


@pytest.mark.parametrize(
    "act",
    [
        lambda ends, near: near.write_eof(),
        lambda ends, near: near.reset(),
        lambda ends, near: near._pump.credit(near, 200 * KIB),
        lambda ends, near: ends.connection.open_stream(["/echo"], optimistic=True),
        lambda ends, near: ends.connection.open_stream(["/a", "/b"]),
        lambda ends, near: ends.connection.close(),
    ],
    ids=["FIN", "RST", "credit", "optimistic proposal", "proposal", "go-away"],
)
async def test_control_never_leaves_in_the_middle_of_a_turn_and_always_by_its_end(act: Callable[[Ends, Stream], object]) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await far.write(bytes(200 * KIB))
        await asyncio.sleep(1)
        before = len(writes(ends))
        act(ends, near)
        assert len(writes(ends)) == before
        await settle(1)
        assert len(writes(ends)) == before + 1


async def test_an_empty_write_with_eof_is_a_fin_and_waits_for_the_end_of_the_turn() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await settle()
        before = len(writes(ends))
        await near.write(b"", eof=True)
        assert len(writes(ends)) == before
        assert await far.read() == b""
        assert len(writes(ends)) == before + 1


async def test_the_end_leaves_with_the_last_bytes() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await settle()
        before = len(writes(ends))
        await near.write(b"last", eof=True)
        assert await far.read() == b"last"
        assert await far.read() == b""
        assert len(writes(ends)) == before + 1


async def test_opening_and_first_bytes_share_one_write() -> None:
    async with connected() as ends:
        await settle()
        before = len(writes(ends))
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"request", eof=True)
        assert await stream.readexactly(7) == b"request"
        assert len(writes(ends)) == before + 1
        await stream.close()


async def test_the_answer_of_a_handler_shares_a_write_with_the_agreement() -> None:
    async with connected() as ends:
        await settle()
        answers = ends.far.transport.links[0].writes
        before = len(answers)
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"request", eof=True)
        assert await stream.readexactly(7) == b"request"
        assert await stream.read() == b""
        assert len(answers) - before == 2  # agreement and answer, then the end


async def test_a_connection_at_rest_writes_nothing() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"x")
        await far.read()
        await asyncio.sleep(1)
        before = len(writes(ends))
        await asyncio.sleep(20)
        assert len(writes(ends)) == before


async def test_the_handshake_takes_two_writes_of_the_dialer() -> None:
    async with connected() as ends:
        assert len(ends.near.transport.links[0].writes) <= 4  # proposal and message 1; message 3 with the first ping; pong


# backpressure


async def test_nothing_is_written_to_a_full_link_and_everything_once_it_drains() -> None:
    network = MemoryNetwork(latency_s=(LATENCY_S, LATENCY_S), bytes_per_s=200_000)
    async with connected(network) as ends:
        near, far = await ends.accepted("/x")
        writing = asyncio.create_task(near.write(bytes(2 << 20), eof=True))
        reading = asyncio.create_task(far.readexactly(2 << 20))
        most = 0
        while not writing.done():
            link = near._pump._link._link  # type: ignore[union-attr]
            most = max(most, link._outbox.size)
            await asyncio.sleep(0.1)
        assert await reading == bytes(2 << 20)
        assert most <= 256 * KIB + 140 * KIB


async def test_a_peer_that_asks_and_never_reads_is_not_read_from_any_more_and_ended() -> None:
    async with raw_peer() as (peer, far):
        connection = far.connections[0]
        peer.link.pause_reading()
        pump = connection._pump
        for value in range(40_000):
            peer.send(*(ping(value + n) for n in range(20)))
            if not value % 100:
                await asyncio.sleep(LATENCY_S)
            if not peer.writable or peer.lost:
                break
        await asyncio.sleep(1)
        session = pump._session
        assert session is not None
        assert len(session._writer.control) * wire.HEADER_BYTES <= 4 * 64 * KIB + 20 * wire.HEADER_BYTES
        await asyncio.sleep(120)
        assert connection.ended
        assert isinstance(far.closed[0], ConnectionLost | LimitExceeded)


async def test_reading_resumes_once_the_answers_have_left() -> None:
    async with raw_peer() as (peer, far):
        count = 30_000
        for first in range(0, count, 100):
            peer.send(*(ping(first + n) for n in range(100)))
        await peer.until(lambda p: sum(frame.flags == ACK and frame.kind == wire.PING for frame in p.frames) == count)
        assert not far.connections[0].ended


# ends


async def test_a_graceful_close_loses_no_byte_and_is_orderly_on_both_sides() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        sent = bytes(range(256)) * 1600  # 400 KiB, more than the window: close waits for credit
        await near.write(sent, eof=True)
        ends.connection.close()
        assert ends.connection.closed
        assert not ends.connection.ended
        with pytest.raises(ConnectionLost):
            ends.connection.open_stream(["/echo"])
        assert await far.readexactly(len(sent)) == sent
        assert await far.read() == b""
        await ends.connection.wait_closed()
        await ends.far_connection.wait_closed()
        assert ends.near.closed == ends.far.closed == [None]


@pytest.mark.parametrize("closer", ["dialer", "listener"])
async def test_either_side_may_close_and_what_it_had_received_stays_readable(closer: str) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"from near", eof=True)
        await far.write(b"from far", eof=True)
        await asyncio.sleep(1)
        (ends.connection if closer == "dialer" else ends.far_connection).close()
        await ends.connection.wait_closed()
        await ends.far_connection.wait_closed()
        for stream, expected in ((near, b"from far"), (far, b"from near")):
            assert await stream.read() == expected
            assert await stream.read() == b""
        assert ends.near.closed == ends.far.closed == [None]


async def test_both_sides_may_close_at_once() -> None:
    async with connected() as ends:
        ends.connection.close()
        ends.far_connection.close()
        ends.connection.close()
        started = now()
        await ends.connection.wait_closed()
        await ends.far_connection.wait_closed()
        assert now() - started <= 4 * LATENCY_S
        assert ends.near.closed == ends.far.closed == [None]


async def test_close_ends_in_time_though_the_remote_never_takes_the_rest() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        await near.write(bytes(400 * KIB))  # over the window, and nobody reads
        ends.connection.close()
        started = now()
        await ends.connection.wait_closed()
        assert now() - started == pytest.approx(5.0)
        assert isinstance(ends.near.closed[0], DeadlineExceeded)


async def test_close_ends_in_time_though_the_remote_never_closes() -> None:
    async with raw_peer() as (peer, far):
        connection = far.connections[0]
        connection.close()
        await peer.until(lambda p: p.eof)
        assert peer.frames[-1].kind == wire.GO_AWAY
        started = now()
        await connection.wait_closed()
        assert now() - started == pytest.approx(5.0, abs=3 * LATENCY_S)


async def test_what_the_remote_still_says_while_we_linger_is_taken_without_an_answer() -> None:
    async with raw_peer() as (peer, far):
        peer.send(data(1, multistream.proposal("/echo"), SYN))
        await peer.until(lambda p: bool(p.payload(1)))
        connection = far.connections[0]
        connection.close()
        await peer.until(lambda p: p.eof)
        for value in range(100):
            peer.send(ping(value), update(3, flags=SYN), data(1, bytes(1000)), data(99, b"?"), b"\xff" * 12)
            await asyncio.sleep(LATENCY_S / 4)
        assert not connection.ended
        peer.link.write_eof()
        await connection.wait_closed()
        assert far.closed == [None]


async def test_keepalive_is_silent_while_we_linger() -> None:
    config = HostConfig(connection=ConnectionConfig(close_timeout_s=300.0), muxer=MuxerConfig(keepalive_interval_s=1.0))
    async with raw_peer(config=config) as (peer, far):
        far.connections[0].close()
        await peer.until(lambda p: p.eof)
        await asyncio.sleep(100)
        assert not far.connections[0].ended
        peer.link.write_eof()
        await far.connections[0].wait_closed()


async def test_an_ended_link_that_never_drains_is_aborted_in_time() -> None:
    """The last words to a remote that reads nothing do not hold a socket."""
    async with raw_peer() as (peer, far):
        peer.link.pause_reading()
        peer.send(data(1, multistream.proposal("/echo"), SYN), update(1, 64 << 20))
        sent = 0
        while far.connections[0]._pump._writable:
            peer.send(data(1, bytes(16 * KIB)))
            sent += 1
            await asyncio.sleep(LATENCY_S * 2)
            assert sent < 100
        peer.send(b"\xff" * 12)  # no yamux
        await asyncio.sleep(LATENCY_S * 4)
        assert isinstance(far.closed[0], ProtocolViolation)
        link = far.connections[0]._pump._link._link  # type: ignore[union-attr]
        assert not link.lost
        await asyncio.sleep(5)
        assert link.lost


async def test_a_bare_end_of_the_link_is_orderly_and_ends_streams() -> None:
    async with raw_peer() as (peer, far):
        streams: list[Stream] = []

        async def hold(stream: Stream) -> None:
            streams.append(stream)
            assert await stream.read() == b"got"
            await stream.read()

        far.handlers["/hold"] = hold
        peer.send(data(1, multistream.proposal("/hold") + b"got", SYN))
        await peer.until(lambda p: bool(p.payload(1)))
        peer.link.write_eof()
        await far.connections[0].wait_closed()
        await settle()
        assert far.closed == [None]
        assert isinstance(far.handler_errors[0], ConnectionLost)


async def test_an_end_while_we_still_had_to_send_is_an_error() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        await near.write(bytes(400 * KIB))  # over the window
        ends.connection.close()
        await asyncio.sleep(1)
        ends.far_connection.close()
        await ends.connection.wait_closed()
        assert "took everything" in str(ends.near.closed[0])


async def test_a_close_inside_a_callback_ends_what_follows_in_the_same_bytes() -> None:
    async with raw_peer() as (peer, far):
        kept: list[Stream] = []

        def abort(stream: Stream) -> None:
            kept.append(stream)
            far.connections[0].abort()

        pump = far.connections[0]._pump
        pump._callbacks = replace(pump._callbacks, on_stream=abort)
        peer.send(data(1, b"x", SYN), data(3, b"x", SYN), data(1, b"y"), ping(1))
        await peer.until(lambda p: p.ended)
        assert [stream.stream_id for stream in kept] == [1]
        assert kept[0]._buffer.size == 0
        assert far.connections[0].streams == ()


async def test_an_end_inside_a_record_is_an_error() -> None:
    async with raw_peer() as (peer, far):
        peer.write(peer.seal(ping(1))[:-1])
        peer.link.write_eof()
        await far.connections[0].wait_closed()
        assert isinstance(far.closed[0], ProtocolViolation)


async def test_a_lost_link_is_told_with_its_reason() -> None:
    network = MemoryNetwork(latency_s=(LATENCY_S, LATENCY_S))
    async with connected(network) as ends:
        near, _ = await ends.accepted("/x")
        network.sever("near", "far")
        with pytest.raises(ConnectionLost, match="the link broke") as caught:
            await near.read()
        assert caught.value.remote
        assert isinstance(ends.near.closed[0], ConnectionLost)
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="the link broke"):
                ends.connection.open_stream(["/x"])


async def test_abort_ends_at_once_with_the_error_given() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        reading = asyncio.create_task(near.read())
        await settle()
        ends.connection.abort(LimitExceeded("max_connections"))
        ends.connection.abort()
        assert ends.connection.ended
        with pytest.raises(LimitExceeded):
            await reading
        with pytest.raises(ConnectionLost):
            await far.read()
        assert len(ends.near.closed) == len(ends.far.closed) == 1


# go-away


async def test_after_a_go_away_open_streams_go_on_and_the_last_one_closes_the_connection() -> None:
    async with raw_peer() as (peer, far):
        peer.send(data(1, multistream.proposal("/echo"), SYN))
        await peer.until(lambda p: bool(p.payload(1)))
        peer.send(go_away())
        await asyncio.sleep(1)
        connection = far.connections[0]
        assert connection.closed
        assert not connection.ended
        with pytest.raises(ConnectionLost):
            connection.open_stream(["/echo"])
        peer.send(data(1, b"still here"))
        await peer.until(lambda p: p.payload(1).endswith(b"still here"))
        peer.send(update(1, flags=FIN))
        await peer.until(lambda p: p.eof)
        peer.link.write_eof()
        await connection.wait_closed()
        assert far.closed == [None]


async def test_a_go_away_with_an_error_code_ends_the_connection_with_that_error() -> None:
    async with raw_peer() as (peer, far):
        peer.send(go_away(1))
        await far.connections[0].wait_closed()
        assert isinstance(far.closed[0], ConnectionLost)
        assert "code 1" in str(far.closed[0])


# streams that come and go within one delivery


async def test_a_stream_opened_and_reset_in_one_record_harms_nothing() -> None:
    async with raw_peer() as (peer, far):
        proposal = multistream.proposal("/echo")
        for stream_id in range(1, 400, 2):
            peer.send(data(stream_id, proposal + b"x", SYN), update(stream_id, flags=RST))
            peer.send(data(stream_id + 400, proposal[:25], SYN), update(stream_id + 400, flags=RST))
        peer.send(data(1001, proposal + b"alive", SYN))
        await peer.until(lambda p: p.payload(1001).endswith(b"alive"))
        await asyncio.sleep(1)
        assert [stream.stream_id for stream in far.connections[0].streams] == [1001]
        assert all(isinstance(error, StreamReset) for error in far.handler_errors)
        assert far.connections[0]._pump._session._budget.unread == 0  # type: ignore[union-attr]


async def test_an_id_used_again_in_the_same_record_does_not_mix_two_streams_up() -> None:
    async with raw_peer() as (peer, far):
        proposal = multistream.proposal("/echo")
        peer.send(data(1, proposal, SYN), update(1, flags=RST), data(1, b"\x13", SYN))
        peer.send(data(3, proposal + b"alive", SYN))
        await peer.until(lambda p: p.payload(3).endswith(b"alive"))
        assert not far.connections[0].ended


async def test_a_violation_behind_a_proposal_ends_the_connection_and_raises_nothing() -> None:
    async with raw_peer() as (peer, far):
        peer.send(data(1, multistream.proposal("/echo"), SYN), b"\xff" * 12)
        await peer.until(lambda p: p.ended)
        assert peer.frames[-1].kind == wire.GO_AWAY
        assert peer.frames[-1].length == wire.GO_AWAY_PROTOCOL_ERROR
        assert isinstance(far.closed[0], ProtocolViolation)


# time


async def test_idle_since_is_when_the_last_stream_went() -> None:
    async with connected() as ends:
        assert isinstance(ends.connection.idle_since, float)
        first, _ = await ends.accepted("/x")
        second, _ = await ends.accepted("/y")
        assert ends.far_connection.idle_since is None
        first.reset()
        await asyncio.sleep(1)
        second.reset()
        went = now()
        await asyncio.sleep(1)
        first.reset()
        assert ends.connection.idle_since == went
        assert ends.far_connection.idle_since == pytest.approx(went + LATENCY_S)


async def test_an_inbound_stream_that_proposes_nothing_is_reset_in_time() -> None:
    async with raw_peer() as (peer, far):
        started = now()
        peer.send(update(1, flags=SYN))
        await asyncio.sleep(5)
        peer.send(update(3, flags=SYN), data(3, multistream.HEADER))
        await peer.until(lambda p: any(frame.flags & RST for frame in p.frames))
        assert now() - started == pytest.approx(10 + 2 * LATENCY_S)
        await peer.until(lambda p: sum(bool(frame.flags & RST) for frame in p.frames) == 2)
        assert now() - started == pytest.approx(15 + 2 * LATENCY_S)
        assert far.connections[0].streams == ()


async def test_a_remote_that_falls_silent_is_found_out() -> None:
    network = MemoryNetwork(latency_s=(LATENCY_S, LATENCY_S))
    async with connected(network) as ends:
        near, _ = await ends.accepted("/x")
        await near.negotiated()
        network.partition(["near"], ["far"])
        started = now()
        with pytest.raises(ConnectionLost, match="ping"):
            await near.read()
        assert now() - started <= 50 + 1
        network.heal()


async def test_a_quiet_connection_lives_on() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await asyncio.sleep(3600)
        await near.write(b"x")
        assert await far.read() == b"x"
        assert ends.connection.rtt == pytest.approx(2 * LATENCY_S)


async def test_a_stream_that_stays_half_closed_is_reset_and_one_that_is_used_is_not() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        near.write_eof()
        for _ in range(10):
            await asyncio.sleep(30)
            await far.write(b"x")
            assert await near.read() == b"x"
        with pytest.raises(StreamReset) as caught:
            await near.read()
        assert not caught.value.remote


# the life of a pump without a connection


class Told:
    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.failed: list[PeerstackError] = []

    def pump(self, *, outbound: bool = True) -> Pump:
        callbacks = PumpCallbacks(on_open=self.opened.append, on_failed=self.failed.append, on_stream=lambda _stream: None)

        def make_session(at: float) -> YamuxSession:
            return YamuxSession(replace(Side("x", MemoryTransport(), HostConfig()).endpoint._yamux), initiator=outbound, now=at)

        return Pump(make_upgrade(RAW_KEY, outbound=outbound), make_session, callbacks, ConnectionConfig(), outbound=outbound)


async def test_a_pump_given_up_before_its_link_is_there_aborts_the_link_and_tells_once() -> None:
    told = Told()
    pump = told.pump()
    pump.abort()
    pump.abort()
    network = MemoryNetwork()
    accepted: list[RawPeer] = []

    def accept(_remote: Address) -> RawPeer:
        accepted.append(RawPeer())
        return accepted[-1]

    listener = await MemoryTransport(network, node="b").listen(Address.parse("/memory/0"), accept)
    await MemoryTransport(network, node="a").dial(listener.addresses[0], pump)
    await accepted[0].until(lambda p: p.lost)
    assert accepted[0].received == b""
    assert len(told.failed) == 1
    assert isinstance(told.failed[0], ConnectionLost)
    await listener.close()


async def test_closing_a_pump_in_the_middle_of_its_upgrade_gives_it_up() -> None:
    told = Told()
    pump = told.pump()
    network = MemoryNetwork()
    accepted: list[RawPeer] = []

    def accept(_remote: Address) -> RawPeer:
        accepted.append(RawPeer())
        return accepted[-1]

    listener = await MemoryTransport(network, node="b").listen(Address.parse("/memory/0"), accept)
    await MemoryTransport(network, node="a").dial(listener.addresses[0], pump)
    pump.close()
    await accepted[0].until(lambda p: p.lost)
    assert [str(error) for error in told.failed] == ["the connection was given up"]
    await listener.close()


async def test_an_upgrade_that_takes_too_long_fails_and_its_link_is_aborted() -> None:
    told = Told()
    network = MemoryNetwork(latency_s=(LATENCY_S, LATENCY_S))
    listener = await MemoryTransport(network, node="b").listen(Address.parse("/memory/0"), lambda _remote: told.pump(outbound=False))
    started = now()
    peer = await RawPeer.dial(MemoryTransport(network, node="a"), listener.addresses[0])
    await peer.until(lambda p: p.lost)
    assert now() - started == pytest.approx(10, abs=3 * LATENCY_S)
    assert isinstance(told.failed[0], HandshakeFailed)
    assert "10.0 seconds" in str(told.failed[0])
    await listener.close()


async def test_an_early_end_of_the_link_fails_the_upgrade() -> None:
    told = Told()
    network = MemoryNetwork()
    listener = await MemoryTransport(network, node="b").listen(Address.parse("/memory/0"), lambda _remote: told.pump(outbound=False))
    peer = await RawPeer.dial(MemoryTransport(network, node="a"), listener.addresses[0])
    peer.link.write_eof()
    await peer.until(lambda p: p.ended)
    assert isinstance(told.failed[0], NegotiationFailed)
    await listener.close()


# limits


async def test_streams_beyond_the_limit_are_reset_and_the_others_work() -> None:
    config = HostConfig(limits=LimitsConfig(max_streams_per_connection=20))
    async with raw_peer(config=config) as (peer, far):
        proposal = multistream.proposal("/echo")
        peer.send(*(data(stream_id, proposal, SYN) for stream_id in range(1, 100, 2)))
        await peer.until(lambda p: sum(bool(frame.flags & RST) for frame in p.frames) == 30)
        assert len(far.connections[0].streams) == 20
        peer.send(data(1, b"alive"))
        await peer.until(lambda p: p.payload(1).endswith(b"alive"))


async def test_opening_too_many_streams_is_our_own_error() -> None:
    config = HostConfig(limits=LimitsConfig(max_streams_per_connection=5))
    async with connected(near=config) as ends:
        streams = [ends.connection.open_stream(["/echo"], optimistic=True) for _ in range(5)]
        with pytest.raises(LimitExceeded):
            ends.connection.open_stream(["/echo"], optimistic=True)
        streams[0].reset()
        await ends.connection.open_stream(["/echo"], optimistic=True).close()


@pytest.mark.parametrize("protocols", [[], ["/a\nb"], ["/" + "x" * 2000]])
async def test_a_proposal_that_cannot_be_made_opens_no_stream(protocols: list[str]) -> None:
    async with connected() as ends:
        with pytest.raises(ValueError, match="proto"):
            ends.connection.open_stream(protocols)
        assert ends.connection.streams == ()
        assert ends.connection._pump._session.stream_count == 0  # type: ignore[union-attr]
