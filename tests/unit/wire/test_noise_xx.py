from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peerstack.errors import HandshakeFailed
from peerstack.wire.noise_records import RecordReader, RecordWriter
from peerstack.wire.noise_xx import KeyPair25519, NoiseXX, Role

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "noise_xx.json").read_text())["vectors"]
LOW_ORDER_POINTS = [  # RFC 7748 section 6.1 and https://cr.yp.to/ecdh.html#validate
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def side(vector: dict[str, Any], role: Role, prefix: str) -> NoiseXX:
    static, ephemeral, prologue = (bytes.fromhex(vector[f"{prefix}_{name}"]) for name in ("static", "ephemeral", "prologue"))
    return NoiseXX(role, KeyPair25519.from_private_bytes(static), ephemeral, prologue)


def pair() -> tuple[NoiseXX, NoiseXX]:
    static = KeyPair25519.from_private_bytes(b"s" * 32)
    return NoiseXX(Role.INITIATOR, static, b"i" * 32), NoiseXX(Role.RESPONDER, static, b"r" * 32)


@pytest.mark.parametrize("vector", VECTORS)
def test_handshake_and_records_match_the_published_vectors(vector: dict[str, Any]) -> None:
    initiator, responder = side(vector, Role.INITIATOR, "init"), side(vector, Role.RESPONDER, "resp")
    messages = [(bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])) for message in vector["messages"]]
    for (payload, ciphertext), (sender, receiver) in zip(
        messages[:3], [(initiator, responder), (responder, initiator), (initiator, responder)], strict=True
    ):
        assert sender.write(payload) == ciphertext
        assert receiver.read(ciphertext) == payload
    assert initiator.handshake_hash == responder.handshake_hash == bytes.fromhex(vector["handshake_hash"])
    directions = [
        (RecordWriter(responder.send_key), RecordReader(initiator.receive_key)),
        (RecordWriter(initiator.send_key), RecordReader(responder.receive_key)),
    ]
    for index, (payload, ciphertext) in enumerate(messages[3:]):
        writer, reader = directions[index % 2]
        record = writer.seal([payload])
        assert record == len(ciphertext).to_bytes(2, "big") + ciphertext
        assert reader.feed(record) == [payload]


def test_each_side_learns_the_others_static_key() -> None:
    initiator_static, responder_static = (KeyPair25519.from_private_bytes(bytes([value]) * 32) for value in (1, 2))
    initiator, responder = NoiseXX(Role.INITIATOR, initiator_static, b"i" * 32), NoiseXX(Role.RESPONDER, responder_static, b"r" * 32)
    responder.read(initiator.write(b""))
    initiator.read(responder.write(b""))
    assert initiator.remote_static_key == responder_static.public_bytes
    responder.read(initiator.write(b""))
    assert responder.remote_static_key == initiator_static.public_bytes


@pytest.mark.parametrize("point", LOW_ORDER_POINTS)
def test_an_ephemeral_key_of_low_order_fails_the_handshake(point: str) -> None:
    _, responder = pair()
    responder.read(bytes.fromhex(point))
    with pytest.raises(HandshakeFailed, match="no secret"):
        responder.write(b"")
    initiator, responder = pair()
    message = responder_message(initiator, responder)
    with pytest.raises(HandshakeFailed, match="malformed or forged"):
        initiator.read(bytes.fromhex(point) + message[32:])


def responder_message(initiator: NoiseXX, responder: NoiseXX) -> bytes:
    responder.read(initiator.write(b""))
    return responder.write(b"payload")


@pytest.mark.parametrize("size", [0, 31, 32, 79, 80, 95, 102])
def test_a_short_message_fails_the_handshake(size: int) -> None:
    initiator, responder = pair()
    message = responder_message(initiator, responder)
    assert len(message) == 103
    with pytest.raises(HandshakeFailed):
        initiator.read(message[:size])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_ephemeral_key_of_another_size_is_our_own_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes of entropy"):
        NoiseXX(Role.INITIATOR, KeyPair25519.from_private_bytes(b"s" * 32), bytes(size))
