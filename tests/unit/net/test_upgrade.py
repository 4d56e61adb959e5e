from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstack.errors import HandshakeFailed, NegotiationFailed, PeerIdMismatch, PeerstackError, ProtocolNotSupported, ProtocolViolation
from peerstack.identity import PrivateKey
from peerstack.net.upgrade import Upgrade, Upgraded
from peerstack.wire import multistream
from peerstack.wire.machine import ConnectionFailed
from peerstack.wire.noise_handshake import HandshakeCompleted, NoiseCredentials, NoiseHandshake, Role, VerifiedKeys
from peerstack.wire.noise_records import RecordReader, RecordWriter
from tests.unit.net.raw_peer import RAW_KEY, make_upgrade
from tests.unit.wire.feeding import Cutter, bytewise, converse, cut_by, each_way, feed_all, output, whole

OTHER_KEY = PrivateKey.from_seed(b"other".ljust(32, b"."))
PEER = RAW_KEY.peer_id


def dialer(**options: object) -> Upgrade:
    return make_upgrade(OTHER_KEY, outbound=True, seed=20, **options)  # type: ignore[arg-type]


def listener(**options: object) -> Upgrade:
    return make_upgrade(RAW_KEY, outbound=False, seed=40, **options)  # type: ignore[arg-type]


def upgraded(machine: Upgrade) -> Upgraded:
    (event,) = machine.take_events()
    assert isinstance(event, Upgraded)
    return event


def failed(machine: Upgrade) -> PeerstackError:
    (event,) = machine.take_events()
    assert isinstance(event, ConnectionFailed)
    return event.error


@each_way
@pytest.mark.parametrize("near_early", [True, False])
@pytest.mark.parametrize("far_early", [True, False])
def test_two_sides_meet_however_the_bytes_are_cut_and_whoever_offers_the_muxer_early(
    cut: Cutter, near_early: bool, far_early: bool
) -> None:
    near, far = dialer(early=near_early), listener(early=far_early)
    converse(near, far, cut)
    one, two = upgraded(near), upgraded(far)
    assert (one.peer_id, two.peer_id) == (RAW_KEY.peer_id, OTHER_KEY.peer_id)
    assert one.public_key.peer_id() == one.peer_id
    assert one.rest == two.rest == []
    assert two.reader.feed(one.writer.seal([b"to far"])) == [b"to far"]
    assert one.reader.feed(two.writer.seal([b"to near"])) == [b"to near"]


@each_way
@pytest.mark.parametrize("early", [True, False])
def test_what_follows_the_last_step_in_one_piece_is_the_muxers(cut: Cutter, early: bool) -> None:
    sides = dialer(early=early), listener(early=early)
    through: Upgraded | None = None
    turn = 0
    while through is None:  # who is through first sends its first records along with its last step
        speaker, hearer = sides[turn % 2], sides[1 - turn % 2]
        said = output(speaker)
        for event in speaker.take_events():
            assert isinstance(event, Upgraded)
            through = event
            said += bytes(event.writer.seal([b"first"])) + bytes(event.writer.seal([b"second"]))
        if through is None:
            feed_all(hearer, said, cut)
            turn += 1
    plaintexts: list[bytes] = []
    other: Upgraded | None = None
    for chunk in cut(said):
        if other is None:
            hearer.feed(chunk, 0.0)
            for event in hearer.take_events():
                assert isinstance(event, Upgraded)
                other = event
                plaintexts += event.rest
        else:
            plaintexts += other.reader.feed(chunk)
    assert plaintexts == [b"first", b"second"]


class RawDialer:
    """A dialer without early muxer that says what it likes once the channel is secure."""

    def __init__(self, far: Upgrade) -> None:
        credentials = NoiseCredentials(OTHER_KEY, bytes([9]) * 32, ())
        handshake = NoiseHandshake(Role.INITIATOR, credentials, ephemeral=bytes([10]) * 32, verified=VerifiedKeys())
        feed_all(far, multistream.proposal("/noise") + output(handshake))
        handshake.feed(output(far).removeprefix(multistream.proposal("/noise")), 0.0)
        (completed,) = handshake.take_events()
        assert isinstance(completed, HandshakeCompleted)
        self.proof = output(handshake)
        self.writer, self.reader = RecordWriter(completed.send_key), RecordReader(completed.receive_key)

    def seal(self, data: bytes) -> bytes:
        return bytes(self.writer.seal([data]))


