"""What a session does with the frames of a remote, well-behaved or not."""

from __future__ import annotations

import pytest

from peerstack.errors import ConnectionLost, LimitExceeded, ProtocolViolation
from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import ConnectionFailed, DataReceived, GoneAway, StreamFinished, StreamOpened, StreamReset, YamuxEvent
from peerstack.wire.yamux_frames import ACK, FIN, RST, SYN
from tests.unit.wire.feeding import Cutter, each_way
from tests.unit.wire.yamux_remote import WINDOW, Frame, Remote, data, go_away, ping, received, update


def kinds(events: list[YamuxEvent]) -> list[type]:
    return [type(event) for event in events]


def reading_paused(remote: Remote) -> bool:
    return remote.session.reading_paused


def drained(remote: Remote) -> bool:
    return remote.session.drained


# Streams.


@each_way
def test_any_cut_of_the_bytes_gives_the_same_streams(cut: Cutter) -> None:
    remote = Remote()
    events = remote.says(update(1, flags=SYN), data(1, b"hello "), data(3, b"x" * 100, SYN), data(1, b"world", FIN), ping(9), cut=cut)
    assert received(events, 1) == b"hello world"
    assert received(events, 3) == b"x" * 100
    assert [event for event in events if not isinstance(event, DataReceived)] == [StreamOpened(1), StreamOpened(3), StreamFinished(1)]
    assert Frame(wire.PING, ACK, 0, 9) in remote.take()


def test_payload_is_handed_over_as_it_comes() -> None:
    remote = Remote()
    remote.opens(1)
    frame = data(1, b"abcdef", FIN)
    assert remote.says(frame[:15]) == [DataReceived(1, b"abc")]
    assert remote.says(frame[15:]) == [DataReceived(1, b"def"), StreamFinished(1)]


def test_a_view_is_copied_because_its_owner_may_change_it() -> None:
    remote = Remote()
    remote.opens(1)
    owner = bytearray(data(1, b"abc"))
    remote.session.feed(memoryview(owner), 0.0)
    owner[:] = bytes(len(owner))
    assert remote.session.take_events() == [DataReceived(1, b"abc")]


@pytest.mark.parametrize("kind", [wire.DATA, wire.WINDOW_UPDATE])
def test_flags_count_on_both_frame_types(kind: int) -> None:
    def make(stream_id: int, flags: int) -> bytes:
        return wire.encode_header(kind, flags, stream_id, 0)

    remote = Remote()
    assert remote.says(make(1, flags=SYN)) == [StreamOpened(1)]
    assert remote.says(make(1, flags=FIN)) == [StreamFinished(1)]
    assert remote.says(make(3, flags=SYN)) == [StreamOpened(3)]
    assert remote.says(make(3, flags=RST)) == [StreamReset(3, 0, remote=True)]
    session = Remote(initiator=True, config=YamuxConfig(max_unacked_streams=1))
    stream_id = session.session.open_stream(0.0)
    session.take()
    with pytest.raises(LimitExceeded):
        session.session.open_stream(0.0)
    assert session.says(make(stream_id, flags=ACK)) == []
    session.session.open_stream(0.0)


def test_flags_of_one_frame_count_as_syn_then_data_then_fin() -> None:
    assert Remote().says(data(1, b"all", SYN | FIN)) == [StreamOpened(1), DataReceived(1, b"all"), StreamFinished(1)]


def test_data_in_front_of_a_reset_in_the_same_frame_is_handed_over() -> None:
    remote = Remote()
    assert remote.says(data(1, b"last", SYN | RST)) == [StreamOpened(1), DataReceived(1, b"last"), StreamReset(1, 0, remote=True)]


def test_after_our_fin_data_still_comes_in() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.finish(1, 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, FIN, 1, 0)]
    assert remote.says(data(1, b"still")) == [DataReceived(1, b"still")]
    assert remote.says(data(1, b"here", FIN)) == [DataReceived(1, b"here"), StreamFinished(1)]
    assert remote.session.stream_count == 0


