from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstack.net.receive_buffer import ReceiveBuffer


def filled(*chunks: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer()
    for chunk in chunks:
        buffer.append(chunk)
    return buffer


def test_a_chunk_is_handed_over_as_it_came() -> None:
    chunk = bytes(5000)
    buffer = filled(chunk, b"more")
    assert buffer.take_chunk(65536)[0] is chunk
    assert buffer.size == 4


def test_a_chunk_larger_than_asked_for_is_cut() -> None:
    buffer = filled(b"abcdef")
    assert buffer.take_chunk(2) == (b"ab", 2)
    assert buffer.take_chunk(2) == (b"cd", 2)
    assert buffer.take_chunk(9) == (b"ef", 2)
    assert buffer.size == 0


def test_take_crosses_chunks_and_leaves_the_rest() -> None:
    buffer = filled(b"a" * 2000, b"b" * 2000, b"c" * 2000)
    assert buffer.take(3000) == (b"a" * 2000 + b"b" * 1000, 3000)
    assert buffer.take(3000) == (b"b" * 1000 + b"c" * 2000, 3000)


def test_peek_takes_nothing() -> None:
    buffer = filled(b"a" * 1500, b"b" * 1500)
    assert buffer.peek(0, 2) == b"aa"
    assert buffer.peek(1499, 1501) == b"ab"
    assert buffer.peek(1600, 9999) == b"b" * 1400
    assert buffer.peek(3000, 4000) == b""
    assert buffer.size == 3000


def test_credit_for_claimed_bytes_is_not_given_twice() -> None:
    buffer = filled(b"abcd")
    assert buffer.claim() == 4
    buffer.append(b"ef")
    assert buffer.take(3) == (b"abc", 0)
    assert buffer.take(2) == (b"de", 1)
    assert buffer.claim() == 1
    assert buffer.claim() == 0
    assert buffer.clear() == 0


def test_clear_gives_credit_for_what_was_not_claimed() -> None:
    buffer = filled(b"abcd")
    buffer.claim()
    buffer.append(b"ef")
    assert buffer.clear() == 2
    assert buffer.size == 0
    assert buffer.peek(0, 10) == b""


@pytest.mark.parametrize("size", [1, 2, 1023])
def test_small_chunks_that_wait_are_gathered(size: int) -> None:
    buffer = ReceiveBuffer()
    count = (256 << 10) // size
    for _ in range(count):
        buffer.append(bytes(size))
    assert len(buffer._chunks) <= 2 + count * size // (32 << 10)
    assert buffer.size == count * size
    assert buffer.take(count * size) == (bytes(count * size), count * size)


def test_small_and_large_chunks_in_turn_are_few_objects() -> None:
    buffer = ReceiveBuffer()
    for _ in range(50):
        buffer.append(bytes(2000))
        for _ in range(20):
            buffer.append(b"xy")
    assert len(buffer._chunks) <= 100


def test_what_was_peeked_or_cut_before_more_arrived_stays_as_it_was() -> None:
    buffer = filled(b"ab", b"cd")  # gathered
    seen = buffer.peek(0, 4)
    assert buffer.take_chunk(1) == (b"a", 1)
    buffer.append(b"ef")
    assert seen == b"abcd"
    assert buffer.take(5) == (b"bcdef", 5)


pieces = st.one_of(st.binary(max_size=8), st.integers(900, 1200).map(lambda n: b"m" * n), st.integers(1, 3).map(lambda n: b"L" * (n << 15)))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), pieces),
        st.tuples(st.sampled_from(["chunk", "take"]), st.integers(1, 3000)),
        st.tuples(st.just("peek"), st.tuples(st.integers(0, 2000), st.integers(0, 4000))),
        st.tuples(st.sampled_from(["claim", "clear"]), st.none()),
    ),
    max_size=40,
)


@given(operations)
def test_it_is_a_byte_string_that_owes_each_byte_once(operations: list[tuple[str, object]]) -> None:
    buffer, reference, owed, given_back = ReceiveBuffer(), b"", 0, 0
    for verb, what in operations:
        if verb == "append":
            assert isinstance(what, bytes)
            if what:
                buffer.append(what)
                reference += what
                owed += len(what)
        elif verb == "peek":
            assert isinstance(what, tuple)
            start, stop = what
            assert buffer.peek(start, stop) == reference[start:stop]
        elif verb == "claim":
            given_back += buffer.claim()
            assert given_back == owed
        elif verb == "clear":
            given_back += buffer.clear()
            reference = b""
            assert given_back == owed
        elif reference:
            assert isinstance(what, int)
            count = min(what, len(reference))
            data, credit = buffer.take(count) if verb == "take" else buffer.take_chunk(what)
            assert data == reference[: len(data)]
            assert data
            reference = reference[len(data) :]
            given_back += credit
        assert buffer.size == len(reference)
        assert owed - len(reference) <= given_back <= owed