@each_way
def test_muxer_bytes_right_behind_a_muxer_proposal_are_handed_on(cut: Cutter) -> None:
    """rust attaches yamux frames to its proposal, in the same record."""
    far = listener()
    remote = RawDialer(far)
    feed_all(far, remote.proof + remote.seal(multistream.proposal("/yamux/1.0.0") + b"frames"), cut)
    assert upgraded(far).rest == [b"frames"]
    assert b"".join(remote.reader.feed(output(far))) == multistream.proposal("/yamux/1.0.0")


def test_a_muxer_that_is_not_ours_is_refused_inside_the_secure_channel() -> None:
    far = listener()
    remote = RawDialer(far)
    feed_all(far, remote.proof + remote.seal(multistream.proposal("/mplex/6.7.0")))
    assert far.take_events() == []
    assert remote.reader.feed(output(far)) == [multistream.HEADER + multistream.encode("na")]
    feed_all(far, remote.seal(multistream.encode("/yamux/1.0.0")))
    assert upgraded(far).rest == []
    assert remote.reader.feed(output(far)) == [multistream.encode("/yamux/1.0.0")]


def test_the_dialer_proposes_and_begins_the_handshake_in_one_write() -> None:
    first = output(dialer())
    assert first.startswith(multistream.proposal("/noise"))
    assert len(first) == len(multistream.proposal("/noise")) + 2 + 32


def test_the_listener_says_nothing_before_it_was_spoken_to() -> None:
    assert output(listener()) == b""


def test_with_early_muxers_the_handshake_is_the_last_round() -> None:
    near, far = dialer(), listener()
    feed_all(far, output(near))
    feed_all(near, output(far))
    last = output(near)
    upgraded(near)
    feed_all(far, last)
    upgraded(far)
    assert output(far) == b""


def test_a_listener_without_noise_is_not_supported() -> None:
    near = dialer()
    near.feed(multistream.HEADER + multistream.encode("na"), 0.0)
    error = failed(near)
    assert isinstance(error, ProtocolNotSupported)
    assert error.protocols == ("/noise",)


def test_a_dialer_that_proposes_something_else_is_refused_and_may_propose_again() -> None:
    near, far = dialer(), listener()
    far.feed(multistream.proposal("/tls/1.0.0"), 0.0)
    assert output(far) == multistream.HEADER + multistream.encode("na")
    assert far.take_events() == []
    far.feed(output(near).removeprefix(multistream.HEADER), 0.0)
    feed_all(near, multistream.HEADER + output(far))
    feed_all(far, output(near))
    upgraded(far)


def test_somebody_else_is_a_mismatch_with_both_ids() -> None:
    near, far = dialer(expected_peer=OTHER_KEY.peer_id), listener()
    feed_all(far, output(near))
    feed_all(near, output(far))
    error = failed(near)
    assert isinstance(error, PeerIdMismatch)
    assert (error.expected, error.actual) == (str(OTHER_KEY.peer_id), str(PEER))


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody who took us for a web server\r\n\r\n",
    "zeros": bytes(300),
    "ones": b"\xff" * 300,
    "a token without an end": b"\x05abcdefgh",
    "a token too long": b"\xff\x7f" + bytes(300),
}


@each_way
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("make", [dialer, listener])
def test_garbage_first_is_a_violation(make: object, garbage: bytes, cut: Cutter) -> None:
    machine = make()  # type: ignore[operator]
    feed_all(machine, garbage, cut)
    assert isinstance(failed(machine), ProtocolViolation)
    feed_all(machine, garbage, cut)
    assert machine.take_events() == []