def test_after_the_remote_fin_we_can_still_send() -> None:
    remote = Remote()
    remote.opens(1)
    remote.says(update(1, flags=FIN))
    remote.session.send(1, b"still here")
    remote.session.finish(1, 0.0)
    assert remote.take() == [Frame(wire.DATA, 0, 1, 10, b"still here"), Frame(wire.WINDOW_UPDATE, FIN, 1, 0)]
    assert remote.session.stream_count == 0


def test_a_reset_behind_the_last_fin_in_the_same_frame_changes_nothing() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.finish(1, 0.0)
    remote.take()
    assert remote.says(update(1, flags=FIN | RST)) == [StreamFinished(1)]
    assert not remote.session.closed


@each_way
def test_data_for_unknown_streams_is_read_and_discarded(cut: Cutter) -> None:
    remote = Remote()
    remote.opens(1)
    events = remote.says(data(99, b"\x00\x02" * 40), data(2, b"z"), data(1, b"good"), cut=cut)
    assert received(events, 1) == b"good"
    assert set(kinds(events)) == {DataReceived}


@each_way
def test_data_for_a_stream_we_reset_is_read_and_discarded(cut: Cutter) -> None:
    remote = Remote()
    remote.opens(1)
    remote.opens(3)
    remote.session.reset(1)
    events = remote.says(data(1, b"late" * 9, FIN), data(3, b"good"), cut=cut)
    assert received(events, 3) == b"good"
    assert set(kinds(events)) == {DataReceived}


def test_the_rest_of_a_frame_is_discarded_when_its_stream_is_reset_in_between() -> None:
    remote = Remote()
    remote.opens(1)
    frame = data(1, b"abcdef", FIN)
    assert remote.says(frame[:14]) == [DataReceived(1, b"ab")]
    remote.session.reset(1)
    assert remote.says(frame[14:], update(3, flags=SYN)) == [StreamOpened(3)]


@pytest.mark.parametrize("flags", [0, ACK, FIN, RST])
def test_window_updates_for_unknown_streams_are_ignored(flags: int) -> None:
    assert Remote().says(update(7, 5, flags)) == []


def test_a_missing_ack_is_tolerated() -> None:
    remote = Remote(initiator=True)
    stream_id = remote.session.open_stream(0.0)
    remote.take()
    assert remote.says(data(stream_id, b"answer", FIN)) == [DataReceived(stream_id, b"answer"), StreamFinished(stream_id)]


def test_a_late_ack_is_tolerated() -> None:
    remote = Remote(initiator=True)
    stream_id = remote.session.open_stream(0.0)
    remote.take()
    events = remote.says(data(stream_id, b"answer"), update(stream_id, flags=FIN), update(stream_id, flags=ACK))
    assert events == [DataReceived(stream_id, b"answer"), StreamFinished(stream_id)]


@pytest.mark.parametrize("frame", [data(1, b"answer"), data(1), update(1, 10)])
def test_any_frame_on_a_stream_of_ours_counts_as_its_ack(frame: bytes) -> None:
    remote = Remote(YamuxConfig(max_unacked_streams=1), initiator=True)
    assert remote.session.open_stream(0.0) == 1
    remote.take()
    remote.says(frame)
    assert remote.session.open_stream(0.0) == 3


def test_a_window_update_after_the_remote_fin_is_tolerated_and_counts() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, bytes(WINDOW))
    remote.take()
    remote.session.send(1, b"more")
    remote.says(update(1, flags=FIN))
    assert remote.take() == []
    assert remote.says(update(1, 4)) == []
    assert remote.take() == [Frame(wire.DATA, 0, 1, 4, b"more")]


@pytest.mark.parametrize("opening", [update(1, 1000, SYN), update(1, flags=SYN) + update(1, 1000, ACK)])
def test_credit_counts_on_syn_and_ack_frames_too(opening: bytes) -> None:
    remote = Remote(YamuxConfig(max_send_buffer_bytes=1 << 20))
    remote.says(opening)
    remote.session.send(1, bytes(WINDOW + 2000))
    assert sum(frame.length for frame in remote.take()) == WINDOW + 1000


