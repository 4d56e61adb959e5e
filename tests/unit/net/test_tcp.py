"""The sockets themselves; what every transport promises is in the conformance suite."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from peerstack.addresses import Address
from peerstack.config import DialConfig, HostConfig
from peerstack.errors import DialError, ListenError
from peerstack.net.tcp import TcpConfig, TcpTransport
from peerstack.net.transport import Link
from peerstack.testing.transport_conformance import RecordingReceiver

pytestmark = pytest.mark.asyncio

V4 = Address.parse("/ip4/127.0.0.1/tcp/0")
V6 = Address.parse("/ip6/::1/tcp/0")
families = pytest.mark.parametrize("address", [V4, V6], ids=["ip4", "ip6"])

SHARED = TcpConfig(reuse_port=True, dial_from_listen_port=True)


def sock_of(link: Link) -> socket.socket:
    sock: socket.socket = link._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    return sock


class Accepted:
    """Accepts links, and keeps their receivers and the remotes' addresses."""

    def __init__(self) -> None:
        self.receivers: list[RecordingReceiver] = []
        self.remotes: list[Address] = []
        self._more = asyncio.Event()

    def __call__(self, remote: Address) -> RecordingReceiver:
        self.receivers.append(RecordingReceiver(on_received=lambda _receiver: self._more.set()))
        self.remotes.append(remote)
        self._more.set()
        return self.receivers[-1]

    async def until(self, condition: Callable[[Accepted], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition(self):
                self._more.clear()
                await self._more.wait()


async def end(*receivers: RecordingReceiver) -> None:
    for receiver in receivers:
        receiver.link.abort()
    for receiver in receivers:
        await receiver.until(lambda r: r.lost)
        assert receiver.violations == []


@asynccontextmanager
async def linked(address: Address) -> AsyncIterator[tuple[RecordingReceiver, RecordingReceiver]]:
    transport = TcpTransport()
    near, far = RecordingReceiver(), RecordingReceiver()
    listener = await transport.listen(address, lambda _remote: far)
    await transport.dial(listener.addresses[0], near)
    await far.until(lambda r: r.made)
    yield near, far
    await end(near, far)
    await listener.close()


@families
async def test_small_writes_do_not_wait_for_each_other(address: Address) -> None:
    async with linked(address) as ends:
        for receiver in ends:
            assert sock_of(receiver.link).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@families
async def test_addresses_are_numeric_and_seen_the_same_from_both_ends(address: Address) -> None:
    async with linked(address) as (near, far):
        assert near.link.remote_address == far.link.local_address
        assert near.link.local_address == far.link.remote_address
        assert near.link.local_address.host_kind == address.host_kind
        assert near.link.local_address.port


@families
async def test_half_close_and_backpressure(address: Address) -> None:
    async with linked(address) as (near, far):
        far.pause()
        written = 0
        while near.writable:
            near.link.write(bytes(64 << 10))
            written += 64 << 10
            await asyncio.sleep(0)
        near.link.write_eof()
        assert far.received == b""
        far.resume()
        await far.until(lambda r: r.eof)
        assert len(far.received) == written
        far.link.write(b"answer")
        far.link.write_eof()
        await near.until(lambda r: r.eof)
        assert near.received == b"answer"


@families
async def test_a_refused_dial_says_why(address: Address) -> None:
    transport = TcpTransport()
    listener = await transport.listen(address, lambda _remote: None)
    free = listener.addresses[0]
    await listener.close()
    with pytest.raises(DialError, match=r"cannot connect to /ip.*refused"):
        await transport.dial(free, RecordingReceiver())


@families
async def test_a_port_in_use_is_told_as_that(address: Address) -> None:
    transport = TcpTransport()
    listener = await transport.listen(address, lambda _remote: None)
    with pytest.raises(ListenError, match="in use"):
        await TcpTransport().listen(listener.addresses[0], lambda _remote: None)
    await listener.close()


async def test_an_address_that_is_not_ours_cannot_be_listened_on() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        await TcpTransport().listen(Address.parse("/ip4/192.0.2.1/tcp/0"), lambda _remote: None)


@families
async def test_several_listeners_share_a_port_and_all_links_arrive(address: Address) -> None:
    transports = [TcpTransport(SHARED) for _ in range(2)]
    accept = Accepted()

    first = await transports[0].listen(address, accept)
    second = await transports[1].listen(first.addresses[0], accept)
    assert second.addresses == first.addresses
    near = [RecordingReceiver() for _ in range(20)]
    for receiver in near:
        await TcpTransport().dial(first.addresses[0], receiver)
        receiver.link.write(b"x")
    await accept.until(lambda a: len(a.receivers) == 20)
    for receiver in accept.receivers:
        await receiver.until(lambda r: r.received == b"x")
    await end(*near, *accept.receivers)
    await first.close()
    await second.close()


@families
async def test_dials_leave_from_the_listeners_port(address: Address) -> None:
    here, there = TcpTransport(SHARED), TcpTransport()
    ours = await here.listen(address, lambda _remote: None)
    accept = Accepted()

    theirs = await there.listen(address, accept)
    near = RecordingReceiver()
    await here.dial(theirs.addresses[0], near)
    await accept.until(lambda a: len(a.remotes) == 1)
    assert accept.remotes[0].port == ours.addresses[0].port == near.link.local_address.port
    again = RecordingReceiver()
    await here.dial(theirs.addresses[0], again)  # the same four numbers are taken: any port will do
    await accept.until(lambda a: len(a.remotes) == 2)
    assert accept.remotes[1].port != accept.remotes[0].port
    await end(near, again, *accept.receivers)
    await ours.close()
    await theirs.close()
    with pytest.raises(DialError):
        await here.dial(theirs.addresses[0], RecordingReceiver())


async def test_a_dial_to_another_family_leaves_from_any_port() -> None:
    here = TcpTransport(SHARED)
    ours = await here.listen(V4, lambda _remote: None)
    far = RecordingReceiver()
    theirs = await TcpTransport().listen(V6, lambda _remote: far)
    near = RecordingReceiver()
    await here.dial(theirs.addresses[0], near)
    await far.until(lambda r: r.made)
    await end(near, far)
    await ours.close()
    await theirs.close()


async def test_a_remote_that_resets_while_it_is_accepted_harms_nothing() -> None:
    transport = TcpTransport()
    accept = Accepted()

    listener = await transport.listen(V4, accept)
    port = listener.addresses[0].port
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends a reset
    near = RecordingReceiver()
    await transport.dial(listener.addresses[0], near)
    near.link.write(b"alive")
    await accept.until(lambda a: any(receiver.received for receiver in a.receivers))
    for receiver in accept.receivers:
        if not receiver.received:
            await receiver.until(lambda r: r.ended)
    await end(near, *accept.receivers)
    await listener.close()


async def test_calls_on_a_link_whose_remote_reset_it_raise_nothing() -> None:
    async with linked(V4) as (near, far):
        sock_of(far.link).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.link.abort()
        await near.until(lambda r: r.lost)
        assert isinstance(near.error, ConnectionResetError)
        for call in (near.link.write_eof, near.link.pause_reading, near.link.resume_reading, near.link.close, near.link.abort):
            call()
        near.link.write(b"x")


async def test_its_configuration_follows_the_hosts() -> None:
    assert TcpTransport.from_config(HostConfig())._config == TcpConfig()
    shared = TcpTransport.from_config(HostConfig(dial=DialConfig(from_listen_port=True)))
    assert shared._config == SHARED
