"""How frames are cut, and in which order they leave."""

from __future__ import annotations

import pytest

from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import Writable
from peerstack.wire.yamux_frames import ACK, FIN, RST, SYN
from tests.unit.wire.yamux_remote import WINDOW, Frame, Remote, data, ping, update

FIN_FRAME = Frame(wire.WINDOW_UPDATE, FIN, 1, 0)


def dialer(config: YamuxConfig | None = None) -> Remote:
    return Remote(config, initiator=True)


def test_the_first_output_is_a_ping() -> None:
    assert Remote(answered=False).take() == [Frame(wire.PING, SYN, 0, 0)]


def test_syn_rides_on_the_first_data_frame() -> None:
    remote = dialer()
    stream_id = remote.session.open_stream(0.0)
    remote.session.send(stream_id, b"hello")
    assert remote.take() == [Frame(wire.DATA, SYN, 1, 5, b"hello")]


def test_syn_goes_alone_if_there_is_no_data_yet() -> None:
    remote = dialer()
    stream_id = remote.session.open_stream(0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, SYN, 1, 0)]
    remote.session.send(stream_id, b"hello")
    assert remote.take() == [Frame(wire.DATA, 0, 1, 5, b"hello")]


def test_a_whole_exchange_is_one_data_frame_and_a_fin_each_way() -> None:
    remote = dialer()
    stream_id = remote.session.open_stream(0.0)
    remote.session.send(stream_id, b"hello")
    remote.session.finish(stream_id, 0.0)
    assert remote.take() == [Frame(wire.DATA, SYN, 1, 5, b"hello"), FIN_FRAME]
    listener = Remote()
    listener.says(data(1, b"hello", SYN | FIN))
    listener.session.send(1, b"bye")
    listener.session.finish(1, 0.0)
    assert listener.take() == [Frame(wire.DATA, ACK, 1, 3, b"bye"), FIN_FRAME]


def test_an_empty_stream_is_one_frame() -> None:
    remote = dialer()
    remote.session.finish(remote.session.open_stream(0.0), 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, SYN | FIN, 1, 0)]


def test_an_inbound_stream_is_acknowledged_by_the_next_output() -> None:
    remote = Remote()
    remote.says(update(1, flags=SYN))
    assert remote.session.has_output()
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, ACK, 1, 0)]
    remote.session.send(1, b"x")
    assert remote.take() == [Frame(wire.DATA, 0, 1, 1, b"x")]


