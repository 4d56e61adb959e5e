"""Peers that break the rules, over real sockets, where the operating system has a part in it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from peerstack import ConnectionConfig, Host, LimitsConfig, PeerstackError, Stream, preset
from peerstack.net.tcp import TcpTransport
from peerstack.wire import multistream
from peerstack.wire.yamux_frames import ACK, PING, RST, SYN
from tests.integration.victim import ECHO, PROPOSAL, Victim, echo, quiet_logs
from tests.unit.net.raw_peer import RawPeer
from tests.unit.wire.yamux_remote import Frame, data, ping, update

pytestmark = pytest.mark.asyncio

LINGER_0 = struct.pack("ii", 1, 0)  # close sends a reset
LINKS = 2000


@pytest_asyncio.fixture(autouse=True)
async def _nothing_raised(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    async with quiet_logs(caplog):
        yield


@pytest.fixture(autouse=True)
def _real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RawPeer, "patience_s", 20.0)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for both ends of `LINKS` links."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * LINKS + 500
    if before[1] not in (resource.RLIM_INFINITY, -1) and before[1] < needed:
        pytest.skip(f"this system allows {before[1]} open files, and the test needs {needed}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, before[0]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def attacked(**changes: Any) -> AsyncIterator[Victim]:
    async with Host(listen="/ip4/127.0.0.1/tcp/0", config=preset("local", **changes)) as victim, Host(config=preset("local")) as witness:
        victim.protocol(ECHO)(echo)
        await witness.connect(victim.addrs[0])
        scene = Victim(victim, witness, TcpTransport(), victim.addrs[0].without_peer())
        await scene.serves()
        yield scene
        await scene.serves()


async def until(condition: Any, *, patience_s: float = 20.0) -> None:
    """Wait for something that no event of ours tells."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - it is the operating system that is waited for
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("many_files")
async def test_two_thousand_links_without_a_handshake_stay_within_the_limits() -> None:
    limits = LimitsConfig(max_pending_inbound=100, max_pending_inbound_per_ip=100, max_connections_per_ip=4096)
    async with attacked(limits=limits) as victim:
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = []
        most = 0
        try:
            for number in range(LINKS):
                sock = socket.socket()
                sockets.append(sock)
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", victim.address.port))
                most = max(most, victim.pending)
                if number % 500 == 250:
                    await victim.serves()
            await until(lambda: victim.refused("max_pending_inbound") + victim.refused("max_pending_inbound_per_ip") == LINKS - 100)
            assert most <= 100
            assert victim.pending == 100
            await victim.serves()
        finally:
            for sock in sockets:
                sock.close()
        await until(lambda: victim.pending == 0)
        peer = await victim.secured()
        await victim.opened(peer)
        peer.close()
        await peer.until(lambda p: p.lost)


@pytest.mark.parametrize("stage", range(5))
async def test_a_reset_by_the_remotes_kernel_harms_nothing_at_any_stage(stage: int) -> None:
    async with attacked() as victim:
        for _ in range(10):
            if stage < 3:
                with socket.create_connection(("127.0.0.1", victim.address.port)) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                    sock.sendall((b"", multistream.HEADER[:7], multistream.proposal("/noise") + b"\x00\x20" + bytes(range(32)))[stage])
            else:
                peer = await victim.secured()
                if stage == 4:
                    await victim.opened(peer)
                    peer.send(data(1, bytes(100_000)))
                peer.link._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)  # type: ignore[attr-defined]
                peer.close()
                await peer.until(lambda p: p.lost)
            await victim.serves()
        await until(lambda: victim.pending == 0 and not victim.attackers)


async def test_a_peer_that_never_reads_holds_a_bounded_amount_and_no_socket_after_the_end() -> None:
    async with attacked(connection=ConnectionConfig(close_timeout_s=0.2)) as victim:

        @victim.host.protocol("/source")
        async def serve(stream: Stream) -> None:
            while True:
                await stream.write(bytes(60_000))

        peer = await victim.secured()
        peer.link.pause_reading()
        peer.send(data(1, multistream.proposal("/source"), SYN), update(1, 1 << 30))
        (connection,) = victim.attackers
        await until(lambda: not connection._pump._writable)
        await victim.serves()
        session = connection._pump._session
        assert session is not None
        await until(lambda: sum(stream.queued for stream in session._streams.values()) == 256 << 10)
        transport: asyncio.Transport = connection._pump._link._transport  # type: ignore[union-attr]
        assert transport.get_write_buffer_size() <= 256 << 10
        peer.send(b"\xff" * 12)
        await until(lambda: connection.ended)
        await until(lambda: transport.get_extra_info("socket").fileno() == -1)
        peer.close()
        await peer.until(lambda p: p.lost)


async def test_closing_a_connection_to_a_peer_that_never_reads_ends_in_time() -> None:
    async with attacked(connection=ConnectionConfig(close_timeout_s=0.2)) as victim:
        peer = await victim.secured()
        peer.link.pause_reading()
        peer.send(data(1, PROPOSAL, SYN), update(1, 1 << 30))
        (connection,) = victim.attackers
        for _ in range(100):
            if not connection._pump._writable:
                break
            peer.send(data(1, bytes(60_000)))
            await asyncio.sleep(0.005)
        connection.close()
        async with asyncio.timeout(10):
            await connection.wait_closed()
        peer.close()
        await peer.until(lambda p: p.lost)


async def test_garbage_and_half_closed_links_leave_no_socket_open() -> None:
    async with attacked() as victim:
        for said in (b"", b"\x00" * 100, b"\xff" * 100_000, multistream.proposal("/noise") + b"\xff\xff"):
            with socket.create_connection(("127.0.0.1", victim.address.port)) as sock:
                with contextlib.suppress(ConnectionError):  # it hangs up while we still talk
                    sock.sendall(said)
                    sock.shutdown(socket.SHUT_WR)
                await until(lambda: victim.pending == 0)
            await victim.serves()


async def test_a_storm_of_opened_and_reset_streams_over_a_real_socket_leaves_nothing() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        for stream_id in range(1, 2001, 2):
            peer.send(data(stream_id, PROPOSAL + b"?" * 50, SYN), update(stream_id, flags=RST))
        peer.send(ping(77))
        await peer.until(lambda p: Frame(PING, ACK, 0, 77) in p.frames)
        (connection,) = victim.attackers
        assert connection.streams == ()
        await asyncio.sleep(0)  # the handlers see it
        await asyncio.sleep(0)
        await victim.opened(peer, 2001)
        peer.close()
        await peer.until(lambda p: p.lost)


async def test_an_unreachable_bootstrap_peer_keeps_nobody_from_being_served() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}/p2p/{'12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'}"
        async with (
            Host(listen="/ip4/127.0.0.1/tcp/0", bootstrap=[dead], config=preset("local")) as host,
            Host(config=preset("local")) as other,
        ):
            host.protocol(ECHO)(echo)
            async with other.open(host.addrs[0], ECHO, timeout=5) as stream:
                await stream.write(b"x", eof=True)
                assert await stream.readexactly(1) == b"x"
            with pytest.raises(PeerstackError):
                await host.connect(dead, timeout=5)