@each_way
def test_garbage_in_place_of_a_handshake_message_fails_the_handshake(cut: Cutter) -> None:
    for size in (32, 96, 200):
        machine = listener()
        feed_all(machine, multistream.proposal("/noise") + b"\x00\x20" + bytes([size]) * 32 + size.to_bytes(2, "big") + b"\x01" * size, cut)
        assert isinstance(failed(machine), HandshakeFailed)


def records(**options: object) -> tuple[Upgrade, Upgrade]:
    """Both sides where the muxer is negotiated: the listener waits for a record."""
    near, far = dialer(early=False), listener(early=False)
    feed_all(far, output(near))
    feed_all(near, output(far))
    return near, far


@each_way
def test_garbage_in_place_of_the_first_record_is_a_violation(cut: Cutter) -> None:
    near, far = records()
    message_3 = output(near)
    proof = message_3[: 2 + int.from_bytes(message_3[:2], "big")]
    feed_all(far, proof + b"\x00\x20" + bytes(32), cut)
    error = failed(far)
    assert isinstance(error, ProtocolViolation)
    assert "authenticate" in str(error)


def test_an_early_end_is_told_at_every_step() -> None:
    machine = dialer()
    machine.feed_eof(0.0)
    assert isinstance(failed(machine), NegotiationFailed)

    near, far = dialer(), listener()
    feed_all(far, output(near))
    far.feed_eof(0.0)
    assert isinstance(failed(far), HandshakeFailed)

    near, _ = records()
    output(near)
    near.feed_eof(0.0)
    assert isinstance(failed(near), NegotiationFailed)


def transcript(*, early: bool) -> tuple[bytes, bytes]:
    """All that a dialer and a listener say."""
    near, far = dialer(early=early), listener(early=early)
    said = [b"", b""]
    while (forth := output(near)) + (back := output(far)):
        said[0] += forth
        said[1] += back
        feed_all(far, forth)
        feed_all(near, back)
    return said[0], said[1]


DOCUMENTED = (ProtocolViolation, HandshakeFailed, NegotiationFailed, PeerIdMismatch)


@pytest.mark.parametrize("early", [True, False])
@given(data=st.data())
def test_a_changed_byte_anywhere_is_a_documented_error_or_waits_for_more(early: bool, data: st.DataObject) -> None:
    for side, said in zip((listener, dialer), transcript(early=early), strict=True):
        at = data.draw(st.integers(0, len(said) - 1))
        forged = bytearray(said)
        forged[at] ^= data.draw(st.integers(1, 255))
        machine = side(early=early)
        feed_all(machine, bytes(forged), cut_by(data.draw(st.lists(st.integers(1, 99), min_size=1, max_size=5))))
        events = machine.take_events()
        machine.feed_eof(0.0)
        events += machine.take_events()
        assert len(events) == 1
        assert isinstance(events[0], Upgraded) or isinstance(events[0].error, DOCUMENTED)
        if isinstance(events[0], Upgraded):  # the last record: the muxer's side of the change is found by the reader
            assert events[0].rest == []


@pytest.mark.parametrize("make", [dialer, listener])
@given(garbage=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_bytes_raise_through_it(make: object, garbage: bytes, size: int) -> None:
    machine = make()  # type: ignore[operator]
    feed_all(machine, garbage, cut_by([size]))
    machine.feed_eof(0.0)
    assert isinstance(failed(machine), DOCUMENTED)


def test_nothing_is_kept_of_a_flood_before_the_handshake() -> None:
    machine = listener()
    machine.feed(multistream.proposal("/noise") + b"\x10\x00" + bytes(1 << 20), 0.0)
    assert isinstance(failed(machine), HandshakeFailed)
    assert machine._handshake._unread == b""
    assert machine._negotiation._unread == b""


def test_whole_and_bytewise_transcripts_are_the_same() -> None:
    for early in (True, False):
        said = transcript(early=early)
        for cut in (whole, bytewise):
            far = listener(early=early)
            feed_all(far, said[0], cut)
            assert output(far) == said[1]
