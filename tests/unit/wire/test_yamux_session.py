"""Commands, credit and time."""

from __future__ import annotations

import pytest

from peerstack.errors import ConnectionLost, LimitExceeded, StreamClosed
from peerstack.wire import yamux_frames as wire
from peerstack.wire.machine import Machine
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import ConnectionFailed, DataReceived, StreamFinished, StreamReset, YamuxEvent
from peerstack.wire.yamux_frames import ACK, FIN, RST, SYN
from peerstack.wire.yamux_session import WindowBudget, YamuxSession
from tests.unit.wire.feeding import converse
from tests.unit.wire.yamux_remote import WINDOW, Frame, Remote, data, go_away, parse, ping, received, update


def test_a_session_is_a_machine() -> None:
    machine: Machine[YamuxEvent] = YamuxSession(YamuxConfig(), initiator=True, now=0.0)
    assert machine.take_events() == []


# Two of ours.


def test_two_sessions_open_talk_and_close() -> None:
    left = YamuxSession(YamuxConfig(), initiator=True, now=0.0)
    right = YamuxSession(YamuxConfig(), initiator=False, now=0.0)
    there, back = left.open_stream(0.0), right.open_stream(0.0)
    assert (there, back) == (1, 2)
    left.send(there, b"from left")
    right.send(back, b"from right")
    left.finish(there, 0.0)
    converse(left, right)
    assert received(right.take_events(), there) == b"from left"
    assert received(left.take_events(), back) == b"from right"
    right.finish(there, 0.0)
    left.finish(back, 0.0)
    right.finish(back, 0.0)
    converse(left, right)
    assert (left.stream_count, right.stream_count) == (0, 0)
    assert left.take_events() == [StreamFinished(there), StreamFinished(back)]


# Opening.


def test_ids_are_odd_for_the_dialer_and_even_for_the_listener() -> None:
    for initiator, expected in ((True, [1, 3, 5]), (False, [2, 4, 6])):
        session = Remote(initiator=initiator).session
        assert [session.open_stream(0.0) for _ in range(3)] == expected


def test_open_streams_are_limited() -> None:
    remote = Remote(YamuxConfig(max_streams_out=2), initiator=True)
    first = remote.opened()
    remote.opened()
    with pytest.raises(LimitExceeded) as caught:
        remote.session.open_stream(0.0)
    assert caught.value.limit == "max_streams_out"
    remote.session.reset(first)
    remote.session.open_stream(0.0)


def test_unanswered_streams_are_limited() -> None:
    remote = Remote(initiator=True)
    for _ in range(256):
        remote.session.open_stream(0.0)
    with pytest.raises(LimitExceeded) as caught:
        remote.session.open_stream(0.0)
    assert caught.value.limit == "max_unacked_streams"
    remote.take()
    remote.says(update(1, flags=ACK), update(3, flags=RST))
    remote.session.open_stream(0.0)
    remote.session.open_stream(0.0)
    with pytest.raises(LimitExceeded):
        remote.session.open_stream(0.0)


def test_a_stream_we_reset_before_its_answer_is_no_longer_unanswered() -> None:
    remote = Remote(YamuxConfig(max_unacked_streams=1), initiator=True)
    stream_id = remote.session.open_stream(0.0)
    remote.take()
    remote.session.reset(stream_id)
    assert remote.session.open_stream(0.0) == stream_id + 2


# Misuse.


def test_writing_after_finish_is_refused() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.finish(1, 0.0)
    with pytest.raises(StreamClosed):
        remote.session.send(1, b"x")


def test_writing_to_a_stream_that_is_gone_is_refused() -> None:
    remote = Remote()
    remote.opens(1)
    remote.says(update(1, flags=RST))
    with pytest.raises(StreamClosed):
        remote.session.send(1, b"x")


def test_other_commands_on_a_stream_that_is_gone_do_nothing() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.reset(1)
    remote.take()
    remote.session.finish(1, 0.0)
    remote.session.credit(1, 5, 0.0)
    remote.session.reset(1)
    assert remote.take() == []


def test_commands_on_a_session_that_is_over_say_so() -> None:
    remote = Remote()
    remote.opens(1)
    remote.error(go_away(), b"\xff" * 12)
    with pytest.raises(ConnectionLost):
        remote.session.open_stream(0.0)
    with pytest.raises(ConnectionLost):
        remote.session.send(1, b"x")
    with pytest.raises(ConnectionLost):
        remote.session.ping(0.0)
    remote.session.go_away()
    remote.session.tick(1e9)
    remote.session.feed_eof(1e9)
    remote.session.abort(ConnectionLost())
    assert remote.session.deadline() is None
    assert remote.session.take_events() == []


def test_an_abort_says_nothing_to_the_remote() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.send(1, b"x")
    error = ConnectionLost("the cable was cut")
    remote.session.abort(error)
    assert remote.session.take_events() == [ConnectionFailed(error)]
    assert remote.take() == []


# Credit.


