from __future__ import annotations

import pytest

from peerstack.errors import LimitExceeded
from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_stream import StreamInput, YamuxStream
from peerstack.wire.yamux_table import StreamTable
from peerstack.wire.yamux_window import ReceiveBudget


class Streams:
    """A table and its memory."""

    def __init__(self, config: YamuxConfig | None = None) -> None:
        self.budget = ReceiveBudget(growth_limit=1 << 30, unread_limit=1 << 30, host_growth=None, host_unread=None)
        self.table = StreamTable(config or YamuxConfig(), self.budget, initiator=True)

    def with_unread(self, stream_id: int, n: int) -> YamuxStream:
        stream = self.table.accept(stream_id, 0.0)
        assert stream is not None
        assert stream.window.expect(n)
        stream.window.deliver(n)
        self.budget.add(n)
        return stream

    def close(self, stream: YamuxStream) -> None:
        for what in (StreamInput.RECEIVE_SYN, StreamInput.RECEIVE_FIN, StreamInput.SEND_FIN):
            assert stream.apply(what)
        self.table.forget(stream)


def test_stream_ids_end() -> None:
    table = Streams().table
    table._next_id = wire.MAX_U32
    assert table.open(0.0).stream_id == wire.MAX_U32
    with pytest.raises(LimitExceeded) as caught:
        table.open(0.0)
    assert caught.value.limit == "stream_ids"


def test_a_closed_stream_stays_until_its_bytes_are_consumed() -> None:
    streams = Streams()
    stream = streams.with_unread(2, 10)
    streams.close(stream)
    assert streams.table.live == {}
    assert streams.table.find(2) is stream
    streams.table.consume_lingering(2, 4)
    assert streams.budget.unread == 6
    streams.table.consume_lingering(2, 6)
    assert streams.table.find(2) is None
    assert streams.budget.unread == 0


def test_a_closed_stream_nobody_reads_can_be_dropped() -> None:
    streams = Streams()
    streams.close(streams.with_unread(2, 10))
    streams.table.drop_lingering(2)
    streams.table.drop_lingering(2)
    assert streams.table.find(2) is None
    assert streams.budget.unread == 0


def test_the_fullest_stream_may_be_a_closed_one() -> None:
    streams = Streams()
    streams.with_unread(2, 5)
    closed = streams.with_unread(4, 7)
    streams.with_unread(6, 6)
    streams.close(closed)
    assert streams.table.fullest() is closed
    streams.table.drop_lingering(4)
    assert streams.table.fullest().stream_id == 6


def test_a_grown_window_is_given_back_with_its_stream() -> None:
    streams = Streams()
    stream = streams.with_unread(2, 5)
    assert streams.budget.grow(1000)
    stream.window.grow(1000)
    streams.close(stream)
    assert streams.budget.grown == 0


def test_silence_is_counted_from_what_the_remote_said_last() -> None:
    table = Streams(YamuxConfig(half_closed_timeout_s=10.0)).table
    quiet, talking = table.open(0.0), table.open(0.0)
    assert table.next_silent() is None
    table.finish(talking, 0.0)
    table.finish(quiet, 1.0)
    talking.heard_at = 9.0
    assert table.next_silent() == 10.0
    assert table.silent(10.0) == []
    assert table.next_silent() == 11.0
    assert table.silent(11.0) == [quiet]
    table.forget(quiet)
    assert table.next_silent() == 19.0
    assert table.silent(19.0) == [talking]
