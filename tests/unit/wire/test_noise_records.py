from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.errors import LimitExceeded, ProtocolViolation
from peerstack.wire.machine import Buffer
from peerstack.wire.noise_records import MAX_PLAINTEXT, RecordReader, RecordWriter
from tests.unit.wire.feeding import Cutter, cut_by, cutters, each_way

KEY = bytes(range(32))


def reference_record(counter: int, plaintext: bytes) -> bytes:
    """One record, straight from the specification."""
    ciphertext = ChaCha20Poly1305(KEY).encrypt(bytes(4) + counter.to_bytes(8, "little"), plaintext, None)
    return len(ciphertext).to_bytes(2, "big") + ciphertext


def read_all(reader: RecordReader, data: bytes, cut: Cutter) -> list[bytes]:
    return [plaintext for chunk in cut(data) for plaintext in reader.feed(chunk)]


def test_a_record_is_length_ciphertext_and_tag_with_a_counting_nonce() -> None:
    writer = RecordWriter(KEY)
    for counter, plaintext in enumerate([b"a", b"hello peer", bytes(300)]):
        assert writer.seal([plaintext]) == reference_record(counter, plaintext)


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, MAX_PLAINTEXT - 1, MAX_PLAINTEXT])
def test_up_to_65519_bytes_go_into_one_record(size: int) -> None:
    assert RecordWriter(KEY).seal([bytes(size)]) == reference_record(0, bytes(size))


@pytest.mark.parametrize("size", [MAX_PLAINTEXT + 1, 2 * MAX_PLAINTEXT, 2 * MAX_PLAINTEXT + 1, 262_144])
def test_more_goes_into_as_few_records_as_possible_and_one_buffer(size: int) -> None:
    plaintext = bytes(range(256)) * (size // 256 + 1)
    pieces = [plaintext[offset : min(size, offset + MAX_PLAINTEXT)] for offset in range(0, size, MAX_PLAINTEXT)]
    sealed = RecordWriter(KEY).seal([plaintext[:size]])
    assert sealed == b"".join(reference_record(counter, piece) for counter, piece in enumerate(pieces))


def test_pieces_share_a_record() -> None:
    pieces: list[Buffer] = [b"head", memoryview(b"payload")[3:], b"", b"tail"]
    assert RecordWriter(KEY).seal(pieces) == reference_record(0, b"headloadtail")


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""]])
def test_nothing_to_seal_makes_no_record_and_uses_no_nonce(pieces: list[bytes]) -> None:
    writer = RecordWriter(KEY)
    assert writer.seal(pieces) == b""
    assert writer.seal([b"x"]) == reference_record(0, b"x")


def test_what_seal_returned_never_changes_afterwards() -> None:
    writer = RecordWriter(KEY)
    first = [writer.seal([bytes(size)]) for size in (10, 20_000, 100_000)]
    kept = [bytes(sealed) for sealed in first]
    for size in (10, 20_000, 100_000):
        writer.seal([b"\xff" * size])
    assert [bytes(sealed) for sealed in first] == kept


@each_way
def test_records_are_opened_in_order_however_the_bytes_arrive(cut: Cutter) -> None:
    plaintexts = [b"one", bytes(1000), b"three"]
    reader = RecordReader(KEY)
    stream = b"".join(reference_record(counter, plaintext) for counter, plaintext in enumerate(plaintexts))
    assert read_all(reader, stream, cut) == plaintexts
    reader.feed_eof()
    assert reader.error is None


@each_way
def test_a_record_of_no_plaintext_is_legal_and_skipped(cut: Cutter) -> None:
    reader = RecordReader(KEY)
    assert read_all(reader, reference_record(0, b"") + reference_record(1, b"x"), cut) == [b"x"]
    assert reader.error is None


@each_way
@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_record_shorter_than_its_tag_is_a_violation(size: int, cut: Cutter) -> None:
    reader = RecordReader(KEY)
    assert read_all(reader, size.to_bytes(2, "big") + bytes(size) + reference_record(0, b"x"), cut) == []
    assert isinstance(reader.error, ProtocolViolation)
    assert "shorter than its tag" in str(reader.error)


