from __future__ import annotations

import pytest
from peerstack_kad.codec import Codec
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, Taken
from peerstack_kad.pb.kad_pb2 import Message

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Pull, Reply, Request
from peerstack.errors import InvalidMessage
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame


def contact(number: int) -> Contact:
    return Contact.of(PeerId(b"\x00\x02" + number.to_bytes(2, "big")), (b"\x04\x7f\x00\x00\x01\x06\x10\x00",))


PEERS = tuple(contact(number) for number in range(3))


def same(a: object, b: object) -> bool:
    """Whether two messages say the same; contacts are equal by who and where."""
    return shown(a) == shown(b)


def shown(what: object) -> object:
    if isinstance(what, Contact):
        return what.peer_id, what.key, what.addresses
    if isinstance(what, tuple | list):
        return [shown(each) for each in what]
    if isinstance(what, ProvidersReply | Taken | AddProvider):
        return type(what), [shown(getattr(what, name)) for name in what.__slots__]
    return what


def test_a_region_is_a_prefix_of_up_to_256_bits() -> None:
    for prefix in (0, 256):
        request = Pull(prefix, settled=True)
        assert Codec().decode_request(Codec().encode_request(RequestFrame(request))).request == request
    with pytest.raises(InvalidMessage, match="prefix"):
        Codec().decode_request(Message(type=Message.PULL, prefix=257).SerializeToString())


def test_requests_about_providers_come_back_as_they_went() -> None:
    request = GetProviders.of(b"key")
    assert Codec().decode_request(Codec().encode_request(RequestFrame(request, 77))) == RequestFrame(request, 77)


def test_many_keys_are_announced_at_once() -> None:
    request = AddProvider((b"one", b"two", bytes(80)), PEERS[:1])
    assert same(Codec().decode_request(Codec().encode_request(RequestFrame(request, 3))).request, request)
    for keys in ((), (b"",), (bytes(81),), (b"key",) * 1001):
        with pytest.raises(InvalidMessage, match="1 to 80 bytes"):
            Codec().decode_request(Message(type=Message.ADD_PROVIDER, keys=keys).SerializeToString())


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (GetProviders.of(b"key"), ProvidersReply(PEERS[:1], PEERS[1:])),
        (AddProvider((b"key",), PEERS[:1]), Taken()),
        (AddProvider((b"key",), PEERS[:1]), Taken(Refusal(RefusalReason.FULL, "no room"))),
    ],
)
def test_replies_about_providers_come_back_as_they_went(request_: Request, reply: Reply) -> None:
    codec = Codec()
    frame = codec.decode_reply(codec.encode_reply(ReplyFrame(reply, 5, b"parameters")), request_)
    assert same(frame.reply, reply)
    assert (frame.request_id, frame.parameters) == (5, b"parameters")


NO_KEYS = [Message(type=kind).SerializeToString() for kind in (Message.ADD_PROVIDER, Message.GET_PROVIDERS)]


@pytest.mark.parametrize("data", [b"\x08\x63", *NO_KEYS])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        Codec().decode_request(data)


def test_raw_values_are_not_spoken_of() -> None:
    assert not Codec().speaks(GetRaw.of(b"/ns/key"))
    assert Codec().speaks(GetProviders.of(b"key"))
