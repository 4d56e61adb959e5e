"""Two endpoints that reach each other in virtual time, every write of their links counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import PeerstackError
from peerstack.identity import PrivateKey
from peerstack.net.connection import Connection
from peerstack.net.endpoint import Endpoint
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.net.stream import Stream
from peerstack.net.transport import Accept, Link, LinkReceiver, Listener, Transport
from peerstack.testing.virtual_time import seeded_environment

Handler = Callable[[Stream], Awaitable[None]]

LATENCY_S = 0.01


class TappedLink:
    """A link that keeps what is written to it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.writes: list[bytes] = []
        self.local_address = link.local_address
        self.remote_address = link.remote_address

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        self._link.write(data)

    def write_eof(self) -> None:
        self._link.write_eof()

    def close(self) -> None:
        self._link.close()

    def abort(self) -> None:
        self._link.abort()

    def pause_reading(self) -> None:
        self._link.pause_reading()

    def resume_reading(self) -> None:
        self._link.resume_reading()


class _TappedReceiver:
    def __init__(self, receiver: LinkReceiver, links: list[TappedLink]) -> None:
        self._receiver = receiver
        self._links = links
        self.link_received = receiver.link_received
        self.link_eof = receiver.link_eof
        self.link_writable = receiver.link_writable
        self.link_lost = receiver.link_lost

    def link_made(self, link: Link) -> None:
        self._links.append(TappedLink(link))
        self._receiver.link_made(self._links[-1])


class TappedTransport:
    """A transport whose links, oldest first, are `TappedLink`s."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.links: list[TappedLink] = []

    def supports(self, address: Address) -> bool:
        return self._transport.supports(address)

    async def dial(self, address: Address, receiver: LinkReceiver) -> Link:
        return await self._transport.dial(address, _TappedReceiver(receiver, self.links))

    async def listen(self, address: Address, accept: Accept) -> Listener:
        def tapped(remote: Address) -> LinkReceiver | None:
            receiver = accept(remote)
            return None if receiver is None else _TappedReceiver(receiver, self.links)

        return await self._transport.listen(address, tapped)


class Side:
    """One endpoint, its transport, the protocols it serves, and what became of its connections and handlers."""

    def __init__(self, name: str, transport: Transport, config: HostConfig) -> None:
        self.key = PrivateKey.from_seed(name.encode().ljust(32, b"."))
        self.peer_id = self.key.peer_id
        self.transport = TappedTransport(transport)
        self.endpoint = Endpoint(self.key, config, on_stream=self._on_stream)
        self.handlers: dict[str, Handler] = {}
        self.connections: list[Connection] = []
        self.closed: list[PeerstackError | None] = []
        self.failures: list[PeerstackError] = []
        self.handler_errors: list[BaseException] = []
        self.listener: Listener | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    @property
    def address(self) -> Address:
        assert self.listener is not None
        return self.listener.addresses[0]

    async def listen(self, address: Address) -> None:
        self.listener = await self.endpoint.listen(
            self.transport,
            address,
            admit=lambda _remote: True,
            on_connection=self._keep,
            on_failed=lambda _remote, error: self.failures.append(error),
        )

    async def connect(self, other: Side) -> Connection:
        connection = await self.endpoint.connect(self.transport, other.address, other.peer_id)
        self._keep(connection)
        return connection

    async def stop(self) -> None:
        if self.listener is not None:
            await self.listener.close()
        for connection in self.connections:
            connection.abort()
        for connection in self.connections:
            await connection.wait_closed()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _keep(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.on_closed = lambda _connection, error: self.closed.append(error)

    def _on_stream(self, stream: Stream) -> None:
        stream.listen(self.handlers.__contains__, self._selected)

    def _selected(self, stream: Stream) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _serve(self, stream: Stream) -> None:
        try:
            await self.handlers[stream.protocol](stream)
            await stream.close()
        except Exception as error:  # noqa: BLE001 - kept for the test to look at
            self.handler_errors.append(error)
            stream.reset()


class Ends:
    """A connection from `near` to `far`."""

    def __init__(self, near: Side, far: Side, connection: Connection) -> None:
        self.near = near
        self.far = far
        self.connection = connection

    @property
    def far_connection(self) -> Connection:
        return self.far.connections[0]

    async def accepted(self, protocol: str, *, optimistic: bool = True) -> tuple[Stream, Stream]:
        """Both ends of a new stream whose handler does nothing until the test ends."""
        arrived: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        ended = asyncio.Event()

        async def hold(stream: Stream) -> None:
            arrived.set_result(stream)
            await ended.wait()

        self.far.handlers[protocol] = hold
        stream = self.connection.open_stream([protocol], optimistic=optimistic)
        return stream, await arrived


async def echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


def make_sides(network: MemoryNetwork | None = None, *, near: HostConfig | None = None, far: HostConfig | None = None) -> tuple[Side, Side]:
    network = network or MemoryNetwork(seed=1, latency_s=(LATENCY_S, LATENCY_S))
    one, two = (
        Side(name, MemoryTransport(network, node=name), replace(config or HostConfig(), environment=seeded_environment(name)))
        for name, config in (("near", near), ("far", far))
    )
    two.handlers["/echo"] = echo
    return one, two


@asynccontextmanager
async def connected(
    network: MemoryNetwork | None = None, *, near: HostConfig | None = None, far: HostConfig | None = None
) -> AsyncIterator[Ends]:
    """Connect two endpoints of a memory network; both are stopped at the end."""
    one, two = make_sides(network, near=near, far=far)
    await two.listen(Address.parse("/memory/0"))
    try:
        connection = await one.connect(two)
        await asyncio.sleep(LATENCY_S * 4)  # virtual: the far end has its connection, and the first pings are answered
        yield Ends(one, two, connection)
    finally:
        await one.stop()
        await two.stop()


async def settle(turns: int = 3) -> None:
    """Let some turns of the loop pass, and no time."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def gather_reads(stream: Stream, count: int) -> Sequence[bytes]:
    return [await stream.read() for _ in range(count)]