def test_every_flipped_bit_of_the_ciphertext_is_seen() -> None:
    record = reference_record(0, b"plaintext")
    for bit in range(16, 8 * len(record)):
        forged = bytearray(record)
        forged[bit // 8] ^= 1 << bit % 8
        reader = RecordReader(KEY)
        assert reader.feed(bytes(forged)) == []
        assert "authenticate" in str(reader.error)


def test_a_flipped_length_never_yields_plaintext() -> None:
    stream = reference_record(0, b"one") + reference_record(1, b"two")
    for bit in range(16):
        forged = bytearray(stream)
        forged[bit // 8] ^= 1 << bit % 8
        reader = RecordReader(KEY)
        assert reader.feed(bytes(forged)) == []
        reader.feed_eof()
        assert reader.error is not None


@each_way
def test_a_replayed_record_is_a_violation(cut: Cutter) -> None:
    reader = RecordReader(KEY)
    assert read_all(reader, reference_record(0, b"pay") * 2, cut) == [b"pay"]
    assert reader.error is not None


def test_swapped_and_dropped_records_are_violations() -> None:
    first, second, third = (reference_record(counter, b"%d" % counter) for counter in range(3))
    for stream, good in ((second + first, []), (first + third + second, [b"0"]), (second, [])):
        reader = RecordReader(KEY)
        assert reader.feed(stream) == good
        assert reader.error is not None


@each_way
def test_after_a_violation_input_is_ignored_and_the_first_error_stays(cut: Cutter) -> None:
    reader = RecordReader(KEY)
    reader.feed(b"\x00\x01\x00")
    error = reader.error
    assert error is not None
    assert read_all(reader, reference_record(0, b"x") * 3, cut) == []
    reader.feed_eof()
    assert reader.error is error


def test_plaintexts_before_a_violation_are_still_good() -> None:
    reader = RecordReader(KEY)
    assert reader.feed(reference_record(0, b"good") + b"\x00\x00") == [b"good"]
    assert reader.error is not None


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_an_end_inside_a_record_is_a_violation(size: int) -> None:
    reader = RecordReader(KEY)
    assert reader.feed(reference_record(0, b"whole") + reference_record(1, b"cut")[:size]) == [b"whole"]
    assert reader.error is None
    reader.feed_eof()
    assert "inside a Noise record" in str(reader.error)


def test_an_end_between_records_is_none() -> None:
    reader = RecordReader(KEY)
    reader.feed(reference_record(0, b"x"))
    reader.feed(b"")
    reader.feed_eof()
    assert reader.error is None


def test_the_buffer_fed_may_be_reused_at_once() -> None:
    stream = reference_record(0, b"one") + reference_record(1, b"two") + reference_record(2, b"three")
    shared = bytearray(len(stream) - 10)
    shared[:] = stream[: len(shared)]
    reader = RecordReader(KEY)
    plaintexts = reader.feed(memoryview(shared))
    shared[:] = bytes(len(shared))
    shared.clear()  # fails while a view of it lives
    assert plaintexts + reader.feed(stream[-10:]) == [b"one", b"two", b"three"]


def test_no_bytes_complete_nothing() -> None:
    reader = RecordReader(KEY)
    record = reference_record(0, b"x")
    for offset in range(len(record)):
        assert reader.feed(record[:0]) == []
        plaintexts = reader.feed(record[offset : offset + 1])
    assert plaintexts == [b"x"]


def test_after_a_violation_nothing_is_kept() -> None:
    reader = RecordReader(KEY)
    reader.feed(b"\x00\x00" + b"\x40\x00 and more")
    assert reader.error is not None
    assert not reader._partial


def test_only_one_partial_record_is_kept() -> None:
    reader = RecordReader(KEY)
    for counter in range(20):
        record = reference_record(counter, bytes(MAX_PLAINTEXT))
        reader.feed(record[:-1])
        assert len(reader._partial) == len(record) - 1
        assert reader.feed(record[-1:]) == [bytes(MAX_PLAINTEXT)]
        assert not reader._partial


def test_the_last_counter_is_reserved_on_both_sides() -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    writer._counter = reader._counter = 2**64 - 2
    last = bytes(writer.seal([b"last"]))
    assert reader.feed(last) == [b"last"]
    for pieces in ([b"one more"], [bytes(20_000)]):
        with pytest.raises(LimitExceeded, match="reconnect"):
            writer.seal(pieces)
    assert reader.feed(reference_record(2**64 - 1, b"one more")) == []
    assert "nonces" in str(reader.error)


batches = st.lists(st.lists(st.binary(max_size=200) | st.integers(0, 140_000).map(lambda size: bytes(size)), max_size=4), max_size=4)
big_cutters = st.lists(st.integers(1, 90_000), min_size=1, max_size=6).map(cut_by)


@settings(max_examples=60)
@given(batches, big_cutters)
def test_what_was_sealed_is_opened_whatever_the_cuts(batches: list[list[bytes]], cut: Cutter) -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    stream = b"".join(writer.seal(pieces) for pieces in batches)
    assert b"".join(read_all(reader, stream, cut)) == b"".join(b"".join(pieces) for pieces in batches)
    reader.feed_eof()
    assert reader.error is None


@given(st.lists(st.binary(max_size=60), max_size=6), st.binary(max_size=40), cutters)
def test_arbitrary_bytes_after_good_records_change_nothing_before_them(plaintexts: list[bytes], garbage: bytes, cut: Cutter) -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    good = [plaintext for plaintext in plaintexts if plaintext]
    stream = b"".join(writer.seal([plaintext]) for plaintext in plaintexts)
    assert read_all(reader, stream + garbage, cut) == good
    reader.feed_eof()
    assert (reader.error is None) == (garbage == b"")
