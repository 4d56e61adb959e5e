from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstack.errors import NegotiationFailed, PeerstackError, ProtocolNotSupported, ProtocolViolation
from peerstack.wire.machine import ConnectionFailed, Machine
from peerstack.wire.multistream import HEADER, MAX_PROPOSALS, MAX_TOKEN, Dialer, Listener, ProtocolSelected, encode, proposal
from tests.unit.wire.feeding import Cutter, bytewise, converse, cutters, each_way, feed_all, output

PING = "/ipfs/ping/1.0.0"
KAD = "/ipfs/kad/1.0.0"
NOISE = "/noise"
NA = bytes.fromhex("036e610a")

Side = Dialer | Listener


def only_ping() -> Listener:
    return Listener(PING.__eq__)


def failure(machine: Side) -> PeerstackError:
    (event,) = machine.take_events()
    assert isinstance(event, ConnectionFailed)
    return event.error


def assert_violation(machine: Side, data: bytes, match: str, cut: Cutter = bytewise) -> None:
    feed_all(machine, data, cut)
    error = failure(machine)
    assert type(error) is ProtocolViolation
    assert match in str(error)
    machine.feed(b"ignored", 0.0)
    machine.feed_eof(0.0)
    assert machine.take_events() == []


VECTORS = [
    ("/multistream/1.0.0", "132f6d756c746973747265616d2f312e302e300a"),
    ("/noise", "072f6e6f6973650a"),
    ("/yamux/1.0.0", "0d2f79616d75782f312e302e300a"),
    ("/tls/1.0.0", "0b2f746c732f312e302e300a"),
    ("/mplex/6.7.0", "0d2f6d706c65782f362e372e300a"),
    ("/ipfs/ping/1.0.0", "112f697066732f70696e672f312e302e300a"),
    ("/ipfs/id/1.0.0", "0f2f697066732f69642f312e302e300a"),
    ("/ipfs/id/push/1.0.0", "142f697066732f69642f707573682f312e302e300a"),
    ("/ipfs/kad/1.0.0", "102f697066732f6b61642f312e302e300a"),
    ("/perf/1.0.0", "0c2f706572662f312e302e300a"),
    ("na", "036e610a"),
    ("ls", "036c730a"),
]


@pytest.mark.parametrize(("token", "encoded"), VECTORS)
def test_a_message_is_its_length_its_text_and_a_newline(token: str, encoded: str) -> None:
    assert encode(token).hex() == encoded


def test_the_length_of_a_long_message_has_two_bytes() -> None:
    assert encode("/" + "a" * 199) == b"\xc9\x01/" + b"a" * 199 + b"\n"


@pytest.mark.parametrize("token", ["/a\nb", "/a\n", "/" + "a" * (MAX_TOKEN - 1), "/" + "é" * 512])
def test_an_id_that_cannot_be_framed_is_our_own_mistake(token: str) -> None:
    with pytest.raises(ValueError, match="protocol id"):
        encode(token)
    with pytest.raises(ValueError, match="protocol id"):
        Dialer([token])


def test_the_dialer_sends_header_and_first_proposal_in_one_write() -> None:
    dialer = Dialer([PING, KAD])
    assert dialer.take_output(1) == [HEADER + encode(PING)]
    assert dialer.take_output(1) == []
    assert proposal(PING) == HEADER + encode(PING)


def test_a_dialer_without_protocols_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Dialer([])


def test_an_optimistic_dialer_proposes_exactly_one_protocol() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Dialer([PING, KAD], optimistic=True)


@each_way
def test_the_listener_sends_its_header_as_soon_as_the_dialers_arrived(cut: Cutter) -> None:
    listener = only_ping()
    feed_all(listener, HEADER[:-1], cut)
    assert output(listener) == b""
    feed_all(listener, HEADER[-1:], cut)
    assert output(listener) == HEADER
    feed_all(listener, encode(PING), cut)
    assert output(listener) == encode(PING)


@each_way
@pytest.mark.parametrize("tail", [b"", b"\x00", bytes(range(256))], ids=["no tail", "zero", "ping bytes"])
def test_the_listener_echoes_the_protocol_and_hands_on_what_follows(cut: Cutter, tail: bytes) -> None:
    listener = only_ping()
    feed_all(listener, proposal(PING) + tail, cut)
    assert listener.take_events() == [ProtocolSelected(PING)]
    assert output(listener) == proposal(PING)
    assert listener.take_rest() == tail
    assert listener.take_rest() == b""


@each_way
@pytest.mark.parametrize("tail", [b"", b"\x00", HEADER], ids=["no tail", "zero", "like a header"])
def test_the_dialer_selects_on_the_echo_and_hands_on_what_follows(cut: Cutter, tail: bytes) -> None:
    dialer = Dialer([PING])
    feed_all(dialer, proposal(PING) + tail, cut)
    assert dialer.take_events() == [ProtocolSelected(PING)]
    assert dialer.take_rest() == tail


