from __future__ import annotations

import pytest
from peerstack_kad.codec import Codec
from peerstack_kad.foreign_codec import ForeignCodec, rfc3339
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, PutRaw, RawReply, Taken
from peerstack_kad.pb.kad_pb2 import Message

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, FindNode, Leave, NodesReply, Ping, Pull, Push, Reply, Request
from peerstack.errors import InvalidMessage
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame

KEY = b"/example/key"
PUT = PutRaw(KEY, b"value", 1_767_355_445_123_456)
PEERS = tuple(Contact.of(PeerId(b"\x00\x02" + bytes((0, number))), (b"\x04\x7f\x00\x00\x01\x06\x10\x00",)) for number in range(3))


def answered(request: Request, reply: Reply) -> Message:
    data = ForeignCodec().encode_answer(request, ReplyFrame(reply, 5, b"parameters"))
    assert data is not None
    return Message.FromString(data)


def test_find_node_is_the_message_every_libp2p_stack_sends() -> None:
    # Protobuf: field 1 (type) = 4, field 2 (key) = "key".
    assert ForeignCodec().encode_request(RequestFrame(FindNode.of(b"key"), 7)).hex() == "080412036b6579"


def test_put_value_is_the_message_every_libp2p_stack_sends() -> None:
    # No type (0 is left out), field 2 (key), field 3 (record: 1 key, 2 value, 5 time received).
    data = ForeignCodec().encode_request(RequestFrame(PutRaw(b"/e/k", b"v", 1)))
    time = b"1970-01-01T00:00:00.000001Z"
    assert data == b"\x12\x04/e/k\x1a\x26\x0a\x04/e/k\x12\x01v\x2a" + bytes((len(time),)) + time


def test_times_have_a_fraction_and_a_z() -> None:
    assert rfc3339(1_767_355_445_123_456) == b"2026-01-02T12:04:05.123456Z"
    assert rfc3339(1_767_355_445_000_000) == b"2026-01-02T12:04:05.000000Z"


@pytest.mark.parametrize("request_", [Ping(), FindNode.of(b"key"), GetRaw.of(KEY), GetProviders.of(b"key")])
def test_requests_come_back_as_they_went_without_our_own_fields(request_: Request) -> None:
    message = Message.FromString(ForeignCodec().encode_request(RequestFrame(request_, 7)))
    assert not message.HasField("requestId")
    assert ForeignCodec().read_request(message) == RequestFrame(request_)


@pytest.mark.parametrize("time", [b"", b"1767355445.5", b"yesterday", b"\xff\xfe", b"2026-01-02T15:04:05.123456789Z"])
def test_a_put_is_read_whatever_time_it_carries(time: bytes) -> None:
    message = Message.FromString(ForeignCodec().encode_request(RequestFrame(PUT)))
    message.record.timeReceived = time
    read = ForeignCodec().read_request(Message.FromString(message.SerializeToString())).request
    assert isinstance(read, PutRaw)
    assert (read.key, read.value) == (KEY, b"value")


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (Ping(), Done()),
        (FindNode.of(b"key"), NodesReply(PEERS)),
        (GetRaw.of(KEY), RawReply(None, 0, PEERS)),
        (GetRaw.of(KEY), RawReply(b"", 0, ())),
        (GetRaw.of(KEY), RawReply(b"value", 0, PEERS)),
        (GetProviders.of(b"key"), ProvidersReply(PEERS[:1], PEERS[1:])),
        (PUT, Taken()),
    ],
)
def test_replies_come_back_as_they_went_without_our_own_fields(request_: Request, reply: Reply) -> None:
    message = answered(request_, reply)
    assert not message.HasField("requestId")
    assert not message.parameters
    back = ForeignCodec().read_reply(message, request_).reply
    assert type(back) is type(reply)
    for name in reply.__slots__:
        ours, theirs = getattr(reply, name), getattr(back, name)
        assert (str(ours) == str(theirs)) if isinstance(ours, tuple) else (ours == theirs)


def test_a_stored_put_is_answered_with_itself_and_the_time_it_was_stored() -> None:
    message = answered(PUT, Taken(time_us=2))
    assert (message.type, message.key, message.record.key, message.record.value) == (Message.PUT_VALUE, KEY, KEY, b"value")
    assert message.record.timeReceived == rfc3339(2)


def test_an_announcement_is_one_message_per_key_and_is_not_answered() -> None:
    request = AddProvider((b"one", b"two"), PEERS[:1])
    read = [ForeignCodec().read_request(Message.FromString(data)).request for data in ForeignCodec().announcement(request) or ()]
    assert [each.keys for each in read if isinstance(each, AddProvider)] == [(b"one",), (b"two",)]
    assert all(isinstance(each, AddProvider) and each.providers[0].addresses == PEERS[0].addresses for each in read)
    assert ForeignCodec().encode_answer(read[0], ReplyFrame(Taken())) is None


def test_a_put_echoed_with_another_value_or_key_was_not_accepted() -> None:
    for key, value in ((KEY, b"other"), (b"/example/other", b"value"), (KEY, b"")):
        message = answered(PutRaw(key, value, 1), Taken())
        with pytest.raises(InvalidMessage):
            ForeignCodec().read_reply(message, PUT)


def test_a_record_of_another_key_than_asked_is_refused() -> None:
    message = answered(GetRaw.of(b"/example/other"), RawReply(b"value", 1, ()))
    with pytest.raises(InvalidMessage, match="another key"):
        ForeignCodec().read_reply(message, GetRaw.of(KEY))
    put = Message.FromString(ForeignCodec().encode_request(RequestFrame(PUT)))
    put.key = b"/example/other"
    with pytest.raises(InvalidMessage, match="another key"):
        ForeignCodec().read_request(put)


def test_our_own_requests_are_neither_spoken_nor_served() -> None:
    for request in (Pull(0, settled=False), Push(()), Leave(handed=False)):
        assert not ForeignCodec().speaks(request)
        with pytest.raises(InvalidMessage):
            ForeignCodec().read_request(Message.FromString(Codec().encode_request(RequestFrame(request))))
    assert not Codec().speaks(GetRaw.of(KEY))


@pytest.mark.parametrize("key", [b"", bytes(81)])
def test_keys_of_provider_records_have_1_to_80_bytes(key: bytes) -> None:
    for kind in (Message.ADD_PROVIDER, Message.GET_PROVIDERS):
        with pytest.raises(InvalidMessage, match="1 to 80 bytes"):
            ForeignCodec().read_request(Message(type=kind, key=key))
