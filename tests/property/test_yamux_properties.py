"""Arbitrary interleavings of two yamux sessions, beside a naive model of what streams are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peerstack.errors import LimitExceeded
from peerstack.wire import yamux_frames as wire
from peerstack.wire.machine import ConnectionFailed
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import DataReceived, StreamFinished, StreamOpened, StreamReset
from peerstack.wire.yamux_session import YamuxSession
from peerstack.wire.yamux_window import ReceiveWindow

WINDOW = wire.INITIAL_WINDOW_BYTES


@dataclass
class Direction:
    """One way of a stream, as the model sees it."""

    written: bytearray = field(default_factory=bytearray)
    arrived: bytearray = field(default_factory=bytearray)
    consumed: int = 0
    finished: bool = False
    ended: bool = False


@dataclass
class Side:
    session: YamuxSession
    wire: deque[bytes] = field(default_factory=deque)
    """What this side sent and the other has not received."""
    known: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Streams this side reset, or knows to be reset."""


class TwoSessions(RuleBasedStateMachine):
    """What is written on one side arrives on the other: in order, once, whole, and the end after all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sides: list[Side] = []
        self.directions: dict[tuple[int, int], Direction] = {}  # (stream, side that writes)
        self.stamp = 0

    @initialize(frame=st.sampled_from([1, 1000, 65536]), buffer=st.sampled_from([1, 5000, 262144]), streams=st.sampled_from([1, 3, 50]))
    def connect(self, frame: int, buffer: int, streams: int) -> None:
        config = YamuxConfig(max_frame_bytes=frame, max_send_buffer_bytes=buffer, max_streams_out=streams, max_streams_in=1000)
        self.sides = [Side(YamuxSession(config, initiator=initiator, now=0.0)) for initiator in (True, False)]

    @rule(who=st.integers(0, 1))
    def open(self, who: int) -> None:
        side = self.sides[who]
        try:
            stream_id = side.session.open_stream(self.now)
        except LimitExceeded:
            return
        assert (stream_id, 0) not in self.directions
        side.known.add(stream_id)
        for writer in (0, 1):
            self.directions[stream_id, writer] = Direction()

    def pick(self, who: int, index: int) -> int | None:
        alive = sorted(self.sides[who].known - self.sides[who].gone)
        return alive[index % len(alive)] if alive else None

    @rule(who=st.integers(0, 1), index=st.integers(0, 50), size=st.one_of(st.integers(0, 40), st.integers(0, 400_000)))
    def send(self, who: int, index: int, size: int) -> None:
        stream_id = self.pick(who, index)
        if stream_id is None or self.directions[stream_id, who].finished:
            return
        self.stamp += 1
        data = (self.stamp.to_bytes(4, "big") * (size // 4 + 1))[:size]
        taken = self.sides[who].session.send(stream_id, data)
        assert 0 <= taken <= size
        self.directions[stream_id, who].written += data[:taken]

    @rule(who=st.integers(0, 1), index=st.integers(0, 50))
    def finish(self, who: int, index: int) -> None:
        stream_id = self.pick(who, index)
        if stream_id is not None:
            self.sides[who].session.finish(stream_id, self.now)
            self.directions[stream_id, who].finished = True

    @rule(who=st.integers(0, 1), index=st.integers(0, 50), share=st.integers(1, 4))
    def consume(self, who: int, index: int, share: int) -> None:
        stream_id = self.pick(who, index)
        if stream_id is not None:
            direction = self.directions[stream_id, 1 - who]
            n = -(-(len(direction.arrived) - direction.consumed) // share)
            self.sides[who].session.credit(stream_id, n, self.now)
            direction.consumed += n

    @precondition(lambda self: self.stamp % 5 == 4)
    @rule(who=st.integers(0, 1), index=st.integers(0, 50))
    def reset(self, who: int, index: int) -> None:
        stream_id = self.pick(who, index)
        if stream_id is not None:
            self.sides[who].session.reset(stream_id, 7)
            self.sides[who].gone.add(stream_id)

    @rule(who=st.integers(0, 1), limit=st.sampled_from([1, 13, 100, 5000, 131072]))
    def emit(self, who: int, limit: int) -> None:
        output = b"".join(self.sides[who].session.take_output(limit))
        if output:
            self.sides[who].wire.append(output)

    @rule(who=st.integers(0, 1), size=st.one_of(st.integers(1, 30), st.just(1 << 20)))
    def carry(self, who: int, size: int) -> None:
        """Bring some bytes over to `who`."""
        queue = self.sides[1 - who].wire
        if queue:
            piece = queue.popleft()
            if len(piece) > size:
                queue.appendleft(piece[size:])
            self.receive(who, piece[:size])

    def receive(self, who: int, piece: bytes) -> None:
        side = self.sides[who]
        side.session.feed(piece, self.now)
        for event in side.session.take_events():
            assert not isinstance(event, ConnectionFailed), event.error
            if isinstance(event, StreamOpened):
                assert event.stream_id not in side.known
                side.known.add(event.stream_id)
            elif isinstance(event, DataReceived):
                assert event.stream_id not in side.gone
                direction = self.directions[event.stream_id, 1 - who]
                assert not direction.ended
                assert event.data
                direction.arrived += event.data
                assert direction.written.startswith(direction.arrived[-len(event.data) :], len(direction.arrived) - len(event.data))
            elif isinstance(event, StreamFinished):
                direction = self.directions[event.stream_id, 1 - who]
                assert direction.finished
                assert not direction.ended
                assert direction.arrived == direction.written
                direction.ended = True
            elif isinstance(event, StreamReset):
                assert event == StreamReset(event.stream_id, 7, remote=True)
                assert event.stream_id in self.sides[1 - who].gone
                side.gone.add(event.stream_id)

    @rule(seconds=st.floats(0.0, 0.2))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for side in self.sides:
            side.session.tick(self.now)

    @invariant()
    def every_byte_of_every_window_is_accounted_for(self) -> None:
        for side in self.sides:
            unread = 0
            for stream in side.session._table.live.values():
                window = stream.window
                assert min(window.available, window.arriving, window.unread, window.owed) >= 0
                assert window.available + window.arriving + window.unread + window.owed == window.size
                unread += window.unread
            unread += sum(stream.window.unread for stream in side.session._table.lingering.values())
            assert side.session._budget.unread == unread

    @invariant()
    def credit_on_one_side_is_window_on_the_other(self) -> None:
        """What one side may still send, is sending, and was granted on the way is what the other side thinks it may."""
        if not self.sides or any(side.wire for side in self.sides):
            return
        left, right = (side.session._table.live for side in self.sides)
        for stream_id in left.keys() & right.keys():
            for sender, receiver in ((left[stream_id], right[stream_id]), (right[stream_id], left[stream_id])):
                if receiver.remote_open:
                    assert sender.send_window == receiver.window.available

    def teardown(self) -> None:
        """However it went: as long as credit is given, everything arrives and nothing is left."""
        for _ in range(10_000):
            if not self.settle():
                break
        else:
            raise AssertionError("the sessions never come to rest")
        for (stream_id, _), direction in self.directions.items():
            if not any(stream_id in side.gone for side in self.sides):
                assert direction.arrived == direction.written
                assert direction.ended == direction.finished
        for side in self.sides:
            for stream_id in side.known - side.gone:
                if all(self.directions[stream_id, writer].finished for writer in (0, 1)):
                    assert stream_id not in side.session._table.live

    def settle(self) -> bool:
        moved = False
        for who, side in enumerate(self.sides):
            self.emit(who, 131072)
            while self.sides[1 - who].wire:
                moved = True
                self.carry(who, 1 << 20)
            for stream_id in sorted(side.known - side.gone):
                direction = self.directions[stream_id, 1 - who]
                n = len(direction.arrived) - direction.consumed
                side.session.credit(stream_id, n, self.now)
                direction.consumed += n
        return moved or any(side.session.has_output() or side.wire for side in self.sides)


TwoSessions.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestTwoSessions = TwoSessions.TestCase


headers = st.builds(
    lambda version, kind, flags, stream_id, length: wire.HEADER.pack(version, kind, flags, stream_id, length),
    st.sampled_from([0] * 15 + [1]),
    st.sampled_from([0, 1] * 6 + [2, 3, 4]),
    st.one_of(st.integers(0, 15), st.integers(0, 0xFFFF)),
    st.one_of(st.integers(0, 9), st.integers(0, wire.MAX_U32)),
    st.one_of(st.integers(0, 30), st.sampled_from([WINDOW, wire.MAX_U32]), st.integers(0, wire.MAX_U32)),
)
COMMANDS = ["open", "send", "finish", "credit", "reset", "ping", "take", "tick", "go_away"]


@given(
    pieces=st.lists(st.one_of(headers, st.binary(max_size=40), st.sampled_from(COMMANDS)), max_size=60),
    initiator=st.booleans(),
    unread=st.sampled_from([5, 1 << 20]),
    streams=st.sampled_from([1, 4, 1024]),
)
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises_and_never_grows_us(pieces: list[bytes | str], initiator: bool, unread: int, streams: int) -> None:
    config = YamuxConfig(max_unread_bytes=unread, max_streams_in=streams, max_control_bytes=4096)
    session = YamuxSession(config, initiator=initiator, now=0.0)
    failures = 0
    for now, piece in enumerate(pieces):
        if isinstance(piece, bytes):
            session.feed(piece, float(now))
        elif not session.closed:
            command(session, piece, float(now))
        for event in session.take_events():
            assert not failures, "nothing may follow the failure"
            failures += isinstance(event, ConnectionFailed)
        assert failures == session.closed
        assert session.stream_count <= streams + 1024
        assert session._budget.unread <= unread
        assert len(session._writer.control) <= 4 * 4096 // 12 + 1


def command(session: YamuxSession, name: str, now: float) -> None:
    for stream_id in list(session._streams):
        stream = session._streams.get(stream_id)
        if stream is None or session.closed:
            continue
        if name == "send" and not stream.finishing:
            session.send(stream_id, b"some data")
        elif name == "finish":
            session.finish(stream_id, now)
        elif name == "credit":
            session.credit(stream_id, stream.window.unread, now)
        elif name == "reset" and stream_id % 3:
            session.reset(stream_id)
    if name == "open" and not (session._core.local_gone or session._core.remote_gone):
        session.open_stream(now)
    elif name == "ping" and len(session._keepalive._pings) < 16:
        session.ping(now)
    elif name == "take":
        session.take_output(100)
    elif name == "tick":
        session.tick(now)
    elif name == "go_away":
        session.go_away()


steps = st.lists(
    st.tuples(st.sampled_from(["expect", "deliver", "consume", "grant", "grow", "measure"]), st.integers(0, 600_000)), max_size=80
)


@given(steps)
def test_a_receive_window_loses_and_invents_no_byte(script: list[tuple[str, int]]) -> None:
    """Beside the window, the two numbers that matter: what the remote was ever allowed to send, and what it sent."""
    window = ReceiveWindow(0.0)
    allowed, sent, consumed = WINDOW, 0, 0
    for now, (step, n) in enumerate(script):
        if step == "expect":
            accepted = window.expect(n)
            assert accepted == (sent + n <= allowed)
            sent += n if accepted else 0
        elif step == "deliver":
            window.deliver(min(n, window.arriving))
        elif step == "consume":
            n = min(n, window.unread)
            assert window.consume(n) == (2 * window.owed >= window.size)
            consumed += n
        elif step == "grant":
            allowed += window.grant()
        elif step == "grow":
            window.grow(n)
        else:
            assert window.size <= window.measure(float(now), n / 100_000) <= 2 * window.size
        assert window.available == allowed - sent
        assert window.arriving + window.unread == sent - consumed
        assert window.available + window.arriving + window.unread + window.owed == window.size