def test_an_ack_rides_on_credit() -> None:
    remote = Remote()
    remote.says(data(1, bytes(WINDOW // 2), SYN))
    remote.session.credit(1, WINDOW // 2, 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, ACK, 1, WINDOW // 2)]


def test_small_writes_share_a_frame() -> None:
    remote = Remote()
    remote.opens(1)
    for chunk in (b"a", b"bc", b"def"):
        remote.session.send(1, chunk)
    assert remote.take() == [Frame(wire.DATA, 0, 1, 6, b"abcdef")]


def test_fin_follows_the_last_queued_byte_in_a_frame_of_its_own_since_js_drops_a_payload_with_fin() -> None:
    remote = Remote(YamuxConfig(max_frame_bytes=4))
    remote.opens(1)
    remote.session.send(1, b"abcdef")
    remote.session.finish(1, 0.0)
    assert remote.take() == [Frame(wire.DATA, 0, 1, 4, b"abcd"), Frame(wire.DATA, 0, 1, 2, b"ef"), FIN_FRAME]
    assert not remote.session.has_output()


def test_fin_waits_for_data_that_waits_for_the_window() -> None:
    remote = Remote(YamuxConfig(max_send_buffer_bytes=1 << 20, max_frame_bytes=1 << 20))
    remote.opens(1)
    remote.session.send(1, bytes(WINDOW + 1))
    remote.session.finish(1, 0.0)
    assert remote.take() == [Frame(wire.DATA, 0, 1, WINDOW, bytes(WINDOW))]
    assert not remote.session.has_output()
    assert not remote.session.all_sent
    remote.says(update(1, 10))
    assert remote.take() == [Frame(wire.DATA, 0, 1, 1, bytes(1)), FIN_FRAME]


def test_fin_needs_no_window() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, bytes(WINDOW))
    remote.take()
    remote.session.finish(1, 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, FIN, 1, 0)]


def test_streams_take_turns() -> None:
    remote = Remote(YamuxConfig(max_frame_bytes=2))
    for stream_id in (1, 3, 5):
        remote.opens(stream_id)
    remote.session.send(1, b"aaaaaa")
    remote.session.send(3, b"bb")
    remote.session.send(5, b"cccc")
    assert b"".join(frame.payload for frame in remote.take()) == b"aabbccaaccaa"


def test_taking_a_little_at_a_time_is_still_fair() -> None:
    remote = Remote(YamuxConfig(max_frame_bytes=1000))
    for stream_id in (1, 3):
        remote.opens(stream_id)
    for stream_id in (1, 3):
        remote.session.send(stream_id, bytes(3000))
    order = [remote.take(1012)[0].stream_id for _ in range(6)]
    assert order == [1, 3, 1, 3, 1, 3]


@pytest.mark.parametrize("limit", [1, 12, 13, 100, 5000, 65536, 131072])
def test_a_data_frame_is_within_limit_window_and_frame_bound(limit: int) -> None:
    remote = Remote(YamuxConfig(max_frame_bytes=3000))
    remote.opens(1)
    remote.session.send(1, bytes(10_000))
    frames = remote.take(limit)
    assert frames
    assert sum(wire.HEADER_BYTES + frame.length for frame in frames) <= max(limit, wire.HEADER_BYTES + 1)
    assert all(0 < frame.length <= 3000 for frame in frames)


def test_payload_is_handed_on_without_a_copy() -> None:
    remote = Remote()
    remote.opens(1)
    chunk = bytes(1000)
    remote.session.send(1, chunk)
    _, payload = remote.session.take_output(1 << 16)
    assert payload is chunk


def test_control_goes_ahead_of_data_and_credit() -> None:
    remote = Remote()
    remote.says(data(1, bytes(WINDOW // 2), SYN), update(3, flags=SYN))
    remote.take()
    remote.session.send(3, b"data")
    remote.session.credit(1, WINDOW // 2, 0.0)
    remote.says(ping(1))
    assert [frame.kind for frame in remote.take()] == [wire.PING, wire.WINDOW_UPDATE, wire.DATA]


def test_control_over_the_limit_waits_for_the_next_take() -> None:
    remote = Remote()
    remote.says(*[ping(value) for value in range(10)])
    assert [frame.length for frame in remote.take(5 * 12)] == [0, 1, 2, 3, 4]
    assert [frame.length for frame in remote.take(1)] == [5]
    assert [frame.length for frame in remote.take()] == [6, 7, 8, 9]


def test_a_reset_drops_what_was_queued() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, b"dropped")
    remote.session.reset(1, 42)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, RST, 1, 42)]


def test_a_stream_that_was_never_announced_is_reset_in_silence() -> None:
    remote = dialer()
    stream_id = remote.session.open_stream(0.0)
    remote.session.send(stream_id, b"never")
    remote.session.reset(stream_id)
    assert remote.take() == []
    assert not remote.session.has_output()
    assert remote.session.stream_count == 0


def test_a_remote_reset_drops_what_was_queued() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, b"dropped")
    remote.says(update(1, flags=RST))
    assert remote.take() == []


def test_send_takes_what_the_buffer_holds_and_tells_when_there_is_room() -> None:
    remote = Remote(YamuxConfig(max_send_buffer_bytes=10, max_frame_bytes=2))
    remote.opens(1)
    assert remote.session.send(1, b"0123456789ab") == 10
    assert remote.session.send(1, b"ab") == 0
    remote.take(14)
    remote.take(14)
    assert remote.session.take_events() == []
    remote.take(14)
    assert remote.session.take_events() == [Writable(1)]
    assert remote.session.send(1, b"ab") == 2
    assert b"".join(frame.payload for frame in remote.take()) == b"6789ab"
    assert remote.session.take_events() == []


def test_asking_for_room_brings_the_writable_event_too() -> None:
    remote = Remote(YamuxConfig(max_send_buffer_bytes=10))
    remote.opens(1)
    assert remote.session.has_room(1)
    assert remote.session.send(1, bytes(10)) == 10
    assert not remote.session.has_room(1)
    remote.take()
    assert remote.session.take_events() == [Writable(1)]


def test_a_whole_message_is_taken_over_the_bound() -> None:
    remote = Remote(YamuxConfig(max_send_buffer_bytes=10))
    remote.opens(1)
    assert remote.session.send(1, b"m" * 25, whole=True) == 25
    assert remote.session.send(1, b"x") == 0
    assert remote.take() == [Frame(wire.DATA, 0, 1, 25, b"m" * 25)]
    assert remote.session.take_events() == [Writable(1)]


def test_output_that_only_ended_streams_had_is_nothing() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, b"x")
    remote.says(update(1, flags=RST))
    assert remote.session.take_output(100) == []
    assert not remote.session.has_output()


def test_a_stream_that_was_reset_says_no_fin() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.finish(1, 0.0)
    remote.says(update(1, flags=RST))
    assert remote.take() == []
