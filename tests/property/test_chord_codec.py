"""Whatever a peer sends on Chord's id, reading it ends in a message or in `InvalidMessage`; what we send comes back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from peerstack_chord.codec import Codec
from peerstack_chord.messages import (
    Depart,
    Entry,
    ExchangeMap,
    GetState,
    Join,
    JoinReply,
    MapReply,
    Meet,
    Notify,
    StateReply,
    Status,
    Verdict,
)
from peerstack_chord.pb.chord_pb2 import Message
from peerstack_chord.place import MAX_INCARNATION
from peerstack_chord.ring import Member, Mode, State

from peerstack.dht.pb.peers_pb2 import Peer
from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.dht.replica.messages import FindNode, Malformed, Ping, Pull, Reply, Request
from peerstack.errors import InvalidMessage
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame

CONTACTS = st.builds(
    lambda digest, addresses: Contact.of(PeerId(b"\x12\x20" + digest), tuple(addresses)),
    st.binary(min_size=32, max_size=32),
    st.lists(st.binary(min_size=1, max_size=9), max_size=3),
)
MEMBERS = st.builds(Member, CONTACTS, st.integers(0, MAX_INCARNATION - 1))
ERAS = st.integers(0, MAX_INCARNATION - 1)
ENTRIES = st.lists(st.builds(Entry, MEMBERS, st.sampled_from(Status)), max_size=4).map(tuple)
DIGESTS = st.sampled_from([b"", bytes(range(32))])
LISTS = st.lists(MEMBERS, max_size=4).map(tuple)
STATES = st.builds(State, MEMBERS, st.sampled_from(Mode), ERAS, st.one_of(st.none(), MEMBERS), LISTS, st.booleans())
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(GetState),
    st.builds(Join, MEMBERS),
    st.builds(Notify, MEMBERS),
    st.builds(ExchangeMap, ERAS, ENTRIES, DIGESTS),
    st.builds(Depart, MEMBERS, st.one_of(st.none(), MEMBERS), LISTS),
    st.builds(Meet, CONTACTS),
    st.builds(Pull, st.integers(0, (1 << KEY_BITS) - 1), st.booleans()),
)
EXCHANGES: st.SearchStrategy[tuple[Request, Reply]] = st.one_of(
    st.tuples(st.builds(GetState), st.builds(StateReply, STATES)),
    st.tuples(st.builds(Join, MEMBERS), st.builds(JoinReply, st.sampled_from(Verdict), STATES, ENTRIES)),
    st.tuples(st.builds(ExchangeMap, ERAS, ENTRIES, DIGESTS), st.builds(MapReply, st.sampled_from(Mode), ERAS, ENTRIES, DIGESTS)),
)

PEER = st.builds(lambda id_, addrs: Peer(id=id_, addrs=addrs).SerializeToString(), st.binary(max_size=40), st.lists(st.binary(max_size=9)))
PEER_BYTES = st.one_of(PEER, CONTACTS.map(lambda contact: Peer(id=contact.peer_id.to_bytes()).SerializeToString()), st.binary(max_size=20))
MEMBER_FIELDS = st.fixed_dictionaries({}, optional={"peer": PEER_BYTES, "incarnation": st.integers(0, 2**64 - 1)})
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([0, 1, 4, 5, 6, *range(1000, 1004), *range(1100, 1108)]),
        "key": st.binary(max_size=8),
        "closerPeers": st.lists(PEER_BYTES, max_size=3),
        "requestId": st.integers(0, 2**64 - 1),
        "position": st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
        "member": MEMBER_FIELDS,
        "mode": st.integers(-1, 4),
        "era": st.integers(0, 2**64 - 1),
        "predecessor": MEMBER_FIELDS,
        "successors": st.lists(MEMBER_FIELDS, max_size=3),
        "verdict": st.integers(-1, 5),
        "entries": st.lists(st.fixed_dictionaries({}, optional={"member": MEMBER_FIELDS, "status": st.integers(-1, 5)}), max_size=3),
        "contact": PEER_BYTES,
        "region": st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
    },
)


def serialized(fields: dict[str, Any]) -> bytes:
    make: Any = Message
    data: bytes = make(**fields).SerializeToString()
    return data


def shown(what: object) -> object:
    if isinstance(what, Contact):
        return what.peer_id, what.key, what.addresses
    if isinstance(what, tuple):
        return [shown(each) for each in what]
    if isinstance(what, Member | State | Entry | Request | Reply):
        names = [name for kind in type(what).__mro__ for name in getattr(kind, "__slots__", ())]
        return type(what), [shown(getattr(what, name)) for name in names]
    return what


@given(REQUESTS, st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_requests_come_back_as_they_went(request: Request, request_id: int | None) -> None:
    frame = Codec().decode_request(Codec().encode_request(RequestFrame(request, request_id)))
    assert (shown(frame.request), frame.request_id) == (shown(request), request_id)


@given(EXCHANGES)
def test_replies_come_back_as_they_went(exchange: tuple[Request, Reply]) -> None:
    request, reply = exchange
    assert shown(Codec().decode_reply(Codec().encode_reply(ReplyFrame(reply)), request).reply) == shown(reply)


@given(st.one_of(st.binary(max_size=200), FIELDS.map(serialized)), st.one_of(REQUESTS, st.sampled_from([Ping(), FindNode.of(b"key")])))
def test_reading_ends_in_a_message_or_an_invalid_one(data: bytes, request: Request) -> None:
    codec = Codec()
    with suppress(InvalidMessage):
        codec.decode_reply(data, request)
    with suppress(InvalidMessage):
        frame = codec.decode_request(data)
        assert isinstance(frame.request, Malformed) or codec.encode_request(frame)  # what was read can be sent on


@given(EXCHANGES, st.data())
def test_a_message_with_one_byte_changed_never_raises_anything_else(exchange: tuple[Request, Reply], data: st.DataObject) -> None:
    request, reply = exchange
    for encoded in (bytearray(Codec().encode_request(RequestFrame(request, 1))), bytearray(Codec().encode_reply(ReplyFrame(reply, 1)))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
        with suppress(InvalidMessage):
            Codec().decode_request(bytes(encoded))
        with suppress(InvalidMessage):
            Codec().decode_reply(bytes(encoded), request)
