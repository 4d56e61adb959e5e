from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.errors import HandshakeFailed, PeerIdMismatch, PeerstackError
from peerstack.identity import PeerId, PrivateKey
from peerstack.wire.machine import ConnectionFailed, Machine
from peerstack.wire.noise_handshake import MAX_MESSAGE, HandshakeCompleted, NoiseCredentials, NoiseHandshake, Role, VerifiedKeys
from peerstack.wire.noise_records import RecordReader, RecordWriter
from peerstack.wire.noise_xx import NoiseXX
from peerstack.wire.pb.noise_pb2 import NoiseHandshakePayload
from tests.unit.wire.feeding import Cutter, bytewise, converse, cutters, each_way, feed_all, output, whole

ALICE, BOB, MALLORY = (PrivateKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ALICES, BOBS, MALLORYS = (NoiseCredentials(key, bytes([number]) * 32) for number, key in enumerate((ALICE, BOB, MALLORY), 101))
YAMUX = "/yamux/1.0.0"


def alice(expected: PeerId | None = None, credentials: NoiseCredentials = ALICES, verified: VerifiedKeys | None = None) -> NoiseHandshake:
    return NoiseHandshake(
        Role.INITIATOR, credentials, ephemeral=b"a" * 32, verified=VerifiedKeys() if verified is None else verified, expected_peer=expected
    )


def bob(expected: PeerId | None = None, credentials: NoiseCredentials = BOBS, verified: VerifiedKeys | None = None) -> NoiseHandshake:
    return NoiseHandshake(
        Role.RESPONDER, credentials, ephemeral=b"b" * 32, verified=VerifiedKeys() if verified is None else verified, expected_peer=expected
    )


def completed(machine: NoiseHandshake) -> HandshakeCompleted:
    (event,) = machine.take_events()
    assert isinstance(event, HandshakeCompleted)
    return event


def failure(machine: NoiseHandshake) -> PeerstackError:
    (event,) = machine.take_events()
    assert isinstance(event, ConnectionFailed)
    return event.error


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


@dataclass
class Forger:
    """The other side, played by hand: correct Noise around a payload of our choice."""

    role: Role
    credentials: NoiseCredentials
    noise: NoiseXX = field(init=False)

    def __post_init__(self) -> None:
        self.noise = NoiseXX(self.role, self.credentials.static_keypair, b"f" * 32)

    def attack(self, payload: bytes) -> NoiseHandshake:
        """Bring a victim to the point where it has read `payload`."""
        if self.role is Role.RESPONDER:
            victim = alice()
            self.noise.read(output(victim)[2:])
        else:
            victim = bob()
            victim.feed(framed(self.noise.write(b"")), 0.0)
            self.noise.read(output(victim)[2:])
        victim.feed(framed(self.noise.write(payload)), 0.0)
        return victim


both_forgers = pytest.mark.parametrize("role", list(Role), ids=["forged initiator", "forged responder"])


@each_way
def test_both_sides_prove_who_they_are_and_share_keys(cut: Cutter) -> None:
    initiator, responder = alice(), bob()
    converse(initiator, responder, cut)
    at_alice, at_bob = completed(initiator), completed(responder)
    assert at_alice.remote_peer == BOB.public_key.peer_id()
    assert at_bob.remote_peer == ALICE.public_key.peer_id()
    assert (at_alice.remote_public_key, at_bob.remote_public_key) == (BOB.public_key, ALICE.public_key)
    assert (at_alice.send_key, at_alice.receive_key) == (at_bob.receive_key, at_bob.send_key)
    assert at_alice.send_key != at_alice.receive_key
    assert initiator.take_rest() == responder.take_rest() == b""


@each_way
def test_records_right_behind_message_3_are_handed_on(cut: Cutter) -> None:
    initiator, responder = alice(), bob()
    feed_all(responder, output(initiator), cut)
    feed_all(initiator, output(responder), cut)
    records = RecordWriter(completed(initiator).send_key).seal([b"first stream"])
    feed_all(responder, output(initiator) + records, cut)
    assert RecordReader(completed(responder).receive_key).feed(responder.take_rest()) == [b"first stream"]
    assert responder.take_rest() == b""


def test_message_1_is_an_ephemeral_key_with_an_empty_payload_in_one_write() -> None:
    initiator = alice()
    (message,) = initiator.take_output(1)
    assert len(message) == 34
    assert message[:2] == b"\x00\x20"
    assert initiator.take_output(1) == []
    assert output(bob()) == b""


def test_the_ephemeral_key_comes_from_the_entropy_given() -> None:
    other = NoiseHandshake(Role.INITIATOR, ALICES, ephemeral=b"z" * 32, verified=VerifiedKeys())
    assert output(alice()) == output(alice()) != output(other)


@pytest.mark.parametrize("message", [b"", bytes(31), b"\x09" + bytes(32), b"\x09" + bytes(31) + b"payload"])
def test_message_1_of_another_size_is_refused_at_its_length(message: bytes) -> None:
    responder = bob()
    feed_all(responder, framed(message)[:2], bytewise)
    error = failure(responder)
    assert type(error) is HandshakeFailed
    assert output(responder) == b""


def test_an_all_zero_ephemeral_key_is_refused_at_once() -> None:
    responder = bob()
    responder.feed(framed(bytes(32)), 0.0)
    assert "all zero" in str(failure(responder))
    initiator = alice()
    initiator.feed(framed(bytes(200)), 0.0)
    assert "all zero" in str(failure(initiator))
    assert output(responder) == b""


def test_an_ephemeral_key_of_low_order_fails_the_handshake() -> None:
    responder = bob()
    responder.feed(framed(b"\x01" + bytes(31)), 0.0)
    assert type(failure(responder)) is HandshakeFailed
    assert output(responder) == b""


@pytest.mark.parametrize("size", [0, 1, 95, MAX_MESSAGE + 1, 65535])
def test_message_2_out_of_bounds_is_refused_at_its_length(size: int) -> None:
    initiator = alice()
    initiator.feed(size.to_bytes(2, "big"), 0.0)
    assert type(failure(initiator)) is HandshakeFailed


@pytest.mark.parametrize("size", [0, 1, 63, MAX_MESSAGE + 1, 65535])
def test_message_3_out_of_bounds_is_refused_at_its_length(size: int) -> None:
    responder = bob()
    responder.feed(output(alice()) + size.to_bytes(2, "big"), 0.0)
    assert type(failure(responder)) is HandshakeFailed


def test_the_payload_stands_in_the_message_directly_without_length_or_padding() -> None:
    forger = Forger(Role.RESPONDER, MALLORYS)
    assert completed(forger.attack(MALLORYS.payload)).remote_peer == MALLORY.public_key.peer_id()
    forger = Forger(Role.RESPONDER, MALLORYS)
    assert type(failure(forger.attack(framed(MALLORYS.payload)))) is HandshakeFailed


@both_forgers
def test_the_identity_of_somebody_else_without_his_signature_is_refused(role: Role) -> None:
    payload = NoiseHandshakePayload.FromString(MALLORYS.payload)
    payload.identity_key = ALICE.public_key.to_protobuf()
    assert "did not sign" in str(failure(Forger(role, MALLORYS).attack(payload.SerializeToString())))


@both_forgers
def test_a_payload_copied_from_somebody_elses_handshake_is_refused(role: Role) -> None:
    copied = BOBS.payload if role is Role.RESPONDER else ALICES.payload
    victim = Forger(role, MALLORYS).attack(copied)
    assert "did not sign" in str(failure(victim))
    assert output(victim) == b""


@both_forgers
@pytest.mark.parametrize("payload", [b"", b"\xff" * 20, bytes(4000)])
def test_a_payload_that_proves_nothing_is_refused(role: Role, payload: bytes) -> None:
    assert type(failure(Forger(role, MALLORYS).attack(payload))) is HandshakeFailed


def test_another_peer_than_the_one_dialled_is_refused_before_we_name_ourselves() -> None:
    initiator, responder = alice(expected=MALLORY.public_key.peer_id()), bob()
    converse(initiator, responder)
    error = failure(initiator)
    assert isinstance(error, PeerIdMismatch)
    assert (error.expected, error.actual) == (str(MALLORY.public_key.peer_id()), str(BOB.public_key.peer_id()))
    assert output(initiator) == b""
    assert responder.take_events() == []


def test_the_peer_dialled_is_accepted_on_either_side() -> None:
    initiator, responder = alice(expected=BOB.public_key.peer_id()), bob(expected=ALICE.public_key.peer_id())
    converse(initiator, responder)
    completed(initiator)
    completed(responder)
    responder = bob(expected=MALLORY.public_key.peer_id())
    converse(alice(), responder)
    assert isinstance(failure(responder), PeerIdMismatch)


def with_muxers(key: PrivateKey, *muxers: str) -> NoiseCredentials:
    """Credentials of a remote that may offer several muxers."""
    credentials = NoiseCredentials(key, bytes(31) + b"m", ())
    payload = NoiseHandshakePayload.FromString(credentials.payload)
    payload.extensions.stream_muxers.extend(muxers)
    credentials.payload = payload.SerializeToString()
    return credentials


@both_forgers
@pytest.mark.parametrize(
    ("muxers", "agreed"),
    [
        ((YAMUX,), YAMUX),
        ((), None),
        (("/mplex/6.7.0",), None),
        (("/mplex/6.7.0", YAMUX), YAMUX),
        ((YAMUX, "/mplex/6.7.0"), YAMUX),
        (("/m",) * 100 + (YAMUX,), None),
        (("/m",) * 99 + (YAMUX,), YAMUX),
    ],
)
def test_the_early_muxer_counts_only_when_both_named_it(role: Role, muxers: tuple[str, ...], agreed: str | None) -> None:
    theirs = with_muxers(MALLORY, *muxers)
    assert completed(Forger(role, theirs).attack(theirs.payload)).muxer == agreed


def test_who_offers_no_muxer_gets_none() -> None:
    initiator, responder = alice(credentials=NoiseCredentials(ALICE, b"n" * 32, ())), bob()
    converse(initiator, responder)
    assert completed(initiator).muxer is None
    assert completed(responder).muxer is None


def test_known_peers_are_verified_from_the_hosts_cache() -> None:
    at_alice, at_bob = VerifiedKeys(), VerifiedKeys()
    keys = []
    for _ in range(2):
        initiator, responder = alice(verified=at_alice), bob(verified=at_bob)
        converse(initiator, responder)
        keys.append((completed(initiator).remote_public_key, completed(responder).remote_public_key))
    assert keys[0][0] is keys[1][0]
    assert keys[0][1] is keys[1][1]
    assert (len(at_alice), len(at_bob)) == (1, 1)


def test_a_cached_identity_does_not_vouch_for_a_wrong_peer() -> None:
    verified = VerifiedKeys()
    converse(alice(verified=verified), bob())
    initiator = alice(expected=MALLORY.public_key.peer_id(), verified=verified)
    converse(initiator, bob())
    assert isinstance(failure(initiator), PeerIdMismatch)


def messages() -> list[bytes]:
    """The three messages of Alice's and Bob's handshake; their entropy is fixed."""
    initiator, responder = alice(), bob()
    first = output(initiator)
    responder.feed(first, 0.0)
    second = output(responder)
    initiator.feed(second, 0.0)
    return [first, second, output(initiator)]


@pytest.mark.parametrize("sent", [0, 1, 2, 33])
def test_an_end_within_the_handshake_is_its_failure(sent: int) -> None:
    first, second, third = messages()
    initiator, responder, late = alice(), bob(), bob()
    responder.feed(first[:sent], 0.0)
    initiator.feed(second[:sent], 0.0)
    late.feed(first + third[:sent], 0.0)
    for machine in (initiator, responder, late):
        machine.feed_eof(0.0)
        error = failure(machine)
        assert type(error) is HandshakeFailed
        assert "closed" in str(error)
        machine.feed_eof(0.0)
        machine.feed(b"more", 0.0)
        assert machine.take_events() == []


def test_an_end_after_the_handshake_is_none_of_its_business() -> None:
    initiator, responder = alice(), bob()
    converse(initiator, responder)
    responder.feed(b"rest", 0.0)
    responder.feed_eof(0.0)
    completed(responder)
    assert responder.take_rest() == b"rest"


def test_one_flipped_bit_anywhere_never_completes_the_handshake_of_both() -> None:
    clean = messages()
    for number, message in enumerate(clean):
        for position in range(len(message)):
            forged = bytearray(message)
            forged[position] ^= 1 << position % 8
            flight = [*clean]
            flight[number] = bytes(forged)
            initiator, responder = alice(), bob()
            if number == 0:
                responder.feed(flight[0], 0.0)
                initiator.feed(output(responder), 0.0)
                victim = initiator
            elif number == 1:
                initiator.feed(flight[1], 0.0)
                victim = initiator
            else:
                responder.feed(flight[0] + flight[2], 0.0)
                victim = responder
            victim.feed_eof(0.0)
            assert isinstance(failure(victim), HandshakeFailed), (number, position)


def test_messages_in_the_wrong_order_are_refused() -> None:
    first, second, third = messages()
    for flight in (second, third, first + first, first + second, first + third[:-1] + b"\x00"):
        responder = bob()
        feed_all(responder, flight)
        responder.feed_eof(0.0)
        assert isinstance(failure(responder), HandshakeFailed)


def test_a_replayed_message_3_is_refused() -> None:
    first, _, third = messages()
    other = NoiseHandshake(Role.RESPONDER, BOBS, ephemeral=b"x" * 32, verified=VerifiedKeys())
    feed_all(other, first + third)
    assert "forged" in str(failure(other))


def test_the_buffer_fed_may_be_reused_at_once() -> None:
    first, _, third = messages()
    shared = bytearray(first + third + b"tail")
    responder = bob()
    responder.feed(memoryview(shared), 0.0)
    shared[:] = bytes(len(shared))
    shared.clear()  # fails while a view of it lives
    assert completed(responder).remote_peer == ALICE.public_key.peer_id()
    assert responder.take_rest() == b"tail"


@pytest.mark.parametrize("data", [framed(b"short"), framed(bytes(32)), framed(b"\x01" + bytes(31))])
def test_the_buffer_of_a_failed_handshake_may_be_reused_at_once(data: bytes) -> None:
    shared = bytearray(data)
    responder = bob()
    responder.feed(memoryview(shared), 0.0)
    (event,) = responder.take_events()  # kept: errors outlive the call
    shared.clear()  # fails while a view of it lives
    assert isinstance(event, ConnectionFailed)


@pytest.mark.parametrize("make", [alice, bob])
def test_the_tail_of_an_unfinished_handshake_is_our_own_mistake(make: Callable[[], NoiseHandshake]) -> None:
    with pytest.raises(RuntimeError, match="take_rest"):
        make().take_rest()


def test_a_handshake_is_a_machine_that_waits_for_no_time() -> None:
    machine: Machine[HandshakeCompleted | ConnectionFailed] = alice()
    machine.tick(1e9)
    assert machine.deadline() is None
    assert machine.take_events() == []


@settings(max_examples=50)
@given(cutters, st.binary(max_size=40))
def test_arbitrary_cuts_change_nothing(cut: Cutter, tail: bytes) -> None:
    initiator, responder = alice(), bob()
    feed_all(responder, output(initiator), cut)
    feed_all(initiator, output(responder), cut)
    feed_all(responder, output(initiator) + tail, cut)
    assert completed(initiator).send_key == completed(responder).receive_key
    assert responder.take_rest() == tail


garbage = st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(framed), st.binary(min_size=32, max_size=32).map(framed))


@settings(max_examples=80)
@given(garbage, garbage, st.sampled_from([whole, bytewise]))
def test_no_bytes_make_a_machine_raise_or_complete_or_end_twice(one: bytes, two: bytes, cut: Cutter) -> None:
    for machine in (alice(), bob()):
        feed_all(machine, one + two, cut)
        machine.feed_eof(0.0)
        assert isinstance(failure(machine), HandshakeFailed)
