from __future__ import annotations

from peerstack.errors import ConnectionLost, LimitExceeded
from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_core import SessionCore
from peerstack.wire.yamux_events import ConnectionFailed
from peerstack.wire.yamux_window import ReceiveBudget


def session_core() -> SessionCore:
    budget = ReceiveBudget(growth_limit=1 << 20, unread_limit=1 << 20, host_growth=None, host_unread=None)
    return SessionCore(YamuxConfig(max_control_bytes=4096), initiator=True, now=0.0, budget=budget)


def last_words(core: SessionCore) -> list[str]:
    return [bytes(piece).hex() for piece in core.writer.take(1 << 20)]


def test_a_session_fails_once_and_the_first_reason_stays() -> None:
    core = session_core()
    first = ConnectionLost("first")
    core.fail(first, wire.GO_AWAY_INTERNAL_ERROR)
    core.fail(ConnectionLost("second"), wire.GO_AWAY_NORMAL)
    core.end(ConnectionLost("third"))
    assert not core.violation("fourth")
    assert core.events == [ConnectionFailed(first)]
    assert last_words(core) == ["000300000000000000000002"]


def test_the_last_word_replaces_all_output() -> None:
    core = session_core()
    stream = core.table.open(0.0)
    stream.queue.append(b"x")
    stream.queued = 1
    core.writer.schedule(stream)
    core.ping(0.0)
    core.violation("enough")
    assert last_words(core) == ["000300000000000000000001"]


def test_the_control_queue_is_bounded() -> None:
    core = session_core()
    bound = 4096 // wire.HEADER_BYTES
    paused = []
    for value in range(4 * bound):
        core.control(wire.PING, wire.ACK, 0, value)
        paused.append(core.reading_paused)
    assert paused == [False] * bound + [True] * 3 * bound
    assert not core.events
    core.control(wire.PING, wire.ACK, 0, 0)
    (event,) = core.events
    assert isinstance(event, ConnectionFailed)
    assert isinstance(event.error, LimitExceeded)
    assert event.error.limit == "max_control_bytes"