def test_a_reset_carries_an_error_code_and_no_credit() -> None:
    remote = Remote()
    remote.opens(1)
    assert remote.says(update(1, wire.MAX_U32, RST)) == [StreamReset(1, wire.MAX_U32, remote=True)]
    assert not remote.session.closed


def test_an_empty_data_frame_says_nothing() -> None:
    remote = Remote()
    remote.opens(1)
    assert remote.says(data(1)) == []


def test_a_window_update_of_nothing_says_nothing() -> None:
    remote = Remote()
    remote.opens(1)
    assert remote.says(update(1, 0)) == []


def test_an_id_may_be_used_again_once_the_end_of_its_stream_was_told() -> None:
    remote = Remote()
    assert kinds(remote.says(update(1, flags=SYN | RST))) == [StreamOpened, StreamReset]
    assert kinds(remote.says(update(1, flags=SYN))) == [StreamOpened]


def test_within_one_batch_of_events_an_id_means_one_stream() -> None:
    remote = Remote()
    assert kinds(remote.says(data(1, b"old", SYN), update(1, flags=RST), data(1, b"new", SYN))) == [StreamOpened, DataReceived, StreamReset]
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, RST, 1, wire.STREAM_RESOURCE_LIMIT_EXCEEDED)]


# Violations.


VIOLATIONS = {
    "version 1": b"\x01" + update(1)[1:],
    "unknown type": wire.encode_header(4, 0, 0, 0),
    "stream 0": update(0, flags=SYN),
    "our own parity": update(2, flags=SYN),
    "duplicate SYN": update(1, flags=SYN) * 2,
    "duplicate SYN as data": data(1, b"x", SYN) * 2,
    "data over the window": data(1, flags=SYN) + data(1, bytes(WINDOW)) + data(1, b"x"),
    "one frame over the window": wire.encode_header(wire.DATA, SYN, 1, WINDOW + 1),
    "one frame over any window": wire.encode_header(wire.DATA, 0, 77, wire.MAX_U32),
    "window over 32 bits": update(1, flags=SYN) + update(1, wire.MAX_U32 - WINDOW + 1),
    "data after FIN": update(1, flags=SYN | FIN) + data(1, b"x"),
    "second FIN": update(1, flags=SYN | FIN) + update(1, flags=FIN),
    "second FIN with RST": update(1, flags=SYN | FIN) + update(1, flags=FIN | RST),
}


@pytest.mark.parametrize("frames", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_ends_the_session_with_a_go_away(frames: bytes) -> None:
    remote = Remote()
    assert isinstance(remote.error(frames), ProtocolViolation)
    assert remote.session.closed
    assert remote.take() == [Frame(wire.GO_AWAY, 0, 0, wire.GO_AWAY_PROTOCOL_ERROR)]
    assert remote.says(update(5, flags=SYN), ping(3)) == []
    assert remote.take() == []


def test_the_dialer_takes_even_streams_only() -> None:
    assert Remote(initiator=True).says(update(2, flags=SYN)) == [StreamOpened(2)]
    for wrong in (0, 1, 3):
        assert isinstance(Remote(initiator=True).error(update(wrong, flags=SYN)), ProtocolViolation)


def test_frames_on_a_stream_of_ours_that_was_not_announced_are_a_violation() -> None:
    remote = Remote(initiator=True)
    stream_id = remote.session.open_stream(0.0)
    assert isinstance(remote.error(data(stream_id, b"x")), ProtocolViolation)


def test_frames_after_a_violation_in_the_same_piece_are_ignored() -> None:
    remote = Remote()
    assert kinds(remote.says(update(2, flags=SYN), update(1, flags=SYN), data(1, b"x"))) == [ConnectionFailed]


def test_the_window_is_exact() -> None:
    remote = Remote()
    assert received(remote.says(data(1, bytes(WINDOW), SYN)), 1) == bytes(WINDOW)
    assert isinstance(remote.error(data(1, b"x")), ProtocolViolation)


# Pings and go-aways.


def test_a_ping_is_answered_with_its_value_ahead_of_data() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, b"data")
    remote.says(ping(0xFFFF_FFFF), ping(7))
    assert remote.take() == [Frame(wire.PING, ACK, 0, 0xFFFF_FFFF), Frame(wire.PING, ACK, 0, 7), Frame(wire.DATA, 0, 1, 4, b"data")]


