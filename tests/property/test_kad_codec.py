"""Whatever a peer sends, reading it ends in a message or in `InvalidMessage`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from peerstack_kad.codec import Codec
from peerstack_kad.foreign_codec import ForeignCodec
from peerstack_kad.messages import GetProviders, GetRaw, PutRaw
from peerstack_kad.pb.kad_pb2 import Message

from peerstack.dht.pb.peers_pb2 import Peer
from peerstack.dht.records import Slot
from peerstack.dht.replica.contacts import position_of
from peerstack.dht.replica.messages import FindNode, GetValue, Leave, Ping, Pull, Push, PutValue, Request
from peerstack.errors import InvalidMessage
from peerstack.rpc.codec import RequestFrame
from peerstack.testing.store_conformance import RecordMaker

FOREIGN_REQUESTS: list[Request] = [
    FindNode.of(b"key"),
    GetRaw.of(b"/ns/key"),
    PutRaw(b"/ns/key", b"value", 1),
    GetProviders.of(b"key"),
    Ping(),
]

RECORD = RecordMaker.from_number(1).put(Slot("kv", b"key"))
WIRE = RECORD.wire_key
REQUESTS: list[Request] = [
    Ping(),
    FindNode.of(b"key"),
    GetValue(WIRE, position_of(WIRE)),
    PutValue(RECORD),
    Pull(0, settled=True),
    Push((RECORD,)),
    Leave(handed=True),
]
KEYS = st.one_of(st.just(WIRE), st.binary(max_size=40))
POSITIONS = st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=40))
RECORDS = st.one_of(st.just(RECORD.encode()), st.binary(max_size=60))
PEER = st.builds(lambda id_, addrs: Peer(id=id_, addrs=addrs).SerializeToString(), st.binary(max_size=40), st.lists(st.binary(max_size=9)))
PEERS = st.lists(st.one_of(PEER, st.binary(max_size=20)))
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([0, 1, 2, 3, 4, 5, 6, 1000, 1001, 1002]),
        "key": KEYS,
        "record": st.builds(lambda key, value: {"key": key, "value": value}, KEYS, RECORDS),
        "closerPeers": PEERS,
        "responsible": PEERS,
        "requestId": st.integers(0, 2**64 - 1),
        "status": st.integers(0, 20),
        "subkey": st.binary(max_size=4),
        "records": st.lists(RECORDS, max_size=3),
        "position": POSITIONS,
        "prefix": st.integers(0, 2**32 - 1),
        "settled": st.booleans(),
        "outcomes": st.lists(st.integers(0, 20), max_size=3),
        "silentMs": st.lists(st.integers(0, 2**32 - 1), max_size=3),
    },
)


def serialized(fields: dict[str, Any]) -> bytes:
    make: Any = Message
    data: bytes = make(**fields).SerializeToString()
    return data


@given(st.one_of(st.binary(max_size=200), FIELDS.map(serialized)), st.sampled_from(REQUESTS))
def test_reading_ends_in_a_message_or_an_invalid_one(data: bytes, request: Request) -> None:
    codec = Codec()
    with suppress(InvalidMessage):
        codec.decode_reply(data, request)
    with suppress(InvalidMessage):
        frame = codec.decode_request(data)
        assert frame.request_id is None or frame.request_id >= 0


@given(st.one_of(st.binary(max_size=200), FIELDS.map(serialized)), st.sampled_from(FOREIGN_REQUESTS))
def test_reading_on_a_foreign_id_ends_in_a_message_or_an_invalid_one(data: bytes, request: Request) -> None:
    codec = ForeignCodec()
    with suppress(InvalidMessage):
        codec.decode_reply(data, request)
    with suppress(InvalidMessage):
        assert codec.decode_request(data).request_id is None


@given(st.sampled_from(REQUESTS), st.integers(0, 2**64 - 1), st.data())
def test_a_request_with_one_byte_changed_never_raises_anything_else(request: Request, request_id: int, data: st.DataObject) -> None:
    codec = Codec()
    encoded = bytearray(codec.encode_request(RequestFrame(request, request_id)))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(InvalidMessage):
        codec.decode_request(bytes(encoded))