@each_way
def test_after_na_the_dialer_proposes_the_next_on_the_same_stream(cut: Cutter) -> None:
    dialer = Dialer([PING, KAD])
    output(dialer)
    feed_all(dialer, HEADER + NA, cut)
    assert dialer.take_events() == []
    assert output(dialer) == encode(KAD)
    feed_all(dialer, encode(KAD) + b"tail", cut)
    assert dialer.take_events() == [ProtocolSelected(KAD)]
    assert dialer.take_rest() == b"tail"


@each_way
def test_the_dialer_gives_up_when_every_proposal_is_refused(cut: Cutter) -> None:
    dialer = Dialer([PING, KAD])
    feed_all(dialer, HEADER + NA + NA, cut)
    error = failure(dialer)
    assert isinstance(error, ProtocolNotSupported)
    assert error.protocols == (PING, KAD)


@each_way
@pytest.mark.parametrize("token", ["ls", KAD, "/ipfs/ping/1.0.0 ", "", "na"])
def test_the_listener_answers_na_to_what_it_does_not_speak_ls_included(token: str, cut: Cutter) -> None:
    listener = only_ping()
    feed_all(listener, HEADER + encode(token), cut)
    assert output(listener) == HEADER + NA
    assert listener.take_events() == []
    feed_all(listener, encode(PING), cut)
    assert listener.take_events() == [ProtocolSelected(PING)]


@each_way
def test_rust_v1_lazy_bytes_behind_the_proposal_are_never_lost(cut: Cutter) -> None:
    first_noise_message = b"\x00\x20" + bytes(range(32))
    listener = Listener(NOISE.__eq__)
    feed_all(listener, HEADER + encode(NOISE) + first_noise_message, cut)
    assert listener.take_events() == [ProtocolSelected(NOISE)]
    assert listener.take_rest() == first_noise_message


def test_bytes_fed_after_the_selection_join_the_tail() -> None:
    listener = only_ping()
    feed_all(listener, proposal(PING) + b"one ")
    feed_all(listener, b"two")
    assert listener.take_rest() == b"one two"


@pytest.mark.parametrize("side", [Dialer([PING]), only_ping()])
def test_the_tail_of_an_unfinished_negotiation_is_our_own_mistake(side: Side) -> None:
    with pytest.raises(RuntimeError, match="take_rest"):
        side.take_rest()


@pytest.mark.parametrize("data", [b"", HEADER[:3], HEADER, HEADER + b"\x11/ipfs", HEADER + NA])
@pytest.mark.parametrize("protocols", [[PING, KAD]])
def test_an_end_before_the_echo_is_a_failed_negotiation(data: bytes, protocols: Sequence[str]) -> None:
    for side in (Dialer(protocols), only_ping()):
        feed_all(side, data)
        side.feed_eof(0.0)
        assert type(failure(side)) is NegotiationFailed
        side.feed_eof(0.0)
        assert side.take_events() == []


def test_a_lazy_client_may_close_its_side_before_it_reads_the_reply() -> None:
    listener = only_ping()
    feed_all(listener, proposal(PING) + bytes(32))
    listener.feed_eof(0.0)
    assert listener.take_events() == [ProtocolSelected(PING)]
    assert listener.take_rest() == bytes(32)


def test_the_listener_answers_a_bounded_number_of_proposals() -> None:
    listener = only_ping()
    feed_all(listener, HEADER + encode(KAD) * MAX_PROPOSALS + encode(PING))
    assert output(listener) == HEADER + NA * MAX_PROPOSALS
    error = failure(listener)
    assert type(error) is NegotiationFailed
    assert str(MAX_PROPOSALS) in str(error)
    assert listener._unread == b""


def test_the_last_proposal_within_the_bound_still_counts() -> None:
    listener = only_ping()
    feed_all(listener, HEADER + encode(KAD) * (MAX_PROPOSALS - 1) + encode(PING))
    assert listener.take_events() == [ProtocolSelected(PING)]


@pytest.mark.parametrize("first", [encode(PING), NA, encode("/multistream/0.9.9"), encode("ls")])
def test_the_first_message_must_be_the_header(first: bytes) -> None:
    assert_violation(only_ping(), first, "the dialer sent")
    assert_violation(Dialer([PING]), first, "the listener answered")


def test_a_second_header_is_a_violation() -> None:
    assert_violation(only_ping(), HEADER + HEADER, "the dialer sent")
    assert_violation(Dialer([PING]), HEADER + HEADER, "the listener answered")


def test_a_reply_that_is_neither_echo_nor_na_is_a_violation() -> None:
    assert_violation(Dialer([PING, KAD]), HEADER + encode(KAD), "the listener answered")


def test_a_message_without_newline_is_a_violation() -> None:
    assert_violation(only_ping(), HEADER + b"\x05/ping", "newline")
    assert_violation(Dialer([PING]), b"\x05/ping", "newline")


