from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from peerstack.dht.pb import record_pb2
from peerstack.dht.records import (
    MAX_KEY_BYTES,
    MAX_RECORD_BYTES,
    MAX_SUBKEY_BYTES,
    MAX_VALUE_BYTES,
    SIGNATURE_PREFIX,
    Draft,
    Record,
    Slot,
    is_namespace_name,
    position,
    wire_key,
)
from peerstack.errors import InvalidRecord
from peerstack.identity import KeyType, PrivateKey, PublicKey

KEY = PrivateKey.from_seed(bytes(range(32)))
DRAFT = Draft(slot=Slot("kv", b"key", b"sub"), value=b"value", version_time=1000, expires_at=2000, remember_until=3000, renewable=True)
DELETE = replace(DRAFT, value=b"", expires_at=0, renewable=False)


def header_of(**changes: Any) -> record_pb2.Header:
    header = record_pb2.Header.FromString(Record.sign(DRAFT, KEY).header)
    for name, value in changes.items():
        setattr(header, name, value)
    return header


def signed(header: bytes, value: bytes | None = b"value") -> bytes:
    """A record message whose signature is right, whatever the header says."""
    signature = KEY.sign(SIGNATURE_PREFIX + header)
    return record_pb2.Record(header=header, signature=signature, value=value).SerializeToString()


