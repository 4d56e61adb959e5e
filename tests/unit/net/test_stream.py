from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.errors import (
    ConnectionLost,
    IncompleteRead,
    InvalidMessage,
    MessageTooLarge,
    NegotiationFailed,
    ProtocolNotSupported,
    StreamBusy,
    StreamClosed,
    StreamReset,
)
from peerstack.net.receive_buffer import ReceiveBuffer
from peerstack.net.stream import Stream
from peerstack.wire import varint
from peerstack.wire.yamux_frames import INITIAL_WINDOW_BYTES
from tests.unit.net.endpoints import LATENCY_S, connected, settle

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

MIB = 1 << 20


async def arrived(stream: Stream, count: int) -> None:
    """Wait until `count` unread bytes are buffered."""
    while stream._buffer.size < count:  # noqa: ASYNC110 - of virtual time
        await asyncio.sleep(LATENCY_S)


# reading


async def test_read_waits_for_one_byte_and_returns_what_is_there() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        read = asyncio.create_task(far.read())
        await asyncio.sleep(1)
        assert not read.done()
        await near.write(b"hello")
        assert await read == b"hello"
        await near.write(b"abcdef")
        assert await far.read(4) == b"abcd"
        assert await far.read(4) == b"ef"


async def test_the_end_is_an_empty_read_again_and_again() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"last", eof=True)
        assert await far.read() == b"last"
        assert await far.read() == b""
        assert await far.read() == b""
        assert [chunk async for chunk in far] == []
        await far.write(b"half open")
        assert await near.read() == b"half open"


async def test_read_sizes_must_make_sense() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        with pytest.raises(ValueError, match="at least one byte"):
            await near.read(0)
        with pytest.raises(ValueError, match="cannot read -1"):
            await near.readexactly(-1)
        with pytest.raises(ValueError, match="separator"):
            await near.readuntil(b"")
        assert await near.readexactly(0) == b""


async def test_readexactly_reads_more_than_any_window_holds() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        data = bytes(range(256)) * (20 * MIB // 256)
        writing = asyncio.create_task(near.write(data))
        assert await far.readexactly(len(data)) == data
        await writing


async def test_readexactly_at_the_end_tells_what_came() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"abc", eof=True)
        with pytest.raises(IncompleteRead, match="after 3 of 4 bytes") as caught:
            await far.readexactly(4)
        assert caught.value.partial == b"abc"
        assert await far.read() == b""


async def test_readuntil_reads_line_by_line_across_chunks() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        reading = asyncio.create_task(far.readuntil(b"\r\n"))
        for piece in (b"one", b"\r", b"\ntw", b"o\r\nthree"):
            await near.write(piece)
            await asyncio.sleep(LATENCY_S * 2)
        assert await reading == b"one\r\n"
        assert await far.readuntil(b"\r\n") == b"two\r\n"
        near.write_eof()
        with pytest.raises(IncompleteRead) as caught:
            await far.readuntil(b"\r\n")
        assert caught.value.partial == b"three"


async def test_readuntil_leaves_what_is_over_the_limit_unread() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"x" * 100 + b"\n")
        with pytest.raises(MessageTooLarge, match="within 100 bytes"):
            await far.readuntil(limit=100)
        assert await far.readuntil(limit=101) == b"x" * 100 + b"\n"


