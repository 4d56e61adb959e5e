from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from peerstack.addresses import Address
from peerstack.config import DialConfig, HostConfig
from peerstack.errors import (
    ConnectionLost,
    DeadlineExceeded,
    DialError,
    HandshakeFailed,
    ListenError,
    NegotiationFailed,
    PeerIdMismatch,
    PeerstackError,
    ProtocolNotSupported,
    ProtocolViolation,
)
from peerstack.identity import PrivateKey
from peerstack.net.connection import Connection
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.wire import multistream
from tests.unit.net.endpoints import LATENCY_S, connected, echo, make_sides, settle
from tests.unit.net.raw_peer import RAW_KEY, RawPeer, make_upgrade

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

ANY = Address.parse("/memory/0")


@pytest_asyncio.fixture(autouse=True)
async def unheard() -> AsyncIterator[None]:
    """Fail a test after which an error was only logged by the loop, such as a future's that nobody asked for."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
    yield
    gc.collect()
    assert heard == []


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(seed=1, latency_s=(LATENCY_S, LATENCY_S), unreachable_timeout_s=60)


async def listening_raw(network: MemoryNetwork, accepted: list[RawPeer], **options: Any) -> Address:
    """A raw listener whose peers, if `options` has ``early``, are honest in the upgrade."""

    def accept(_remote: Address) -> RawPeer:
        accepted.append(RawPeer(make_upgrade(outbound=False, **options) if options else None))
        return accepted[-1]

    listener = await MemoryTransport(network, node="raw").listen(ANY, accept)
    return listener.addresses[0]


async def test_anybody_is_accepted_where_nobody_is_expected(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    connection = await near.endpoint.connect(near.transport, far.address, None)
    assert connection.peer_id == far.peer_id
    connection.abort()
    await far.stop()


async def test_a_connection_is_up_after_three_round_trips_of_the_link(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    started = asyncio.get_running_loop().time()
    await near.connect(far)
    assert asyncio.get_running_loop().time() - started <= 2 * LATENCY_S + 4 * LATENCY_S + 1e-9
    await near.stop()
    await far.stop()


async def test_somebody_else_is_a_mismatch_on_our_side_and_a_failure_on_theirs(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    other = PrivateKey.from_seed(bytes(32)).peer_id
    with pytest.raises(PeerIdMismatch) as caught:
        await near.endpoint.connect(near.transport, far.address, other)
    assert (caught.value.expected, caught.value.actual) == (str(other), str(far.peer_id))
    await asyncio.sleep(1)
    assert [type(error) for error in far.failures] == [HandshakeFailed]
    assert far.connections == []
    await far.stop()


async def test_nobody_there_is_a_dial_error(network: MemoryNetwork) -> None:
    near, _ = make_sides(network)
    with pytest.raises(DialError):
        await near.endpoint.connect(near.transport, Address.parse("/memory/77"), None)


async def test_a_listener_that_says_nothing_times_out(network: MemoryNetwork) -> None:
    near, _ = make_sides(network, near=HostConfig(dial=DialConfig(address_timeout_s=3.0)))
    accepted: list[RawPeer] = []
    address = await listening_raw(network, accepted)
    with pytest.raises(DeadlineExceeded, match=r"within 3\.0 seconds"):
        await near.endpoint.connect(near.transport, address, None)
    await accepted[0].until(lambda p: p.lost)


async def test_a_dial_that_hangs_in_the_transport_times_out(network: MemoryNetwork) -> None:
    near, far = make_sides(network, near=HostConfig(dial=DialConfig(address_timeout_s=3.0)))
    await far.listen(ANY)
    network.partition(["near"], ["far"])
    with pytest.raises(DeadlineExceeded):
        await near.endpoint.connect(near.transport, far.address, far.peer_id)
    network.heal()
    await far.stop()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" * 2, ProtocolViolation),
        (multistream.HEADER + multistream.encode("na"), ProtocolNotSupported),
        (multistream.proposal("/noise") + b"\x00\x60" + b"\x07" * 96, HandshakeFailed),
        (multistream.proposal("/noise") + b"\xff\xff", HandshakeFailed),
    ],
    ids=["a web server", "no noise", "no noise message", "a noise message too long"],
)
async def test_what_speaks_another_language_is_a_documented_error(
    network: MemoryNetwork, answer: bytes, error: type[PeerstackError]
) -> None:
    near, _ = make_sides(network)
    accepted: list[RawPeer] = []
    address = await listening_raw(network, accepted)
    connecting = asyncio.create_task(near.endpoint.connect(near.transport, address, None))
    await asyncio.sleep(4 * LATENCY_S)
    accepted[0].write(answer)
    with pytest.raises(error):
        await connecting
    await accepted[0].until(lambda p: p.ended)


@pytest.mark.parametrize("end", ["write_eof", "abort"])
async def test_a_listener_that_hangs_up_is_a_documented_error(network: MemoryNetwork, end: str) -> None:
    near, _ = make_sides(network)
    accepted: list[RawPeer] = []
    address = await listening_raw(network, accepted)
    connecting = asyncio.create_task(near.endpoint.connect(near.transport, address, None))
    await asyncio.sleep(4 * LATENCY_S)
    getattr(accepted[0].link, end)()
    with pytest.raises((NegotiationFailed, ConnectionLost)):
        await connecting


async def test_a_dial_cancelled_at_any_moment_leaves_nothing_behind(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    kept: list[Connection] = []
    for step in range(40):
        dialling = asyncio.create_task(near.endpoint.connect(near.transport, far.address, far.peer_id))
        await asyncio.sleep(LATENCY_S * step / 6)
        await settle(step % 3)
        dialling.cancel()
        await asyncio.wait([dialling])
        if not dialling.cancelled():
            kept.append(dialling.result())
    await asyncio.sleep(20)
    assert len(kept) < 40
    assert len([connection for connection in far.connections if not connection.ended]) == len(kept)
    for connection in kept:
        connection.abort()
    await asyncio.sleep(1)
    assert all(connection.ended for connection in far.connections)
    assert len(network._links) == 0
    await far.stop()


async def test_both_sides_may_dial_at_once_and_both_connections_work(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    near.handlers["/echo"] = echo
    await near.listen(ANY)
    await far.listen(ANY)
    one, two = await asyncio.gather(near.connect(far), far.connect(near))
    for connection in (one, two, *near.connections, *far.connections):
        stream = connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"x" * 1000, eof=True)
        assert await stream.readexactly(1000) == b"x" * 1000
        assert await stream.read() == b""
    await near.stop()
    await far.stop()


async def test_what_is_not_admitted_costs_no_handshake(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    asked: list[Address] = []

    def admit(remote: Address) -> bool:
        asked.append(remote)
        return False

    def unexpected(*_arguments: object) -> None:
        raise AssertionError("refused links are not reported")

    far.listener = await far.endpoint.listen(far.transport, ANY, admit=admit, on_connection=unexpected, on_failed=unexpected)
    with pytest.raises(DialError):
        await near.endpoint.connect(near.transport, far.address, None)
    assert len(asked) == 1
    await far.stop()


async def test_every_admitted_link_is_settled_exactly_once(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    settled: list[str] = []

    def opened(connection: Connection) -> None:
        settled.append("open")
        far.connections.append(connection)

    far.listener = await far.endpoint.listen(
        far.transport,
        ANY,
        admit=lambda _remote: True,
        on_connection=opened,
        on_failed=lambda _remote, error: settled.append(error.code),
    )
    await near.connect(far)
    silent = await RawPeer.dial(MemoryTransport(network, node="raw"), far.address)
    garbage = await RawPeer.dial(MemoryTransport(network, node="raw"), far.address)
    garbage.write(bytes(100))
    gone = await RawPeer.dial(MemoryTransport(network, node="raw"), far.address)
    gone.link.abort()
    await silent.until(lambda p: p.lost)
    await asyncio.sleep(60)
    assert sorted(settled) == ["connection_lost", "handshake_failed", "open", "protocol_violation"]
    await near.stop()
    await far.stop()
    assert len(settled) == 4


async def test_a_remote_that_ends_it_right_after_the_upgrade_is_seen_as_ended(network: MemoryNetwork) -> None:
    near, _ = make_sides(network)
    accepted: list[RawPeer] = []
    address = await listening_raw(network, accepted, early=True)
    connection = await near.endpoint.connect(near.transport, address, RAW_KEY.peer_id)
    accepted[0].link.abort()
    await connection.wait_closed()
    assert connection.ended


async def test_an_address_in_use_is_a_listen_error(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    with pytest.raises(ListenError):
        await near.listen(far.address)
    await far.stop()


async def test_a_known_peer_reconnects(network: MemoryNetwork) -> None:
    near, far = make_sides(network)
    await far.listen(ANY)
    for _ in range(3):
        connection = await near.connect(far)
        assert connection.peer_id == far.peer_id
    assert len(near.endpoint._verified) == 1
    await near.stop()
    await far.stop()


async def test_all_connections_of_a_host_share_its_unread_budget() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        writing = asyncio.create_task(near.write(bytes(4 << 20)))
        await asyncio.sleep(1)
        assert ends.far.endpoint._unread_budget.used <= 1 << 20
        reading = asyncio.create_task(far.readexactly(4 << 20))
        await writing
        await reading
        ends.connection.abort()
        await ends.far_connection.wait_closed()
        assert ends.far.endpoint._unread_budget.used == 0
        assert ends.far.endpoint._growth_budget.used == 0