def refuse(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        Record.decode(data)


def test_a_signed_record_decodes_to_itself() -> None:
    record = Record.sign(DRAFT, KEY)
    assert Record.decode(record.encode()) == record
    assert record.slot == DRAFT.slot
    assert (record.namespace, record.key, record.subkey) == DRAFT.slot
    assert record.version == (1000, hashlib.sha256(KEY.public_key.to_protobuf()).digest())
    assert (record.expires_at, record.remember_until, record.renewable) == (2000, 3000, True)
    assert record.value == b"value"
    assert record.writer == KEY.public_key
    assert record.digest == hashlib.sha256(record.header).digest()
    assert record.size == len(record.header) + len(record.signature) + 5


def test_the_wire_key_is_the_namespace_and_the_raw_key_never_parsed() -> None:
    assert wire_key("kv", b"/own/x\x00") == b"/kv//own/x\x00"
    assert position("kv", b"key") == hashlib.sha256(b"/kv/key").digest() == Record.sign(DRAFT, KEY).position
    assert Slot("kv", b"key", b"any").position == position("kv", b"key")


def test_a_header_travels_without_its_value_and_takes_only_its_own_back() -> None:
    record = Record.sign(DRAFT, KEY)
    header = Record.decode(record.without_value().encode())
    assert header.value is None
    assert header == record.without_value()
    assert header.digest == record.digest
    assert header.with_value(b"value") == record
    with pytest.raises(InvalidRecord, match="not the one"):
        header.with_value(b"valu3")


def test_an_empty_value_is_a_value() -> None:
    record = Record.sign(replace(DRAFT, value=b""), KEY)
    assert Record.decode(record.encode()).value == b""
    assert Record.decode(record.without_value().encode()).value is None


def test_a_delete_has_no_value_and_is_dead_on_every_clock() -> None:
    delete = Record.sign(DELETE, KEY)
    assert Record.decode(delete.encode()) == delete
    assert (delete.value, delete.is_delete, delete.is_dead(0)) == (None, True, True)
    assert Record.decode(signed(delete.header, b"")).value is None


def test_a_record_dies_when_its_expiry_is_reached() -> None:
    record = Record.sign(DRAFT, KEY)
    assert [record.is_dead(now) for now in (1999, 2000, 2001)] == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": b"x"}, "delete"),
        ({"renewable": True}, "delete"),
    ],
)
def test_a_delete_that_is_something_else_too_cannot_be_signed(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        Record.sign(replace(DELETE, **changes), KEY)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"slot": Slot("kv", b"k" * (MAX_KEY_BYTES + 1))}, "key of 129 bytes"),
        ({"slot": Slot("kv", b"k", b"s" * (MAX_SUBKEY_BYTES + 1))}, "subkey of 129 bytes"),
        ({"slot": Slot("a/b", b"k")}, "no namespace"),
        ({"value": bytes(MAX_VALUE_BYTES + 1)}, "value of 65537 bytes"),
        ({"version_time": 0}, "time"),
        ({"expires_at": -1}, "time"),
        ({"remember_until": 1 << 63}, "time"),
        ({"remember_until": 1999}, "forgotten before"),
        ({"expires_at": 1, "remember_until": 999}, "forgotten before"),
    ],
)
def test_what_breaks_the_format_cannot_be_signed(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        Record.sign(replace(DRAFT, **changes), KEY)


def test_the_largest_record_fits_its_limits() -> None:
    slot = Slot("n" * 32, bytes([255]) * MAX_KEY_BYTES, bytes([255]) * MAX_SUBKEY_BYTES)
    largest = (1 << 63) - 1
    draft = replace(DRAFT, slot=slot, value=bytes(MAX_VALUE_BYTES), version_time=largest, expires_at=largest, remember_until=largest)
    record = Record.sign(draft, KEY)
    assert Record.decode(record.encode()) == record


def test_a_changed_bit_anywhere_is_noticed() -> None:
    data = Record.sign(DRAFT, KEY).encode()
    for index in range(len(data)):
        for bit in (1, 128):
            with pytest.raises(InvalidRecord):
                Record.decode(data[:index] + bytes((data[index] ^ bit,)) + data[index + 1 :])


def test_a_record_cut_short_is_refused() -> None:
    data = Record.sign(DRAFT, KEY).encode()
    whole_value = len(data) - 2 - len(b"value")
    for length in range(len(data)):
        if length != whole_value:  # exactly the value is missing: that is the header's own form
            with pytest.raises(InvalidRecord):
                Record.decode(data[:length])


def test_a_record_signed_by_somebody_else_is_refused() -> None:
    record = Record.sign(DRAFT, KEY)
    other = PrivateKey.from_seed(bytes(32))
    refuse(replace(record, signature=other.sign(SIGNATURE_PREFIX + record.header)).encode(), "not the writer's")


def test_a_signature_made_for_another_purpose_is_refused() -> None:
    record = Record.sign(DRAFT, KEY)
    refuse(replace(record, signature=KEY.sign(record.header)).encode(), "not the writer's")


def test_the_verifier_is_asked_once_with_what_was_signed() -> None:
    asked: list[tuple[PublicKey, bytes, bytes]] = []
    record = Record.sign(DRAFT, KEY)
    data = replace(record, signature=b"anything").encode()

    def note(writer: PublicKey, message: bytes, signature: bytes) -> bool:
        asked.append((writer, message, signature))
        return True

    assert Record.decode(data, note).value == b"value"
    assert asked == [(KEY.public_key, SIGNATURE_PREFIX + record.header, b"anything")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 0}, "format 0"),
        ({"format": 2}, "format 2"),
        ({"namespace": ""}, "namespace"),
        ({"namespace": "KV"}, "namespace"),
        ({"key": bytes(129)}, "key"),
        ({"subkey": bytes(129)}, "subkey"),
        ({"value_size": 6}, "not the one"),
        ({"value_size": MAX_VALUE_BYTES + 1}, "value of"),
        ({"value_digest": bytes(32)}, "not the one"),
        ({"value_digest": b"short"}, "digest"),
        ({"version_time": 0}, "time"),
        ({"version_time": (1 << 64) - 1}, "time"),
        ({"expires_at": 0}, "delete"),
        ({"remember_until": 1}, "forgotten before"),
        ({"writer": b""}, "writer's key"),
        ({"writer": b"\x08\x01\x12\x01\x00"}, "writer's key"),
        ({"writer": KEY.public_key.to_protobuf() + b"\x08\x01"}, "canonical"),
        ({"writer": bytes(4000)}, "header of"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused_though_well_signed(changes: dict[str, Any], reason: str) -> None:
    refuse(signed(header_of(**changes).SerializeToString(deterministic=True)), reason)


def _repeat_key(header: bytes) -> bytes:
    return header + b"\x1a\x03key"


def _add_unknown_field(header: bytes) -> bytes:
    return header + b"\xf8\x07\x01"


def _lengthen_varint(header: bytes) -> bytes:
    assert header[:2] == b"\x08\x01"
    return b"\x08\x81\x00" + header[2:]


def _spell_out_default(header: bytes) -> bytes:
    return header.replace(b"\x22\x03sub", b"\x22\x00\x22\x03sub")


def _swap_fields(header: bytes) -> bytes:
    return header[2:] + header[:2]


@pytest.mark.parametrize("twist", [_repeat_key, _add_unknown_field, _lengthen_varint, _spell_out_default, _swap_fields])
def test_a_header_has_one_form_only(twist: Callable[[bytes], bytes]) -> None:
    header = Record.sign(DRAFT, KEY).header
    assert twist(header) != header
    refuse(signed(twist(header)), "canonical")


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0a\x05abc", bytes(100), b"\x0a\x00\x12\x01x"])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    refuse(data, ".")


def test_oversized_parts_are_refused_before_they_are_read() -> None:
    refuse(bytes(MAX_RECORD_BYTES + 1), "over the limit")
    record = Record.sign(DRAFT, KEY)
    refuse(replace(record, signature=b"").encode(), "signature")
    refuse(replace(record, signature=bytes(1025)).encode(), "signature")


def test_a_writer_may_have_a_key_of_another_type() -> None:
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    record = Record.sign(DRAFT, PrivateKey(KeyType.ECDSA, der))
    assert Record.decode(record.encode()) == record


def test_names_of_namespaces() -> None:
    assert all(map(is_namespace_name, ("kv", "own", "a", "0", "my.app-1_x", "n" * 32)))
    assert not any(map(is_namespace_name, ("", "a/b", "A", "-a", ".", "a b", "ä", "n" * 33, "kv\n")))