def test_no_pong_goes_out_unasked() -> None:
    remote = Remote(answered=False)
    remote.says(update(1, flags=SYN), data(1, b"x"), ping(5, ACK))
    assert Frame(wire.PING, ACK, 0, 5) not in remote.take()
    assert remote.take() == []


@pytest.mark.parametrize("value", [1, 1000, wire.MAX_U32])
def test_an_unknown_pong_is_ignored(value: int) -> None:
    remote = Remote(answered=False)
    assert remote.says(ping(value, ACK)) == []
    assert remote.session.rtt is None
    assert not remote.session.closed


def test_a_ping_without_flags_is_answered_as_go_and_rust_do() -> None:
    remote = Remote()
    remote.says(ping(5, 0))
    assert remote.take() == [Frame(wire.PING, ACK, 0, 5)]


@pytest.mark.parametrize("code", [0, 1, 2, 77])
def test_after_a_go_away_open_streams_go_on_and_new_ones_are_refused(code: int) -> None:
    remote = Remote()
    remote.opens(1)
    assert remote.says(go_away(code)) == [GoneAway(code)]
    with pytest.raises(ConnectionLost):
        remote.session.open_stream(0.0)
    assert remote.says(data(1, b"on")) == [DataReceived(1, b"on")]
    assert not drained(remote)
    remote.session.finish(1, 0.0)
    remote.take()
    remote.says(update(1, flags=FIN))
    assert drained(remote)
    assert not remote.session.closed


def test_a_go_away_ends_streams_that_were_not_announced_yet() -> None:
    remote = Remote(initiator=True)
    stream_id = remote.session.open_stream(0.0)
    remote.session.send(stream_id, b"too late")
    assert remote.says(go_away()) == [GoneAway(0), StreamReset(stream_id, 0, remote=True)]
    assert remote.take() == []
    assert remote.session.drained


# Limits on what a remote can make us do.


def test_streams_beyond_the_limit_are_reset_and_the_session_goes_on() -> None:
    remote = Remote(YamuxConfig(max_streams_in=2))
    assert remote.says(update(1, flags=SYN), data(3, b"x", SYN)) == [StreamOpened(1), StreamOpened(3), DataReceived(3, b"x")]
    remote.take()
    assert remote.says(data(5, b"refused", SYN | FIN), data(1, b"good")) == [DataReceived(1, b"good")]
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, RST, 5, wire.STREAM_RESOURCE_LIMIT_EXCEEDED)]
    remote.says(update(1, flags=RST))
    assert remote.says(update(7, flags=SYN)) == [StreamOpened(7)]


def test_streams_that_wait_to_be_read_count_for_the_limit() -> None:
    remote = Remote(YamuxConfig(max_streams_in=1))
    remote.says(data(1, b"x", SYN | FIN))
    remote.session.finish(1, 0.0)
    remote.take()
    assert remote.session.stream_count == 0
    assert remote.says(update(3, flags=SYN)) == []
    remote.take()
    remote.session.credit(1, 1, 0.0)
    assert remote.says(update(5, flags=SYN)) == [StreamOpened(5)]


def test_the_id_of_a_stream_that_waits_to_be_read_stays_taken() -> None:
    remote = Remote()
    remote.says(data(1, b"x", SYN | FIN))
    remote.session.finish(1, 0.0)
    remote.take()
    assert isinstance(remote.error(update(1, flags=SYN)), ProtocolViolation)


