"""CPU per operation in memory, both ends together: the way of a byte without the operating system.

Two endpoints in one process, joined by a link that hands bytes over with the next turn of the event loop; everything else is the product.
Printed as microseconds and in units of a calibration loop, so that figures of different machines and moods can be compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerstack import Address, HostConfig, PrivateKey
from peerstack.net.connection import Connection
from peerstack.net.endpoint import Endpoint
from peerstack.net.stream import Stream
from peerstack.net.transport import Accept, LinkReceiver

__all__ = ["run"]

_ROUNDS: Final = 5
_ECHO: Final = "/echo"
_SINK: Final = "/sink"
_BLOCK: Final = bytes(64 << 10)
_BUDGET_US: Final = {"handshake": 750, "ping": 35, "stream, one at a time": 55, "stream, 64 at once": 22, "bulk, 64 KiB": 75}
"""What the design allows, on the machine it was measured on."""


class DirectLink:
    """One end of a link that delivers in the next turn of the loop."""

    def __init__(self, address: Address) -> None:
        self.local_address = self.remote_address = address
        self.other: DirectLink
        self.receiver: LinkReceiver
        self._queue: list[bytes | bytearray | memoryview] = []
        self._loop = asyncio.get_running_loop()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._queue:
            self._loop.call_soon(self._deliver)
        self._queue.append(data)

    def _deliver(self) -> None:
        queue, self._queue = self._queue, []
        for data in queue:
            self.other.receiver.link_received(data)  # type: ignore[arg-type]

    def write_eof(self) -> None:
        self._loop.call_soon(self.other.receiver.link_eof)

    def close(self) -> None:
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                self._loop.call_soon(end.receiver.link_lost, None)

    abort = close

    def pause_reading(self) -> None:
        """Never fast enough to matter here."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


class DirectTransport:
    """Joins whoever dials with whoever listens."""

    def __init__(self) -> None:
        self.addresses = (Address.parse("/memory/1"),)
        self._accept: Accept | None = None

    def supports(self, address: Address) -> bool:
        return address.is_memory()

    async def listen(self, address: Address, accept: Accept) -> DirectTransport:
        self._accept = accept
        return self

    async def close(self) -> None:
        self._accept = None

    async def dial(self, address: Address, receiver: LinkReceiver) -> DirectLink:
        assert self._accept is not None
        near, far = DirectLink(address), DirectLink(address)
        near.other, far.other = far, near
        accepted = self._accept(address)
        assert accepted is not None
        near.receiver, far.receiver = receiver, accepted
        accepted.link_made(far)
        receiver.link_made(near)
        return near


class Pair:
    """A client and a server in one process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport = DirectTransport()
        self._client = Endpoint(PrivateKey.generate(), HostConfig(), on_stream=self._on_stream)
        self._server_key = PrivateKey.generate()
        self._server = Endpoint(self._server_key, HostConfig(), on_stream=self._on_stream)

    async def start(self) -> None:
        await self._server.listen(
            self._transport, self._transport.addresses[0], admit=lambda _: True, on_connection=lambda _: None, on_failed=lambda *_: None
        )

    async def connect(self, client: Endpoint | None = None) -> Connection:
        return await (client or self._client).connect(self._transport, self._transport.addresses[0], self._server_key.peer_id)

    def stranger(self) -> Endpoint:
        """A client that the server has never met."""
        return Endpoint(PrivateKey.generate(), HostConfig(), on_stream=self._on_stream)

    def _on_stream(self, stream: Stream) -> None:
        stream.listen((_ECHO, _SINK).__contains__, self._selected)

    def _selected(self, stream: Stream) -> None:
        task = asyncio.get_running_loop().create_task(self._echo(stream) if stream.protocol == _ECHO else self._sink(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _echo(self, stream: Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)
        await stream.close()

    async def _sink(self, stream: Stream) -> None:
        async for _ in stream:
            pass
        await stream.close()


async def request(connection: Connection) -> None:
    """Open a stream, 64 bytes up, 64 bytes down, close."""
    stream = connection.open_stream([_ECHO], optimistic=True)
    await stream.write(bytes(64), eof=True)
    await stream.readexactly(64)
    await stream.close()


async def measured(count: int, work: Awaitable[Any]) -> float:
    """CPU microseconds per operation."""
    begun = time.process_time()
    await work
    return (time.process_time() - begun) / count * 1e6


async def handshakes(pair: Pair) -> float:
    strangers = [pair.stranger() for _ in range(50)]

    async def all_of_them() -> None:
        for client in strangers:
            connection = await pair.connect(client)
            connection.close()
            await connection.wait_closed()

    return await measured(50, all_of_them())


async def pings(pair: Pair) -> float:
    connection = await pair.connect()
    stream = connection.open_stream([_ECHO], optimistic=True)

    async def all_of_them() -> None:
        block = bytes(32)
        for _ in range(2000):
            await stream.write(block)
            await stream.readexactly(32)

    result = await measured(2000, all_of_them())
    stream.reset()
    connection.close()
    return result


async def streams_one_at_a_time(pair: Pair) -> float:
    connection = await pair.connect()

    async def all_of_them() -> None:
        for _ in range(1000):
            await request(connection)

    result = await measured(1000, all_of_them())
    connection.close()
    return result


async def streams_64_at_once(pair: Pair) -> float:
    connection = await pair.connect()

    async def worker() -> None:
        for _ in range(50):
            await request(connection)

    result = await measured(64 * 50, asyncio.gather(*(worker() for _ in range(64))))
    connection.close()
    return result


async def bulk(pair: Pair) -> float:
    connection = await pair.connect()
    stream = connection.open_stream([_SINK], optimistic=True)

    async def all_of_them() -> None:
        for _ in range(1000):
            await stream.write(_BLOCK)
        stream.write_eof()
        await stream.read()

    result = await measured(1000, all_of_them())
    connection.close()
    return result


def calibration() -> float:
    """Microseconds for a fixed piece of the same kinds of work: 1,000 turns of a loop and ten records."""
    cipher = ChaCha20Poly1305(bytes(32))

    async def turns() -> float:
        loop = asyncio.get_running_loop()
        begun = time.process_time()
        for _ in range(1000):
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn
        for number in range(10):
            cipher.encrypt(number.to_bytes(12, "little"), _BLOCK, None)
        return (time.process_time() - begun) * 1e6

    return asyncio.run(turns())


MEASUREMENTS: Final[dict[str, Callable[[Pair], Awaitable[float]]]] = {
    "handshake": handshakes,
    "ping": pings,
    "stream, one at a time": streams_one_at_a_time,
    "stream, 64 at once": streams_64_at_once,
    "bulk, 64 KiB": bulk,
}


async def measure(name: str) -> float:
    """One round of one measurement, on a fresh pair."""
    pair = Pair()
    await pair.start()
    return await MEASUREMENTS[name](pair)


def run() -> int:
    """Print the table."""
    unit = min(calibration() for _ in range(_ROUNDS))
    print(f"CPU per operation in memory, both ends, best of {_ROUNDS} rounds; calibration {unit:.0f} us")
    print(f"{'operation':<24} {'us':>8} {'calibrations':>13} {'design, us':>11}")
    for name, budget in _BUDGET_US.items():
        best = min(asyncio.run(measure(name)) for _ in range(_ROUNDS))
        print(f"{name:<24} {best:>8.1f} {best / unit:>13.4f} {budget:>11}")
    return 0
