from __future__ import annotations

from typing import Any

import pytest

from peerstack.dht.arguments import check_ack, check_quorum, check_slot, check_timeout, check_value, to_key, wanted_acks
from peerstack.dht.contract import Ack
from peerstack.dht.records import Slot
from peerstack.errors import InvalidRecord, ValueTooLarge


def test_text_keys_are_utf_8_and_bytes_stay() -> None:
    assert to_key("clé") == "clé".encode()
    assert to_key(b"\xff") == to_key(bytearray(b"\xff")) == to_key(memoryview(b"\xff")) == b"\xff"
    assert check_slot("own", "k", "s") == Slot("own", b"k", b"s")


def test_limits_count_bytes() -> None:
    assert len(to_key("é" * 64)) == 128
    with pytest.raises(ValueTooLarge, match="at most 128 bytes, this one 130"):
        to_key("é" * 65)
    with pytest.raises(ValueTooLarge, match="subkey"):
        check_slot("kv", "k", bytes(129))
    assert check_value(bytes(65536)) == bytes(65536)
    with pytest.raises(ValueTooLarge, match="65536"):
        check_value(bytes(65537))


@pytest.mark.parametrize("wrong", [1, None, ["k"]])
def test_what_is_no_key_and_no_value_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="key"):
        to_key(wrong)
    with pytest.raises(TypeError, match="value"):
        check_value(wrong)


def test_a_value_is_never_text() -> None:
    text: Any = "text"
    with pytest.raises(TypeError, match="value is bytes, not str"):
        check_value(text)


def test_a_namespace_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="no namespace name"):
        check_slot("a/b", "k")


def test_a_timeout_is_positive_and_finite() -> None:
    assert check_timeout(None, 10.0) == 10.0
    assert check_timeout(0.5, 10.0) == 0.5
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            check_timeout(wrong, 10.0)


def test_acknowledgements() -> None:
    acks: list[Ack] = ["majority", "one", "all", 4]
    assert [wanted_acks(check_ack(ack), 5, 3) for ack in acks] == [3, 1, 5, 4]
    for wrong in ("most", 0, -1, True, 1.5, None):
        anything: Any = wrong
        with pytest.raises(ValueError, match="ack is"):
            check_ack(anything)


def test_a_quorum_is_positive_or_none() -> None:
    assert (check_quorum(None), check_quorum(3)) == (None, 3)
    for wrong in (0, -1, True, "2"):
        anything: Any = wrong
        with pytest.raises(ValueError, match="quorum"):
            check_quorum(anything)