@pytest.mark.parametrize("flood", [ping(1), update(1, flags=SYN)], ids=["pings", "SYNs"])
def test_a_remote_that_asks_and_never_reads_is_stopped_then_sent_away(flood: bytes) -> None:
    remote = Remote(YamuxConfig(max_control_bytes=4096, max_streams_in=1))
    remote.opens(9)
    frames = [flood] * 341 if flood == ping(1) else [update(11 + 2 * n, flags=SYN) for n in range(341)]
    remote.says(*frames)
    assert not reading_paused(remote)
    remote.says(frames[0])
    assert reading_paused(remote)
    for _ in range(2):
        assert remote.says(*frames) == []
    assert isinstance(remote.error(*frames), LimitExceeded)
    assert remote.take() == [Frame(wire.GO_AWAY, 0, 0, wire.GO_AWAY_PROTOCOL_ERROR)]


def test_reading_goes_on_once_the_answers_were_taken() -> None:
    remote = Remote(YamuxConfig(max_control_bytes=4096))
    remote.says(*[ping(n) for n in range(1000)])
    assert reading_paused(remote)
    answers = remote.take(4096)
    assert len(answers) == 341
    while reading_paused(remote):
        answers += remote.take(4096)
    answers += remote.take()
    assert [answer.length for answer in answers] == list(range(1000))


def test_over_the_memory_bound_the_stream_with_the_most_unread_bytes_is_reset() -> None:
    remote = Remote(YamuxConfig(max_unread_bytes=100_000))
    for stream_id, size in ((1, 20_000), (3, 60_000), (5, 20_000)):
        remote.says(data(stream_id, bytes(size), SYN))
    remote.take()
    assert remote.says(data(1, b"x")) == [
        DataReceived(1, b"x"),
        StreamReset(3, wire.STREAM_RESOURCE_LIMIT_EXCEEDED, remote=False),
    ]
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, RST, 3, wire.STREAM_RESOURCE_LIMIT_EXCEEDED)]
    assert not remote.session.reading_paused
    assert received(remote.says(data(5, b"y")), 5) == b"y"


def test_over_the_memory_bound_a_closed_stream_that_waits_to_be_read_is_dropped() -> None:
    remote = Remote(YamuxConfig(max_unread_bytes=1000))
    remote.says(data(1, bytes(900), SYN | FIN))
    remote.session.finish(1, 0.0)
    remote.take()
    assert remote.says(data(3, bytes(200), SYN))[-1] == StreamReset(1, wire.STREAM_RESOURCE_LIMIT_EXCEEDED, remote=False)
    assert [frame.stream_id for frame in remote.take()] == [3]
    assert received(remote.says(data(3, bytes(700))), 3) == bytes(700)


def test_a_stream_may_be_the_one_that_breaks_the_memory_bound() -> None:
    remote = Remote(YamuxConfig(max_unread_bytes=1000))
    events = remote.says(data(1, bytes(1001), SYN | FIN), update(3, flags=SYN))
    assert kinds(events) == [StreamOpened, DataReceived, StreamReset, StreamOpened]


# The end of the bytes.


def test_the_end_between_frames_is_told() -> None:
    remote = Remote()
    remote.session.feed_eof(0.0)
    (event,) = remote.session.take_events()
    assert isinstance(event, ConnectionFailed)
    assert isinstance(event.error, ConnectionLost)
    assert event.error.remote
    assert "middle" not in str(event.error)


@pytest.mark.parametrize("cut", [1, 11, 12, 14])
def test_the_end_inside_a_frame_is_told_as_such(cut: int) -> None:
    remote = Remote()
    remote.says(data(1, b"abc", SYN)[:cut])
    remote.session.feed_eof(0.0)
    event = remote.session.take_events()[-1]
    assert isinstance(event, ConnectionFailed)
    assert "in the middle of a frame" in str(event.error)