def test_credit_goes_back_as_the_application_consumes_not_as_bytes_arrive() -> None:
    remote = Remote()
    remote.opens(1)
    remote.says(data(1, bytes(WINDOW)))
    assert remote.take() == []
    remote.session.credit(1, WINDOW // 2 - 1, 0.0)
    assert remote.take() == []
    remote.session.credit(1, 1, 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, 0, 1, WINDOW // 2)]


def test_credit_still_grows_until_it_is_taken() -> None:
    remote = Remote()
    remote.opens(1)
    remote.says(data(1, bytes(WINDOW)))
    remote.session.credit(1, WINDOW // 2, 0.0)
    remote.session.credit(1, WINDOW // 2, 0.0)
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, 0, 1, WINDOW)]


def test_no_credit_goes_to_a_remote_that_finished() -> None:
    remote = Remote()
    remote.says(data(1, bytes(WINDOW), SYN | FIN))
    remote.take()
    remote.session.credit(1, WINDOW, 0.0)
    assert not remote.session.has_output()


def test_credit_due_when_the_remote_finishes_is_not_sent() -> None:
    remote = Remote()
    remote.opens(1)
    remote.says(data(1, bytes(WINDOW)))
    remote.session.credit(1, WINDOW, 0.0)
    remote.says(update(1, flags=FIN))
    assert remote.take() == []


def test_credit_for_more_than_was_received_is_misuse() -> None:
    remote = Remote()
    remote.says(data(1, b"abc", SYN))
    with pytest.raises(ValueError, match="3 are unread"):
        remote.session.credit(1, 4, 0.0)


def growing(budget: WindowBudget | None = None, config: YamuxConfig | None = None, *, pongs: int = 1000) -> tuple[YamuxSession, list[int]]:
    """Stream 64 windows over a path of 100 ms, each consumed at once; return the session and the credit it gave."""
    session = YamuxSession(config or YamuxConfig(), initiator=False, now=0.0, growth_budget=budget)
    session.feed(update(1, flags=SYN), 0.0)
    grants = []
    now = 0.0
    window = WINDOW
    for _ in range(64):
        for frame in parse(b"".join(session.take_output(1 << 20))):
            if frame.kind == wire.PING:
                session.feed(ping(frame.length, ACK) if frame.length < pongs else b"", now + 0.1)
            elif frame.kind == wire.WINDOW_UPDATE and frame.length:
                grants.append(frame.length)
                window += frame.length
        now += 0.1
        session.feed(data(1, bytes(window)), now)
        window = 0
        for event in session.take_events():
            if isinstance(event, DataReceived):
                session.credit(1, len(event.data), now)
    return session, grants


def test_a_window_that_is_used_up_every_round_trip_doubles_up_to_its_maximum() -> None:
    _, grants = growing()
    assert grants[0] == 2 * WINDOW  # the window again, and as much growth
    assert grants[-1] == 16 << 20
    assert max(grants) <= 24 << 20


def test_no_window_grows_before_the_round_trip_time_is_known() -> None:
    _, grants = growing(pongs=0)
    assert set(grants) == {WINDOW}


def test_growth_measures_the_path_again_unless_a_ping_is_under_way() -> None:
    remote = Remote(answered=False)
    (first,) = remote.take()
    remote.session.feed(ping(first.length, ACK), 0.002)
    for stream_id in (1, 3):
        remote.opens(stream_id)
    remote.says(data(1, bytes(WINDOW)), data(3, bytes(WINDOW)))
    for stream_id in (1, 3):
        remote.session.credit(stream_id, WINDOW, 0.002)
    first, *updates = remote.take()
    assert first == Frame(wire.PING, SYN, 0, 1)
    assert [(frame.kind, frame.stream_id, frame.length > WINDOW) for frame in updates] == [
        (wire.WINDOW_UPDATE, 1, True),
        (wire.WINDOW_UPDATE, 3, True),
    ]


def test_growth_asks_the_connection_and_the_host_for_memory() -> None:
    host = WindowBudget(3 * WINDOW)
    session, grants = growing(host)
    assert grants[-1] == 4 * WINDOW
    assert host.used == 3 * WINDOW
    _, narrow = growing(config=YamuxConfig(connection_window_budget_bytes=WINDOW))
    assert narrow[-1] == 2 * WINDOW
    session.reset(1)
    assert host.used == 0


def test_memory_goes_back_to_the_host_when_the_session_ends() -> None:
    growth, unread = WindowBudget(100 << 20), WindowBudget(100 << 20)
    session = YamuxSession(YamuxConfig(), initiator=False, now=0.0, growth_budget=growth, unread_budget=unread)
    for stream_id in (1, 3, 5, 7):
        session.feed(data(stream_id, bytes(WINDOW), SYN), 0.0)
    assert unread.used > 0
    session.feed_eof(0.0)
    assert (growth.used, unread.used) == (0, 0)


def test_over_the_host_bound_the_session_resets_its_fullest_stream() -> None:
    unread = WindowBudget(WINDOW)
    session = YamuxSession(YamuxConfig(), initiator=False, now=0.0, unread_budget=unread)
    session.feed(data(1, bytes(WINDOW), SYN) + data(3, bytes(WINDOW - 1), SYN) + data(5, bytes(2), SYN), 0.0)
    assert session.take_events()[-1] == StreamReset(1, wire.STREAM_RESOURCE_LIMIT_EXCEEDED, remote=False)


# Going away.


def test_after_our_go_away_new_streams_are_refused_both_ways() -> None:
    remote = Remote()
    remote.opens(1)
    remote.session.go_away()
    remote.session.go_away()
    assert remote.take() == [Frame(wire.GO_AWAY, 0, 0, wire.GO_AWAY_NORMAL)]
    with pytest.raises(ConnectionLost):
        remote.session.open_stream(0.0)
    assert remote.says(update(3, flags=SYN)) == []
    assert remote.take() == [Frame(wire.WINDOW_UPDATE, RST, 3, wire.STREAM_RESOURCE_LIMIT_EXCEEDED)]
    assert not remote.session.drained
    remote.says(update(1, flags=RST))
    assert remote.session.stream_count == 0


def test_a_session_without_streams_is_drained_at_once() -> None:
    remote = Remote()
    remote.session.go_away()
    assert remote.session.drained


# Time.


def test_silence_is_broken_by_a_ping_and_silence_after_it_is_the_end() -> None:
    remote = Remote(YamuxConfig(keepalive_interval_s=30.0, keepalive_timeout_s=10.0))
    session = remote.session
    assert session.deadline() is not None
    session.tick(29.9)
    assert remote.take() == []
    session.tick(30.0)
    assert [frame.kind for frame in remote.take()] == [wire.PING]
    assert session.deadline() == 40.0
    session.tick(40.0)
    (event,) = session.take_events()
    assert isinstance(event, ConnectionFailed)
    assert isinstance(event.error, ConnectionLost)
    assert "ping" in str(event.error)
    assert remote.take() == [Frame(wire.GO_AWAY, 0, 0, wire.GO_AWAY_INTERNAL_ERROR)]


def test_an_answered_ping_keeps_the_session_alive() -> None:
    remote = Remote()
    now = 0.0
    pings = 0
    for _ in range(20):
        due = remote.session.deadline()
        assert due is not None
        assert due > now
        now = due
        remote.session.tick(now)
        for frame in remote.take():
            pings += 1
            remote.session.feed(ping(frame.length, ACK), now + 0.05)
    assert pings >= 5
    assert remote.session.rtt == pytest.approx(0.05)
    assert not remote.session.closed


def test_a_stream_we_finished_is_reset_when_the_remote_stays_silent() -> None:
    remote = Remote(YamuxConfig(half_closed_timeout_s=5.0))
    remote.opens(1)
    remote.session.finish(1, 1.0)
    remote.take()
    assert remote.session.deadline() == 6.0
    remote.session.feed(ping(1), 5.0)  # the connection is alive
    remote.session.tick(5.9)
    assert remote.session.take_events() == []
    remote.session.tick(6.0)
    assert remote.session.take_events() == [StreamReset(1, wire.STREAM_GARBAGE_COLLECTED, remote=False)]
    assert Frame(wire.WINDOW_UPDATE, RST, 1, wire.STREAM_GARBAGE_COLLECTED) in remote.take()


@pytest.mark.parametrize("sign", [data(1, b"x"), update(1, 1), data(1)])
def test_a_stream_we_finished_lives_as_long_as_the_remote_says_something_on_it(sign: bytes) -> None:
    remote = Remote(YamuxConfig(half_closed_timeout_s=5.0))
    remote.opens(1)
    remote.session.finish(1, 100.0)
    for now in (104.0, 108.0, 112.0):
        remote.session.feed(sign, now)
        remote.session.tick(now + 3.0)
    assert not any(isinstance(event, StreamReset) for event in remote.session.take_events())
    remote.session.feed(ping(1), 116.9)
    remote.session.tick(117.0)
    assert remote.session.take_events() == [StreamReset(1, wire.STREAM_GARBAGE_COLLECTED, remote=False)]


def test_a_stream_only_the_remote_finished_has_no_deadline() -> None:
    remote = Remote(YamuxConfig(half_closed_timeout_s=5.0))
    remote.says(update(1, flags=SYN | FIN))
    remote.session.feed(ping(1), 1000.0)
    remote.session.tick(1000.0)
    assert remote.session.stream_count == 1


def test_a_stream_that_closed_in_time_has_no_deadline() -> None:
    remote = Remote(YamuxConfig(half_closed_timeout_s=5.0))
    remote.opens(1)
    remote.session.finish(1, 1.0)
    remote.take()
    remote.says(update(1, flags=FIN))
    assert remote.session.deadline() != 6.0
    remote.session.tick(7.0)
    assert remote.session.take_events() == []
