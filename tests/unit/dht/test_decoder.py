from __future__ import annotations

from dataclasses import replace

import pytest

from peerstack.dht.decoder import RecordDecoder
from peerstack.dht.records import Draft, Record, Slot
from peerstack.errors import InvalidRecord
from peerstack.identity import PrivateKey, PublicKey

KEY = PrivateKey.from_seed(bytes(range(32)))
DRAFT = Draft(slot=Slot("kv", b"key"), value=b"v" * 100, version_time=1000, expires_at=2000, remember_until=3000)


class Counting:
    """A verifier that counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, writer: PublicKey, message: bytes, signature: bytes) -> bool:
        self.asked += 1
        return writer.verify(message, signature)


def encoded(number: int) -> bytes:
    return Record.sign(replace(DRAFT, version_time=number), KEY).encode()


def test_the_same_bytes_are_verified_once() -> None:
    verifier = Counting()
    decoder = RecordDecoder(verifier)
    data = encoded(1)
    assert decoder.decode(data) == decoder.decode(bytes(bytearray(data))) == Record.decode(data)
    assert verifier.asked == 1


def test_bytes_that_differ_anywhere_are_verified_for_themselves() -> None:
    verifier = Counting()
    decoder = RecordDecoder(verifier)
    data = encoded(1)
    decoder.decode(data)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(InvalidRecord):
            decoder.decode(bytes(changed))
    assert decoder.decode(data) == Record.decode(data)


def test_what_is_invalid_is_invalid_again() -> None:
    decoder = RecordDecoder(lambda _writer, _message, _signature: False)
    for _ in range(2):
        with pytest.raises(InvalidRecord):
            decoder.decode(encoded(1))


def test_what_is_kept_is_bounded_and_the_least_recently_read_goes_first() -> None:
    verifier = Counting()
    records = [encoded(number) for number in range(1, 5)]
    decoder = RecordDecoder(verifier, max_bytes_kept=3 * max(map(len, records)))
    for data in (*records[:3], records[0], records[3]):
        decoder.decode(data)
    assert verifier.asked == 4
    decoder.decode(records[0])
    assert verifier.asked == 4
    decoder.decode(records[1])
    assert verifier.asked == 5


def test_a_record_larger_than_all_that_may_be_kept_is_read_all_the_same() -> None:
    verifier = Counting()
    decoder = RecordDecoder(verifier, max_bytes_kept=10)
    assert decoder.decode(encoded(1)) == decoder.decode(encoded(1))
    assert verifier.asked == 2
