"""Hosts over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from peerstack import DialError, Host, ListenError, PeerIdMismatch, PrivateKey, ProtocolNotSupported, Stream, preset

pytestmark = pytest.mark.asyncio

ECHO = "/echo/1.0.0"


async def _echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


def _host(*, listen: str = "/ip4/127.0.0.1/tcp/0", **arguments: object) -> Host:
    return Host(listen=listen or (), config=preset("local"), **arguments)  # type: ignore[arg-type]


def _open_files() -> set[str]:
    """Sockets of this process, by inode."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]  # noqa: PTH115 - gone in between: /proc
    return {link for link in links if link.startswith("socket:")}


@pytest.mark.parametrize("listen", ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"])
async def test_echo(listen: str) -> None:
    async with Host(listen=[listen]) as server, Host() as client:
        server.protocol(ECHO)(_echo)
        async with client.open(server.addrs[0], ECHO, timeout=5) as stream:
            await stream.write(b"hello peer")
            assert await stream.readexactly(10) == b"hello peer"
            assert stream.peer_id == server.peer_id


async def test_many_peers_and_streams_at_once() -> None:
    async with _host() as server:
        server.protocol(ECHO)(_echo)
        clients = [_host(listen="") for _ in range(8)]
        for client in clients:
            await client.start()

        async def ask(client: Host, number: int) -> None:
            body = number.to_bytes(2, "big") * 20_000
            async with client.open(server.addrs[0], ECHO, timeout=20) as stream:
                _, answer = await asyncio.gather(stream.write(body), stream.readexactly(len(body)))
                assert answer == body

        await asyncio.gather(*(ask(client, 8 * index + n) for index, client in enumerate(clients) for n in range(8)))
        assert len(server.peers()) == 8
        for client in clients:
            await client.close()


async def test_ping_measures_the_way_to_a_peer() -> None:
    async with _host() as server, _host(listen="") as client:
        connection = await client.connect(server.addrs[0])
        async with client.open(server.peer_id, "/ipfs/ping/1.0.0") as stream:
            await stream.write(bytes(range(32)))
            assert await stream.readexactly(32) == bytes(range(32))
        assert connection.peer_id == server.peer_id


async def test_a_port_in_use_is_told_and_nothing_stays_open() -> None:
    before = _open_files()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        host = Host(listen=["/ip4/127.0.0.1/tcp/0", f"/ip4/127.0.0.1/tcp/{port}"])
        with pytest.raises(ListenError, match=f"cannot listen on /ip4/127.0.0.1/tcp/{port}: it is in use"):
            await host.start()
    assert _open_files() <= before


async def test_a_closed_port_is_unreachable_with_its_cause() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stranger = PrivateKey.generate().peer_id
    async with _host(listen="") as client:
        with pytest.raises(DialError, match=f"cannot connect to /ip4/127.0.0.1/tcp/{port}: .*refused"):
            await client.connect(f"/ip4/127.0.0.1/tcp/{port}/p2p/{stranger}")


async def test_an_impostor_is_found_out() -> None:
    stranger = PrivateKey.generate().peer_id
    async with _host() as server, _host(listen="") as client:
        with pytest.raises(PeerIdMismatch):
            await client.connect(server.addrs[0].with_peer(stranger))


async def test_a_server_that_speaks_something_else_is_no_peer() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, _host(listen="") as client:
        with pytest.raises(DialError):
            await client.connect(f"/ip4/127.0.0.1/tcp/{port}/p2p/{PrivateKey.generate().peer_id}")


async def test_simultaneous_dials_lose_no_stream() -> None:
    async with _host() as one, _host() as two:
        for host in (one, two):
            host.protocol(ECHO)(_echo)

        async def ask(host: Host, other: Host, text: bytes) -> bytes:
            async with host.open(other.addrs[0], ECHO, timeout=5) as stream:
                await stream.write(text)
                return await stream.readexactly(len(text))

        texts = [b"%d" % number for number in range(20)]
        answers = await asyncio.gather(*(ask(*((one, two) if n % 2 else (two, one)), text) for n, text in enumerate(texts)))
        assert answers == texts


async def test_a_dead_peer_is_noticed_and_dialled_again_when_it_is_back() -> None:
    identity = PrivateKey.generate()
    async with _host(listen="") as client:
        server = _host(identity=identity)
        server.protocol(ECHO)(_echo)
        await server.start()
        await client.connect(server.addrs[0])
        await server.close()
        again = _host(identity=identity)
        again.protocol(ECHO)(_echo)
        async with again, client.open(again.addrs[0], ECHO, timeout=5) as stream:
            await stream.write(b"back")
            assert await stream.readexactly(4) == b"back"


async def test_a_refusal_reaches_a_dialer_that_closes_at_once() -> None:
    async with _host() as server, _host(listen="") as client:
        with pytest.raises(ProtocolNotSupported):
            async with client.open(server.addrs[0], ECHO):
                pass


async def test_dialing_from_the_listening_port() -> None:
    config = preset("local")
    config = replace(config, dial=replace(config.dial, from_listen_port=True))
    async with _host() as server, Host(listen="/ip4/127.0.0.1/tcp/0", config=config) as client:
        connection = await client.connect(server.addrs[0])
        assert connection.local_address == client.addrs[0].without_peer()


async def test_a_link_in_its_handshake_ends_with_the_host() -> None:
    async with _host() as server:
        reader, writer = await asyncio.open_connection(server.addrs[0].host, server.addrs[0].port)
        writer.write(b"\x13/multistream/1.0.0\n\x07/noise\n")
        assert await reader.readexactly(28) == b"\x13/multistream/1.0.0\n\x07/noise\n"
        assert server._core.table.pending == 1
    assert server._core.table.pending == 0
    with contextlib.suppress(ConnectionResetError):
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


async def test_nothing_stays_open_after_a_close() -> None:
    before = _open_files()
    async with _host() as server, _host(listen="") as client:
        server.protocol(ECHO)(_echo)
        stream = await client.open_stream(server.addrs[0], ECHO, confirm=True)
        await stream.write(b"x")
    await asyncio.sleep(0)
    assert _open_files() <= before
