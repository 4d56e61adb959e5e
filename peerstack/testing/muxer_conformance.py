"""The suite every stream muxer must pass: the machine contract (`peerstack.wire.machine`) with streams.

Subclass it in a test module and say how one side is made::

    class TestYamux(MuxerConformance):
        def make_muxer(self, *, initiator: bool, max_streams: int) -> Muxer:
            config = YamuxConfig(max_streams_in=max_streams, max_streams_out=max_streams)
            return YamuxSession(config, initiator=initiator, now=0.0)

A muxer is sans-IO, so the tests are plain functions: two sides, and bytes carried between them whole, in pieces, damaged, or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from peerstack.errors import LimitExceeded, PeerstackError, StreamClosed
from peerstack.testing.muxer_carrier import Carrier, Muxer, Side, Split

__all__ = ["Carrier", "Muxer", "MuxerConformance", "Side"]

_MOST_TICKS = 1000
_MANY_MEGABYTES = 100  # more than a connection may hold unread


class MuxerConformance:
    """Tests of the muxer contract; see the module."""

    carries_error_codes: bool = True
    """Whether the code of a reset reaches the other side."""
    detects_silence: bool = True
    """Whether a connection on which nothing is ever answered ends by itself."""
    max_buffered_bytes: int = 4 << 20
    """What one stream may hold, on both sides together, while nobody consumes it."""

    def make_muxer(self, *, initiator: bool, max_streams: int) -> Muxer:
        """Make one side at time 0.0, with at most `max_streams` streams of each side."""
        raise NotImplementedError

    def carrier(self, *, max_streams: int = 1000) -> Carrier:
        """Make two sides and let them greet each other."""
        carrier = Carrier(
            self.make_muxer(initiator=True, max_streams=max_streams), self.make_muxer(initiator=False, max_streams=max_streams)
        )
        carrier.exchange()
        return carrier

    # base

    def test_each_side_opens_streams_and_the_other_is_told_once(self) -> None:
        """Ids are unique over both sides."""
        carrier = self.carrier()
        ids = [carrier.open(source, target) for source, target in carrier.sides for _ in range(3)]
        assert len(set(ids)) == 6
        assert carrier.listener.opened == ids[:3]
        assert carrier.dialer.opened == ids[3:]

    def test_data_arrives_whole_and_in_order_both_ways(self) -> None:
        """More than any window or buffer holds."""
        carrier = self.carrier()
        rng = random.Random(1)
        for source, target in carrier.sides:
            data = rng.randbytes(3 << 20)
            stream_id = carrier.open(source, target)
            carrier.send_all(source, stream_id, data)
            assert target.received[stream_id] == data

    def test_an_answer_travels_on_the_same_stream(self) -> None:
        """A stream is bidirectional from the start."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        carrier.send_all(carrier.listener, stream_id, b"who speaks first?")
        carrier.send_all(carrier.dialer, stream_id, b"you did")
        assert carrier.dialer.received[stream_id] == b"who speaks first?"
        assert carrier.listener.received[stream_id] == b"you did"

    def test_bytes_may_arrive_in_any_pieces(self) -> None:
        """One by one, in random pieces, or several frames at once with the beginning of the next."""
        rng = random.Random(2)
        for split in (_into_bytes, _cutting(rng)):
            carrier = self.carrier()
            stream_id = carrier.dialer.muxer.open_stream(0.0)
            expected = b"".join(rng.randbytes(size) for size in (1, 2, 300, 2000))
            assert carrier.dialer.muxer.send(stream_id, expected) == len(expected)
            carrier.dialer.muxer.finish(stream_id, 0.0)
            carrier.exchange(split=split)
            assert carrier.listener.opened == [stream_id]
            assert carrier.listener.received[stream_id] == expected
            assert carrier.listener.finished == [stream_id]

    def test_output_is_cut_to_about_the_limit(self) -> None:
        """At most one frame over; nothing to send is nothing."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        assert list(carrier.dialer.muxer.take_output(1 << 20)) == []
        carrier.dialer.muxer.send(stream_id, bytes(200_000))
        taken = sum(len(part) for part in carrier.dialer.muxer.take_output(1000))
        assert 0 < taken < 100_000

    # close

    def test_finish_ends_one_direction_behind_its_data(self) -> None:
        """The other direction goes on until it is finished too."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        stream_id = carrier.open(near, far)
        near.muxer.send(stream_id, b"last words")
        near.muxer.finish(stream_id, 0.0)
        carrier.exchange()
        assert far.received[stream_id] == b"last words"
        assert far.finished == [stream_id]
        carrier.send_all(far, stream_id, bytes(1 << 20))
        assert len(near.received[stream_id]) == 1 << 20
        assert near.finished == []
        far.muxer.finish(stream_id, 0.0)
        carrier.exchange()
        assert near.finished == [stream_id]
        assert near.resets == far.resets == []

    def test_a_stream_may_be_finished_without_a_byte(self) -> None:
        """The other side learns of it and of its end."""
        carrier = self.carrier()
        stream_id = carrier.dialer.muxer.open_stream(0.0)
        carrier.dialer.muxer.finish(stream_id, 0.0)
        carrier.exchange()
        assert carrier.listener.opened == carrier.listener.finished == [stream_id]

    def test_sending_after_finish_is_our_own_mistake(self) -> None:
        """And stays one after the stream is gone; finishing again does nothing."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        for side in (carrier.dialer, carrier.listener):
            for _ in range(2):
                side.muxer.finish(stream_id, 0.0)
                _expect(StreamClosed, lambda side=side: side.muxer.send(stream_id, b"x"))  # type: ignore[misc]
                carrier.exchange()

    def test_data_that_waits_for_credit_still_leaves_after_finish(self) -> None:
        """Finishing never cuts off what was taken."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        far.consuming = False
        stream_id = carrier.open(near, far)
        taken = carrier.fill(near, stream_id, bound=self.max_buffered_bytes)
        near.muxer.finish(stream_id, 0.0)
        carrier.exchange()
        assert far.finished == []
        self._consume(carrier, far, stream_id)
        assert len(far.received[stream_id]) == taken
        assert far.finished == [stream_id]

    # reset

    def test_reset_ends_both_directions_and_nothing_else(self) -> None:
        """The other side is told, with the code; neighbours go on."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        kept, gone = carrier.open(near, far), carrier.open(near, far)
        near.muxer.send(gone, bytes(1000))
        near.muxer.reset(gone, 7)
        carrier.exchange()
        assert [(reset.stream_id, reset.remote) for reset in far.resets] == [(gone, True)]
        if self.carries_error_codes:
            assert far.resets[0].error_code == 7
        for side in (near, far):
            _expect(StreamClosed, lambda side=side: side.muxer.send(gone, b"x"))  # type: ignore[misc]
            carrier.send_all(side, kept, b"still here")
        assert near.resets == []
        assert near.received[kept] == far.received[kept] == b"still here"

    def test_resets_from_both_sides_cross(self) -> None:
        """Neither side hears of a stream it has ended itself, and the connection lives."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        for side, _ in carrier.sides:
            side.muxer.send(stream_id, b"in flight")
            side.muxer.reset(stream_id)
            side.muxer.reset(stream_id)
        carrier.exchange()
        assert carrier.dialer.resets == carrier.listener.resets == []
        carrier.open(carrier.listener, carrier.dialer)

    def test_data_in_flight_to_a_reset_stream_is_dropped(self) -> None:
        """It is no violation, and no event."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        stream_id = carrier.open(near, far)
        near.muxer.send(stream_id, bytes(5000))
        far.muxer.reset(stream_id)
        carrier.exchange()
        assert stream_id not in far.received
        assert [reset.stream_id for reset in near.resets] == [stream_id]
        carrier.open(near, far)

    # backpressure

    def test_an_unread_stream_takes_a_bounded_amount(self) -> None:
        """Without credit `send` takes less and less; with credit everything moves again, and `Writable` says so."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        far.consuming = False
        stream_id = carrier.open(near, far)
        taken = carrier.fill(near, stream_id, bound=self.max_buffered_bytes)
        self._consume(carrier, far, stream_id)
        assert near.writable == [stream_id]
        assert len(far.received[stream_id]) == taken
        assert near.muxer.send(stream_id, b"more") == 4

    def test_an_unread_stream_does_not_hold_up_another(self) -> None:
        """Backpressure is per stream."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        stuck, free = carrier.open(near, far), carrier.open(near, far)
        far.consuming = False
        carrier.fill(near, stuck, bound=self.max_buffered_bytes)
        far.consuming = True
        carrier.send_all(near, free, bytes(2 << 20))
        assert len(far.received[free]) == 2 << 20

    def test_streams_share_the_connection(self) -> None:
        """While several have data queued, all of them get on."""
        carrier = self.carrier()
        near, far = carrier.dialer, carrier.listener
        ids = [carrier.open(near, far) for _ in range(4)]
        for stream_id in ids:
            assert near.muxer.send(stream_id, bytes(200_000)) == 200_000
        sent = 0
        while sent < 400_000:
            sent += carrier.carry(near, far)
        assert all(len(far.received.get(stream_id, b"")) > 0 for stream_id in ids)

    def test_crediting_more_than_was_received_is_our_own_mistake(self) -> None:
        """It would let the other side send without bound."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        carrier.send_all(carrier.dialer, stream_id, b"abc")
        _expect(ValueError, lambda: carrier.listener.muxer.credit(stream_id, 1, 0.0))

    # limits

    def test_too_many_streams_are_refused_and_the_rest_live(self) -> None:
        """The side that opens knows its own bound; the other side resets what is over its own."""
        carrier = Carrier(self.make_muxer(initiator=True, max_streams=100), self.make_muxer(initiator=False, max_streams=10))
        carrier.exchange()
        near, far = carrier.dialer, carrier.listener
        ids = [near.muxer.open_stream(0.0) for _ in range(20)]
        for stream_id in ids:
            near.muxer.send(stream_id, b"hello")
        carrier.exchange()
        assert far.opened == ids[:10]
        assert [reset.stream_id for reset in near.resets] == ids[10:]
        assert all(far.received[stream_id] == b"hello" for stream_id in ids[:10])
        near.muxer.reset(ids[0])
        carrier.exchange()
        carrier.open(near, far)

    def test_opening_more_streams_than_allowed_raises(self) -> None:
        """And a stream that ends makes room for another."""
        carrier = self.carrier(max_streams=5)
        ids = [carrier.open(carrier.dialer, carrier.listener) for _ in range(5)]
        _expect(LimitExceeded, lambda: carrier.dialer.muxer.open_stream(0.0))
        carrier.dialer.muxer.reset(ids[2])
        carrier.exchange()
        carrier.open(carrier.dialer, carrier.listener)

    # stress

    def test_many_streams_echo_at_once(self) -> None:
        """Hundreds of streams from both sides, in random turns and pieces; each gets back exactly what it sent."""
        rng = random.Random(3)
        carrier = self.carrier()
        owners = {source.muxer.open_stream(0.0): source for _ in range(200) for source, _ in carrier.sides}
        sent = {stream_id: rng.randbytes(rng.randrange(5000)) for stream_id in owners}
        left = dict(sent)
        while left:
            stream_id = rng.choice(list(left))
            muxer = owners[stream_id].muxer
            left[stream_id] = left[stream_id][muxer.send(stream_id, left[stream_id][: rng.randrange(1, 3000)]) :]
            if not left[stream_id]:
                muxer.finish(stream_id, 0.0)
                del left[stream_id]
            if rng.random() < 0.1:
                source, target = rng.choice(carrier.sides)
                carrier.carry(source, target, split=_cutting(rng), limit=rng.randrange(1, 20_000))
        carrier.exchange()
        for _, target in carrier.sides:
            for stream_id in target.finished:
                assert target.muxer.send(stream_id, bytes(target.received.get(stream_id, b""))) == len(sent[stream_id])
                target.muxer.finish(stream_id, 0.0)
        carrier.exchange()
        for stream_id, source in owners.items():
            assert source.received.get(stream_id, b"") == sent[stream_id]
            assert stream_id in source.finished

    def test_streams_come_and_go_without_end(self) -> None:
        """More streams, one after the other, than may be open at once."""
        carrier = self.carrier(max_streams=3)
        for _ in range(100):
            for source, target in carrier.sides:
                stream_id = carrier.open(source, target)
                for side in (source, target):
                    side.muxer.send(stream_id, b"x")
                    side.muxer.finish(stream_id, 0.0)
                carrier.exchange()

    def test_a_connection_carries_any_amount(self) -> None:
        """Whatever is counted while data is under way is given back when it was consumed."""
        carrier = self.carrier()
        stream_id = carrier.open(carrier.dialer, carrier.listener)
        for _ in range(_MANY_MEGABYTES):
            carrier.send_all(carrier.dialer, stream_id, bytes(1 << 20))
            assert len(carrier.listener.received.pop(stream_id)) == 1 << 20

    # what a peer may do

    def test_garbage_ends_the_connection_and_nothing_else(self) -> None:
        """No bytes raise; a violation is the last event, and what comes after it is ignored."""
        rng = random.Random(4)
        for _ in range(300):
            side = Side(self.make_muxer(initiator=rng.random() < 0.5, max_streams=10))
            for piece in _cutting(rng)(rng.randbytes(rng.randrange(1, 400))):
                side.muxer.feed(piece, 0.0)
                side.collect()
            side.muxer.feed(bytes(rng.randrange(50)), 0.0)
            side.collect()
            assert sum(map(len, side.muxer.take_output(1 << 20))) < 1 << 16

    def test_damaged_conversations_never_raise(self) -> None:
        """Flipped, lost and repeated bytes in the middle of real streams, in both directions."""
        for seed in range(300):
            rng = random.Random(seed)
            carrier = self.carrier(max_streams=10)
            ids = [source.muxer.open_stream(0.0) for source, _ in carrier.sides]
            for (source, _), stream_id in zip(carrier.sides, ids, strict=True):
                source.muxer.send(stream_id, rng.randbytes(500))
                source.muxer.finish(stream_id, 0.0)
            for _ in range(20):
                for source, target in carrier.sides:
                    carrier.carry(source, target, split=_damaging(rng))

    def test_the_end_of_the_bytes_ends_the_connection(self) -> None:
        """Once, with an error, whatever was open; then commands fail or do nothing, and nothing more is told."""
        carrier = self.carrier()
        side = carrier.dialer
        stream_id = carrier.open(side, carrier.listener)
        side.muxer.feed_eof(0.0)
        side.muxer.feed_eof(0.0)
        side.collect()
        assert side.failure is not None
        _expect(PeerstackError, lambda: side.muxer.open_stream(0.0))
        _expect(PeerstackError, lambda: side.muxer.send(stream_id, b"x"))
        side.muxer.finish(stream_id, 0.0)
        side.muxer.reset(stream_id)
        side.muxer.feed(b"more", 0.0)
        side.muxer.tick(1e6)
        side.collect()

    def test_a_silent_peer_is_noticed(self) -> None:
        """Ticking at each deadline ends a connection on which nothing arrives."""
        if not self.detects_silence:
            return
        side = Side(self.make_muxer(initiator=True, max_streams=10))
        now = 0.0
        for _ in range(_MOST_TICKS):
            side.muxer.take_output(1 << 20)
            deadline = side.muxer.deadline()
            if deadline is None:
                break
            assert deadline >= now, "a deadline in the past was not dealt with by tick"
            now = deadline
            side.muxer.tick(now)
            side.collect()
            if side.failure is not None:
                break
        assert side.failure is not None

    def test_a_tick_before_the_deadline_does_nothing(self) -> None:
        """Timers may fire early."""
        carrier = self.carrier()
        deadline = carrier.dialer.muxer.deadline()
        for now in (0.0, 0.0 if deadline is None else deadline / 2):
            carrier.dialer.muxer.tick(now)
            carrier.dialer.collect()
        assert list(carrier.dialer.muxer.take_output(1 << 20)) == []
        assert carrier.dialer.failure is None

    def _consume(self, carrier: Carrier, side: Side, stream_id: int) -> None:
        side.consuming = True
        side.consume(stream_id)
        carrier.exchange()


def _into_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def _cutting(rng: random.Random) -> Split:
    """Cut into one to five pieces at random."""

    def cut(data: bytes) -> list[bytes]:
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(5)))
        return [piece for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:end])]

    return cut


def _damaging(rng: random.Random) -> Split:
    """Flip a bit, lose a few bytes or repeat some, up to twice."""

    def damage(data: bytes) -> list[bytes]:
        damaged = bytearray(data)
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0 and damaged:
                damaged[at % len(damaged)] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del damaged[at : at + rng.randrange(1, 4)]
            else:
                damaged[at:at] = damaged[at : at + rng.randrange(1, 20)]
        return [bytes(damaged)]

    return damage


def _expect(error_type: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except error_type:
        return
    raise AssertionError(f"no {error_type.__name__} was raised")