class WatchedBuffer(ReceiveBuffer):
    """Counts the bytes looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.peeked = 0

    def peek(self, start: int, stop: int) -> bytes:
        found = super().peek(start, stop)
        self.peeked += len(found)
        return found


async def test_readuntil_looks_at_each_byte_once() -> None:
    """A peer that sends a byte a frame cannot make it costly."""
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        buffer = far._buffer = WatchedBuffer()
        reading = asyncio.create_task(far.readuntil(b"\r\n", limit=MIB))
        await near.write(b"x" * 50_000)
        await arrived(far, 50_000)
        for count in range(200):
            await near.write(b"y")
            await arrived(far, 50_001 + count)
        await near.write(b"\r\n")
        assert len(await reading) == 50_202
        assert buffer.peeked < 51_000


# messages


def framed(message: bytes) -> bytes:
    return varint.encode(len(message)) + message


async def test_messages_keep_their_bounds() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        sent = [BytesValue(value=value) for value in (b"", b"a", b"b" * 300_000)]
        for message in sent:
            await near.write_message(message)
        near.write_eof()
        assert [await far.read_message(BytesValue) for _ in sent] == sent
        assert await far.read_message(BytesValue) is None


async def test_a_message_of_exactly_the_limit_is_read_and_a_larger_one_is_not() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        message = BytesValue(value=bytes(100))
        await near.write_message(message)
        await near.write_message(message)
        size = message.ByteSize()
        assert await far.read_message(BytesValue, limit=size) == message
        with pytest.raises(MessageTooLarge, match=f"{size} bytes, over the {size - 1}"):
            await far.read_message(BytesValue, limit=size - 1)


async def test_a_huge_announced_length_is_refused_before_anything_is_kept() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(varint.encode(1 << 60))
        with pytest.raises(MessageTooLarge):
            await far.read_message(BytesValue)


@pytest.mark.parametrize("data", [framed(b"\xff\xff\xff"), b"\x80" * 9, b"\x80\x00"], ids=["no protobuf", "endless", "not minimal"])
async def test_bytes_that_are_no_message_are_invalid(data: bytes) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(data, eof=True)
        with pytest.raises(InvalidMessage):
            await far.read_message(BytesValue)


@pytest.mark.parametrize("data", [b"\x80", b"\x05abc"], ids=["in the length", "in the body"])
async def test_an_end_inside_a_message_is_not_a_clean_end(data: bytes) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(data, eof=True)
        with pytest.raises(IncompleteRead):
            await far.read_message(BytesValue)


async def test_a_cancelled_message_is_queued_whole_or_not_at_all() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        message = BytesValue(value=bytes(200_000))
        await near.write_message(message)  # fills the window
        await near.write_message(message)  # waits in the queue
        await near.write_message(message)
        waiting = asyncio.create_task(near.write_message(message))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        near.write_eof()
        received = [await far.read_message(BytesValue) for _ in range(4)]
        assert received == [message, message, message, None]


# one reader, one writer


async def test_a_second_reader_gets_an_error_and_the_first_its_bytes() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        first = asyncio.create_task(far.readexactly(6))
        await near.write(b"abc")
        await arrived(far, 3)
        attempts: list[Callable[[], Awaitable[object]]] = [
            far.read,
            lambda: far.readexactly(1),
            far.readuntil,
            lambda: far.read_message(BytesValue),
            far.__anext__,
        ]
        for attempt in attempts:
            with pytest.raises(StreamBusy):
                await attempt()
        await near.write(b"def")
        assert await first == b"abcdef"


async def test_a_second_writer_gets_an_error_and_bytes_do_not_mix() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        first = asyncio.create_task(near.write(b"a" * MIB))
        await asyncio.sleep(1)
        with pytest.raises(StreamBusy):
            await near.write(b"b")
        with pytest.raises(StreamBusy):
            await near.write_message(BytesValue())
        with pytest.raises(StreamBusy):
            near.write_eof()
        assert await far.readexactly(MIB) == b"a" * MIB
        await first
        await near.write(b"b")
        assert await far.read() == b"b"


# cancelling


async def test_a_cancelled_read_loses_nothing() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        for read in (far.read, lambda: far.readexactly(8), far.readuntil, lambda: far.read_message(BytesValue, limit=200)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await read()
            await near.write(b"\x09")
            await arrived(far, 1)
            if far._buffer.size < 8:
                task = asyncio.create_task(far.readexactly(100))
                await settle()
                task.cancel()
                await asyncio.wait([task])
            assert await far.read() == b"\x09"


async def test_a_read_cancelled_in_the_turn_in_which_bytes_arrive_loses_nothing() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        for _ in range(20):
            read = asyncio.create_task(far.read())
            await near.write(b"x")
            while not far._buffer.size:
                await asyncio.sleep(LATENCY_S / 100)
                if read.done():
                    break
            read.cancel()
            await asyncio.wait([read])
            received = b"" if read.cancelled() else read.result()
            assert (received or await far.read()) == b"x"


async def test_a_raw_write_cut_in_the_middle_resets_the_stream() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        writing = asyncio.create_task(near.write(bytes(4 * MIB)))
        await asyncio.sleep(1)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        with pytest.raises(StreamReset) as caught:
            await near.write(b"more")
        assert not caught.value.remote
        with pytest.raises(StreamReset) as caught:
            while await far.read():
                pass
        assert caught.value.remote


# writing


@pytest.mark.parametrize("size", [1, 16_384, 131_072, 262_144, 262_145, MIB, 5 * MIB])
async def test_a_write_of_any_size_arrives(size: int) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        writing = asyncio.create_task(near.write(b"z" * size, eof=True))
        assert await far.readexactly(size) == b"z" * size
        assert await far.read() == b""
        await writing


async def test_the_caller_may_reuse_its_buffer() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        buffer = bytearray(b"first" * 10_000)
        await near.write(buffer)
        await near.write(memoryview(buffer)[:5])
        buffer[:] = bytes(len(buffer))
        assert await far.readexactly(50_005) == b"first" * 10_001


async def test_a_writer_waits_for_a_peer_that_does_not_read_and_memory_is_bounded() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        written = 0

        async def write_on() -> None:
            nonlocal written
            while True:
                await near.write(bytes(10_000))
                written += 10_000

        writing = asyncio.create_task(write_on())
        await asyncio.sleep(20)
        queued = ends.near.endpoint._yamux.max_send_buffer_bytes
        assert written <= INITIAL_WINDOW_BYTES + queued
        assert INITIAL_WINDOW_BYTES - 100 < far._buffer.size <= INITIAL_WINDOW_BYTES  # the negotiation took a few
        await far.readexactly(far._buffer.size)
        await asyncio.sleep(1)
        assert written > INITIAL_WINDOW_BYTES + queued - 10_000
        writing.cancel()
        await asyncio.wait([writing])


async def test_one_stream_that_nobody_reads_holds_no_other_up() -> None:
    async with connected() as ends:
        stuck, _ = await ends.accepted("/stuck")
        writing = asyncio.create_task(stuck.write(bytes(4 * MIB)))
        await asyncio.sleep(1)
        near, far = await ends.accepted("/free")
        for _ in range(10):
            await near.write(b"x" * 100_000)
            await far.readexactly(100_000)
        assert not writing.done()
        writing.cancel()
        await asyncio.wait([writing])


async def test_a_write_that_need_not_wait_is_whole_and_leaves_at_once() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        assert near.write_now(b"hello")
        assert await far.read() == b"hello"
        near.write_eof()
        with pytest.raises(StreamClosed):
            near.write_now(b"more")


async def test_a_write_that_would_have_to_wait_is_not_begun() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        sent = b""
        while near.write_now(b"a" * MIB):
            sent += b"a" * MIB
            assert len(sent) < 64 * MIB
        near_done = asyncio.create_task(near.write(b"z", eof=True))
        assert await far.readexactly(len(sent)) == sent
        assert await far.read() == b"z"
        await near_done
        assert await far.read() == b""


async def test_a_write_waits_where_the_protocol_is_not_agreed_yet() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/other", "/echo"])
        assert not stream.write_now(b"early")
        assert await stream.negotiated() == "/echo"
        assert stream.write_now(b"now")
        assert await stream.readexactly(3) == b"now"


async def test_writes_after_the_end_of_our_side_are_refused() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        near.write_eof()
        near.write_eof()
        with pytest.raises(StreamClosed):
            await near.write(b"x")
        with pytest.raises(StreamClosed):
            await near.write_message(BytesValue())
        assert await far.read() == b""


async def test_a_writer_whose_link_never_fills_gives_way_to_others() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        pump = near._pump
        assert pump._session is not None
        pump._session._streams[near.stream_id].send_window = 1 << 30
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await settle()
        before = turns
        for _ in range(64):
            pump._writable = True
            await near.write(bytes(65_536))
        assert turns - before >= 3
        counting.cancel()
        await asyncio.wait([counting])


# ending


async def test_close_loses_no_byte_and_discards_what_comes() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(bytes(400_000))
        await far.write(b"never read")
        await near.close()
        answer = asyncio.create_task(far.write(bytes(MIB), eof=True))  # more than a window: closing gives credit
        assert await far.readexactly(400_000) == bytes(400_000)
        assert await far.read() == b""
        await answer
        await asyncio.sleep(1)
        assert ends.connection.streams == ends.far_connection.streams == ()
        assert ends.connection._pump._session._budget.unread == 0  # type: ignore[union-attr]


async def test_after_close_reads_and_writes_are_refused_and_closing_again_is_fine() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await far.write(b"late", eof=True)
        await arrived(near, 4)
        await near.close()
        await near.close()
        with pytest.raises(StreamClosed):
            await near.read()
        with pytest.raises(StreamClosed):
            await near.write(b"x")
        near.reset()


async def test_a_reader_that_waits_learns_of_close() -> None:
    async with connected() as ends:
        near, _ = await ends.accepted("/x")
        reading = asyncio.create_task(near.read())
        await settle()
        await near.close()
        with pytest.raises(StreamClosed):
            await reading


async def test_close_while_another_task_still_writes_resets_rather_than_fakes_a_clean_end() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        writing = asyncio.create_task(near.write(bytes(4 * MIB)))
        await asyncio.sleep(1)
        await near.close()
        with pytest.raises(StreamReset):
            await writing
        with pytest.raises(StreamReset):
            while await far.read():
                pass


async def test_reset_tells_who_and_why_to_everybody_who_waits() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        waiting = [asyncio.create_task(near.read()), asyncio.create_task(far.read()), asyncio.create_task(near.write(bytes(4 * MIB)))]
        await asyncio.sleep(1)
        near.reset(77)
        near.reset(78)
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors[::2]] == [StreamReset, StreamReset]
        assert [(error.remote, error.error_code) for error in errors[::2]] == [(False, 77), (False, 77)]  # type: ignore[union-attr]
        with pytest.raises(StreamReset) as caught:
            while await far.read():
                pass
        assert (caught.value.remote, caught.value.error_code) == (True, 77)
        assert ends.connection.streams == ends.far_connection.streams == ()


async def test_a_reset_drops_what_was_not_read() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"unread")
        await arrived(far, 6)
        near.reset()
        await asyncio.sleep(1)
        with pytest.raises(StreamReset):
            await far.read()
        assert far._buffer.size == 0
        assert ends.far_connection._pump._session._budget.unread == 0  # type: ignore[union-attr]


async def test_what_arrived_before_a_lost_connection_is_read_first() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"before")
        await arrived(far, 6)
        ends.connection.abort()
        await asyncio.sleep(1)
        assert await far.read(3) == b"bef"
        assert await far.read() == b"ore"
        with pytest.raises(ConnectionLost) as caught:
            await far.read()
        assert caught.value.remote
        with pytest.raises(ConnectionLost):
            await far.write(b"x")
        far.reset()
        await far.close()


async def test_a_finished_direction_ends_cleanly_even_when_the_connection_is_lost_later() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"all", eof=True)
        await arrived(far, 3)
        ends.connection.abort()
        await asyncio.sleep(1)
        assert await far.read() == b"all"
        assert await far.read() == b""


@pytest.mark.parametrize("how", ["read", "readexactly", "readuntil"])
async def test_unread_bytes_of_a_stream_over_both_ways_stay_readable_and_counted_until_read(how: str) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"unread", eof=True)
        await arrived(far, 6)
        far.write_eof()
        await asyncio.sleep(1)
        session = ends.far_connection._pump._session
        assert session is not None
        assert session._budget.unread == 6
        assert list(ends.far_connection.streams) == [far]
        if how == "read":
            assert await far.read() == b"unread"
        elif how == "readexactly":
            assert await far.readexactly(6) == b"unread"
        else:
            assert await far.readuntil(b"d") == b"unread"
        assert session._budget.unread == 0
        assert list(ends.far_connection.streams) == []


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_giving_up_a_stream_that_is_over_frees_its_unread_bytes(ending: str) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(b"unread", eof=True)
        await arrived(far, 6)
        far.write_eof()
        await asyncio.sleep(1)
        if ending == "close":
            await far.close()
        else:
            far.reset()
        assert ends.far_connection._pump._session._budget.unread == 0  # type: ignore[union-attr]
        assert ends.far_connection._pump._session._table.lingering == {}  # type: ignore[union-attr]
        assert far._buffer.size == 0
        assert ends.far_connection.streams == ()


async def test_a_limit_that_sheds_a_stream_over_both_ways_frees_its_buffer() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        await near.write(bytes(1000), eof=True)
        await arrived(far, 1000)
        far.write_eof()
        await asyncio.sleep(1)
        pump = ends.far_connection._pump
        assert pump._session is not None
        pump._session._core.shed(pump._session._table.fullest(), 0)
        pump._dispatch(pump._session, 0.0)
        assert far._buffer.size == 0
        with pytest.raises(StreamReset):
            await far.read()


async def test_each_raise_is_a_fresh_error_that_keeps_no_frame_alive() -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        far.reset(5)
        await asyncio.sleep(1)
        errors = []

        class Big:
            pass

        async def fail() -> weakref.ref[Big]:
            big = Big()
            try:
                await near.read()
            except StreamReset as error:
                errors.append(error)
            return weakref.ref(big)

        references = [await fail() for _ in range(3)]
        assert len({id(error) for error in errors}) == 3
        assert {str(error) for error in errors} == {"the remote reset the stream (code 5)"}
        assert {(error.remote, error.error_code) for error in errors} == {(True, 5)}
        assert near._error is not None
        assert near._error.__traceback__ is None
        errors.clear()
        gc.collect()
        assert [reference() for reference in references] == [None] * 3


# negotiation


async def test_an_optimistic_stream_carries_its_first_bytes_with_the_proposal() -> None:
    async with connected() as ends:
        loop = asyncio.get_running_loop()
        started = loop.time()
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"ping")
        assert await stream.read() == b"ping"
        assert loop.time() - started == pytest.approx(2 * LATENCY_S)
        assert stream.protocol == "/echo"
        await stream.close()


async def test_a_server_that_speaks_first_reaches_an_opener_that_only_reads() -> None:
    async with connected() as ends:

        async def greet(stream: Stream) -> None:
            await stream.write(b"welcome", eof=True)

        ends.far.handlers["/greet"] = greet
        stream = ends.connection.open_stream(["/greet"], optimistic=True)
        assert await stream.read() == b"welcome"
        assert await stream.read() == b""
        await stream.close()


@pytest.mark.parametrize("first", [b"", b"x", b"\x00\x00", b"\x05hello\n", bytes(100_000), b"\x13/multistream/1.0.0\n"])
@pytest.mark.parametrize("eof", [False, True])
async def test_a_refusal_surfaces_from_the_first_read_whatever_was_written(first: bytes, eof: bool) -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/nope"], optimistic=True)
        await stream.write(first, eof=eof)
        with pytest.raises(ProtocolNotSupported, match="/nope"):
            await stream.read()
        with pytest.raises(ProtocolNotSupported):
            await stream.close()
        await asyncio.sleep(1)
        assert ends.connection.streams == ends.far_connection.streams == ()
        assert ends.far.handler_errors == []


async def test_a_refusal_surfaces_from_close() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/nope"], optimistic=True)
        await stream.write(b"request")
        with pytest.raises(ProtocolNotSupported):
            await stream.close()


async def test_a_refusal_reaches_everybody_who_waits() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/nope"], optimistic=True)
        waiting = [asyncio.create_task(stream.negotiated()), asyncio.create_task(stream.negotiated()), asyncio.create_task(stream.read())]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [ProtocolNotSupported] * 3


async def test_negotiated_waits_for_the_remotes_choice() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/new", "/nope", "/echo"])
        assert await stream.negotiated() == "/echo"
        assert await stream.negotiated() == "/echo"
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await stream.close()


async def test_with_several_proposals_nothing_is_sent_before_one_is_agreed() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/nope", "/echo"])
        await stream.write(b"early", eof=True)
        assert stream.protocol == "/echo"
        assert await stream.readexactly(5) == b"early"
        assert await stream.read() == b""

        stream = ends.connection.open_stream(["/nope", "/echo"])
        stream.write_eof()
        with pytest.raises(StreamClosed):
            await stream.write(b"x")
        assert await stream.read() == b""

        stream = ends.connection.open_stream(["/nope", "/echo"])
        await stream.write_message(BytesValue(value=b"m"))
        assert await stream.read_message(BytesValue) == BytesValue(value=b"m")
        await stream.close()

        stream = ends.connection.open_stream(["/nope", "/none"])
        with pytest.raises(ProtocolNotSupported, match="/nope or /none"):
            await stream.write(b"x")


async def test_a_cancelled_wait_for_the_protocol_leaves_the_stream_usable() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        waiting = asyncio.create_task(stream.negotiated())
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await stream.close()


async def test_a_close_cancelled_while_the_protocol_is_open_still_ends_both_ways() -> None:
    async with connected() as ends:

        async def talk(stream: Stream) -> None:
            await stream.write(bytes(600_000), eof=True)

        ends.far.handlers["/talk"] = talk
        stream = ends.connection.open_stream(["/talk"], optimistic=True)
        closing = asyncio.create_task(stream.close())
        await settle()
        closing.cancel()
        await asyncio.wait([closing])
        await asyncio.sleep(2)
        assert ends.connection.streams == ends.far_connection.streams == ()
        assert ends.connection._pump._session._budget.unread == 0  # type: ignore[union-attr]


async def test_bytes_behind_the_agreement_are_discarded_and_credited_once_we_closed() -> None:
    async with connected() as ends:

        async def talk(stream: Stream) -> None:
            await stream.write(b"greeting", eof=True)

        ends.far.handlers["/talk"] = talk
        stream = ends.connection.open_stream(["/talk"], optimistic=True)
        await stream.close()
        await asyncio.sleep(1)
        assert stream._buffer.size == 0
        assert ends.connection.streams == ()
        assert ends.connection._pump._session._budget.unread == 0  # type: ignore[union-attr]


async def test_a_remote_that_never_answers_the_proposal_is_given_up_in_time() -> None:
    async with connected() as ends:
        ends.far.endpoint._on_stream = lambda _stream: None
        ends.far_connection._pump._callbacks = type(ends.far_connection._pump._callbacks)(
            on_open=lambda _: None, on_failed=lambda _: None, on_stream=lambda _: None
        )
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"x")
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(NegotiationFailed, match=r"within 10\.0 seconds"):
            await stream.close()
        assert loop.time() - started == pytest.approx(10)


async def test_a_remote_that_resets_before_agreeing_is_told_by_close() -> None:
    async with connected() as ends:
        ends.far_connection._pump._callbacks = type(ends.far_connection._pump._callbacks)(
            on_open=lambda _: None, on_failed=lambda _: None, on_stream=lambda stream: stream.reset(9)
        )
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        await stream.write(b"x")
        with pytest.raises(StreamReset, match="code 9"):
            await stream.close()


async def test_our_own_reset_before_the_protocol_is_agreed_makes_close_silent() -> None:
    async with connected() as ends:
        stream = ends.connection.open_stream(["/echo"], optimistic=True)
        stream.reset()
        await stream.close()
        with pytest.raises(StreamReset):
            await stream.negotiated()


# everything at once


@settings(max_examples=15, deadline=None)
@given(
    chunks=st.lists(st.integers(1, 120_000), min_size=1, max_size=12),
    reads=st.lists(st.integers(1, 100_000), min_size=1, max_size=6),
    seed=st.integers(0, 999),
)
async def test_whatever_is_written_is_what_is_read_and_every_byte_is_accounted_for(chunks: list[int], reads: list[int], seed: int) -> None:
    async with connected() as ends:
        near, far = await ends.accepted("/x")
        sent = b"".join(bytes([(seed + index) & 0xFF]) * size for index, size in enumerate(chunks))

        async def write() -> None:
            at = 0
            for size in chunks:
                await near.write(sent[at : at + size])
                at += size
            near.write_eof()

        writing = asyncio.create_task(write())
        received = b""
        turn = 0
        while chunk := await far.read(reads[turn % len(reads)]):
            received += chunk
            turn += 1
        await writing
        assert received == sent
        await asyncio.sleep(1)
        for connection in (ends.connection, ends.far_connection):
            assert connection._pump._session is not None
            assert connection._pump._session._budget.unread == 0