def test_a_message_of_no_bytes_is_a_violation() -> None:
    assert_violation(only_ping(), HEADER + b"\x00", "0 bytes")


def test_a_token_of_1024_bytes_is_taken_and_a_longer_one_refused_at_its_length() -> None:
    longest = "/" + "a" * (MAX_TOKEN - 2)
    listener = Listener(longest.__eq__)
    feed_all(listener, proposal(longest), bytewise)
    assert listener.take_events() == [ProtocolSelected(longest)]
    assert_violation(only_ping(), HEADER + b"\x81\x08", "1025 bytes")


def test_a_length_of_three_bytes_is_refused() -> None:
    assert_violation(only_ping(), b"\x80\x80", "longer than 2 bytes")


def test_a_protocol_id_that_is_not_utf8_is_a_violation() -> None:
    assert_violation(only_ping(), HEADER + b"\x03\xff\xfe\n", "UTF-8")


def test_a_flood_without_an_end_is_not_stored() -> None:
    listener = only_ping()
    feed_all(listener, b"\xff" * 100_000)
    assert isinstance(failure(listener), ProtocolViolation)
    feed_all(listener, b"\xff" * 100_000)
    assert listener._unread == b""


def test_the_buffer_fed_may_be_reused_at_once() -> None:
    shared = bytearray(proposal(PING) + b"tail")
    listener = only_ping()
    listener.feed(memoryview(shared), 0.0)
    shared[:] = bytes(len(shared))
    shared.clear()  # fails while a view of it lives
    assert listener.take_events() == [ProtocolSelected(PING)]
    assert listener.take_rest() == b"tail"


def test_both_are_machines_that_wait_for_no_time() -> None:
    machines: list[Machine[ProtocolSelected | ConnectionFailed]] = [Dialer([PING]), only_ping()]
    for machine in machines:
        machine.tick(1e9)
        assert machine.deadline() is None
        assert machine.take_events() == []


protocol_ids = st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1, max_size=40).map("/".__add__)


@given(st.lists(protocol_ids, min_size=1, max_size=6, unique=True), st.sets(protocol_ids, max_size=4), st.data(), cutters)
def test_dialer_and_listener_agree_on_the_first_protocol_both_speak(
    wanted: list[str], others: set[str], data: st.DataObject, cut: Cutter
) -> None:
    spoken = others | set(data.draw(st.lists(st.sampled_from(wanted), max_size=2)))
    dialer, listener = Dialer(wanted), Listener(spoken.__contains__)
    converse(dialer, listener, cut)
    common = [protocol for protocol in wanted if protocol in spoken]
    if common:
        assert dialer.take_events() == listener.take_events() == [ProtocolSelected(common[0])]
        assert dialer.take_rest() == listener.take_rest() == b""
    else:
        error = failure(dialer)
        assert isinstance(error, ProtocolNotSupported)
        assert error.protocols == tuple(wanted)
        assert listener.take_events() == []


@given(st.binary(max_size=80), st.binary(max_size=80), st.booleans(), cutters)
def test_an_optimistic_dialers_bytes_arrive_in_one_flight(request: bytes, response: bytes, spoken: bool, cut: Cutter) -> None:
    dialer, listener = Dialer([PING], optimistic=True), Listener(lambda protocol: spoken and protocol == PING)
    feed_all(listener, output(dialer) + request, cut)
    if spoken:
        assert listener.take_events() == [ProtocolSelected(PING)]
        assert listener.take_rest() == request
        feed_all(dialer, output(listener) + response, cut)
        assert dialer.take_events() == [ProtocolSelected(PING)]
        assert dialer.take_rest() == response
    else:
        feed_all(dialer, output(listener), cut)
        dialer_error = failure(dialer)
        assert isinstance(dialer_error, ProtocolNotSupported)


@given(st.binary(max_size=120), cutters, st.booleans())
def test_no_bytes_make_a_machine_raise_or_end_twice(data: bytes, cut: Cutter, after_header: bool) -> None:
    for side in (Dialer([PING, KAD]), only_ping()):
        feed_all(side, (HEADER if after_header else b"") + data, cut)
        side.feed_eof(0.0)
        assert len(side.take_events()) == 1


@given(st.lists(st.sampled_from([HEADER, NA, encode(PING), encode(KAD), encode("ls"), b"\x02x\n", b"\x00"]), max_size=6), cutters)
def test_the_cuts_between_reads_never_change_the_outcome(messages: list[bytes], cut: Cutter) -> None:
    data = b"".join(messages)

    def run(make: type[Dialer] | type[Listener], way: Cutter) -> tuple[bytes, str]:
        side: Side = Dialer([KAD, PING]) if make is Dialer else only_ping()
        feed_all(side, data, way)
        side.feed_eof(0.0)
        return output(side), str(side.take_events())

    for make in (Dialer, Listener):
        assert run(make, cut) == run(make, bytewise)
