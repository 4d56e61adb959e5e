from __future__ import annotations

import asyncio

import pytest

from peerstack.errors import ConnectionLost
from peerstack.plugin import ConnectionInfo
from tests.unit.net.endpoints import LATENCY_S, connected, settle

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def test_it_tells_who_and_where_the_peer_is() -> None:
    async with connected() as ends:
        near, far = ends.connection, ends.far_connection
        assert (near.peer_id, far.peer_id) == (ends.far.peer_id, ends.near.peer_id)
        assert near.public_key.peer_id() == near.peer_id
        assert near.outbound
        assert not far.outbound
        assert near.remote_address == far.local_address == ends.far.address
        assert near.local_address == far.remote_address
        assert str(ends.far.peer_id) in repr(near)
        assert " to " in repr(near)
        assert " from " in repr(far)
        info: ConnectionInfo = near
        assert info.rtt == pytest.approx(2 * LATENCY_S)


async def test_streams_are_listed_oldest_first_while_they_are_open() -> None:
    async with connected() as ends:
        first, first_far = await ends.accepted("/x")
        second, second_far = await ends.accepted("/y")
        assert list(ends.connection.streams) == [first, second]
        assert list(ends.far_connection.streams) == [first_far, second_far]
        first.reset()
        await asyncio.sleep(1)
        assert list(ends.connection.streams) == [second]
        assert list(ends.far_connection.streams) == [second_far]


async def test_everybody_who_waits_learns_of_the_end_and_a_cancelled_wait_is_forgotten() -> None:
    async with connected() as ends:
        waiting = [asyncio.create_task(ends.connection.wait_closed()) for _ in range(3)]
        await settle()
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert len(ends.connection._waiters) == 2
        ends.connection.close()
        await asyncio.gather(*waiting[1:])
        assert ends.connection.ended
        await ends.connection.wait_closed()
        assert ends.connection._waiters == {}


async def test_on_closed_is_called_once_whatever_comes_after() -> None:
    async with connected() as ends:
        ends.connection.close()
        ends.connection.abort(ConnectionLost("first"))
        ends.connection.abort(ConnectionLost("second"))
        ends.connection.close()
        await ends.connection.wait_closed()
        await asyncio.sleep(1)
        assert [str(error) for error in ends.near.closed] == ["first"]


async def test_nothing_can_be_opened_once_it_is_closing() -> None:
    async with connected() as ends:
        ends.connection.close()
        assert ends.connection.closed
        with pytest.raises(ConnectionLost):
            ends.connection.open_stream(["/echo"])
        await ends.connection.wait_closed()
        with pytest.raises(ConnectionLost):
            ends.connection.open_stream(["/echo"])
