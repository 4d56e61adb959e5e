"""The ring's own messages as bytes; those about records are in ``tests/unit/rpc/test_data_codec.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from peerstack_chord.codec import Codec
from peerstack_chord.codec_parts import MAX_ENTRIES, MAX_ERA, MAX_MEMBER_BYTES, MAX_R
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
    NotMember,
    StateReply,
    Status,
    Verdict,
)
from peerstack_chord.pb import chord_pb2
from peerstack_chord.pb.chord_pb2 import Message
from peerstack_chord.place import MAX_INCARNATION
from peerstack_chord.ring import Member, Mode, State

from peerstack.dht.replica.contacts import Contact, key_of, position_of
from peerstack.dht.replica.messages import Done, FindNode, GetValue, Ping, Pull, Reply, Request
from peerstack.errors import InvalidMessage
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame

ADDRESS = b"\x04\x7f\x00\x00\x01\x06\x10\x00"


def member(number: int, incarnation: int = 7, *addresses: bytes) -> Member:
    return Member(Contact.of(PeerId(b"\x00\x02" + number.to_bytes(2, "big")), addresses or (ADDRESS,)), incarnation)


def written(number: int, **changes: Any) -> dict[str, Any]:
    """A member as the fields of its message, some of them changed."""
    return {"peer": chord_pb2.Member.FromString(encoded_member(number)).peer, "incarnation": 7} | changes


def encoded_member(number: int) -> bytes:
    message = Message.FromString(Codec().encode_request(RequestFrame(Join(member(number)))))
    return message.member.SerializeToString()


def shown(what: object) -> object:
    if isinstance(what, Contact):
        return what.peer_id, what.key, what.addresses
    if isinstance(what, tuple | list):
        return [shown(each) for each in what]
    if isinstance(what, Member | State | Entry | Request | Reply):
        names = [name for kind in type(what).__mro__ for name in getattr(kind, "__slots__", ())]
        return type(what), [shown(getattr(what, name)) for name in names]
    return what


A, B, C = member(1), member(2, MAX_INCARNATION - 1), member(3, 0)
STATE = State(A, Mode.RING, MAX_ERA - 1, B, (B, C))
ALONE = State(A, Mode.FORMING, 0, None, ())
ENTRIES = (Entry(A, Status.JOINING), Entry(B, Status.UP), Entry(C, Status.LEAVING), Entry(member(4), Status.GONE))
REQUESTS: list[Request] = [
    GetState(),
    Join(B),
    Notify(C),
    ExchangeMap(3, ENTRIES),
    ExchangeMap(0, ()),
    ExchangeMap(3, (), bytes(range(32))),
    Depart(A, B),
    Depart(A, None, (B, C)),
    Meet(B.contact),
    Pull((1 << 256) - 1, settled=True),
    Pull(0, settled=False),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_come_back_as_they_went(request_: Request) -> None:
    frame = Codec().decode_request(Codec().encode_request(RequestFrame(request_, 77)))
    assert (shown(frame.request), frame.request_id) == (shown(request_), 77)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (GetState(), StateReply(STATE)),
        (GetState(), StateReply(ALONE)),
        (GetState(), StateReply(replace(STATE, leaving=True))),
        *((Join(A), JoinReply(verdict, STATE)) for verdict in Verdict),
        (Join(A), JoinReply(Verdict.FORMING, ALONE, ENTRIES)),
        *((ExchangeMap(1, ENTRIES), MapReply(mode, 2, ENTRIES)) for mode in Mode),
        (ExchangeMap(1, (), bytes(32)), MapReply(Mode.FORMING, 2, (), bytes(range(32)))),
        (Notify(A), Done()),
        (Depart(A, None), Done()),
        (Meet(A.contact), Done()),
        *((request, NotMember()) for request in (*REQUESTS[:9], FindNode.of(b"key"))),
    ],
)
def test_replies_come_back_as_they_went(request_: Request, reply: Reply) -> None:
    frame = Codec().decode_reply(Codec().encode_reply(ReplyFrame(reply, 5, b"parameters")), request_)
    assert (shown(frame.reply), frame.request_id, frame.parameters) == (shown(reply), 5, b"parameters")


def test_modes_verdicts_and_standings_have_the_numbers_of_the_wire() -> None:
    assert {mode.name: mode.value for mode in Mode} == dict(Message.Mode.items())
    assert [verdict.value for verdict in Verdict] == list(Message.Verdict.values())
    assert {status.name: status.value for status in Status} == dict(chord_pb2.Entry.Status.items())


def test_where_a_member_stands_follows_from_its_peer_id_alone() -> None:
    moved = Member(Contact(A.contact.peer_id, 12345, (ADDRESS,)), 7)
    data = Codec().encode_request(RequestFrame(Join(moved)))
    assert (12345).to_bytes(32, "big") not in data
    read = Codec().decode_request(data).request
    assert isinstance(read, Join)
    assert read.member.key == key_of(A.contact.peer_id)


def test_who_has_many_addresses_is_named_with_as_many_as_fit() -> None:
    many = member(1, 7, *(bytes([number]) * 300 for number in range(16)))
    read = Codec().decode_request(Codec().encode_request(RequestFrame(Join(many)))).request
    assert isinstance(read, Join)
    assert read.member.contact.addresses == many.contact.addresses[:3]


def test_the_largest_map_and_state_fit_into_a_message() -> None:
    largest = [member(number, MAX_INCARNATION - 1, *(bytes(110) for _ in range(9))) for number in range(MAX_ENTRIES)]
    request = ExchangeMap(MAX_ERA - 1, tuple(map(Entry, largest)))
    assert shown(Codec().decode_request(Codec().encode_request(RequestFrame(request, 1))).request) == shown(request)
    state = State(A, Mode.RING, MAX_ERA - 1, B, tuple(largest[:MAX_R]))
    reply = JoinReply(Verdict.FORMING, state, request.entries)
    assert shown(Codec().decode_reply(Codec().encode_reply(ReplyFrame(reply, 1)), Join(A)).reply) == shown(reply)


BAD_MEMBERS: list[dict[str, Any]] = [
    {},
    {"incarnation": 7},
    {"peer": b"no message"},
    written(1, incarnation=MAX_INCARNATION),
    written(1, incarnation=(1 << 64) - 1),
    written(1, peer=bytes(MAX_MEMBER_BYTES + 1)),
]


@pytest.mark.parametrize("bad", BAD_MEMBERS)
@pytest.mark.parametrize("kind", [Message.JOIN, Message.NOTIFY, Message.DEPART])
def test_a_request_in_the_name_of_nobody_is_refused(kind: Message.MessageType, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        Codec().decode_request(Message(type=kind, member=bad).SerializeToString())


@pytest.mark.parametrize("bad", BAD_MEMBERS)
def test_a_list_with_one_entry_that_cannot_be_read_is_refused_whole(bad: dict[str, Any]) -> None:
    good = written(2)
    entries = [{"member": good}, {"member": bad}]
    with pytest.raises(InvalidMessage):
        Codec().decode_request(Message(type=Message.EXCHANGE_MAP, entries=entries).SerializeToString())
    with pytest.raises(InvalidMessage):
        Codec().decode_request(Message(type=Message.DEPART, member=good, predecessor=bad).SerializeToString())
    for fields in ({"successors": [good, bad]}, {"predecessor": bad}):
        with pytest.raises(InvalidMessage):
            Codec().decode_reply(Message(type=Message.GET_STATE, member=good, **fields).SerializeToString(), GetState())


@pytest.mark.parametrize(
    "fields",
    [
        {"type": Message.EXCHANGE_MAP, "era": MAX_ERA},
        {"type": Message.EXCHANGE_MAP, "entries": [{"member": written(1)}] * (MAX_ENTRIES + 1)},
        {"type": Message.EXCHANGE_MAP, "entries": [{"member": written(1), "status": 4}]},
        {"type": Message.EXCHANGE_MAP, "digest": bytes(31)},
        {"type": Message.EXCHANGE_MAP, "digest": bytes(33)},
        {"type": Message.MEET},
        {"type": Message.MEET, "contact": b"nobody"},
        {"type": Message.PULL},
        {"type": Message.PULL, "region": bytes(31)},
        {"type": Message.NOT_MEMBER},
        {"type": 1107},
        {"type": Message.FIND_NODE, "position": bytes(31)},
    ],
)
def test_requests_over_the_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        Codec().decode_request(Message(**fields).SerializeToString())


STATE_FIELDS: dict[str, Any] = {"type": Message.GET_STATE, "member": written(1)}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (GetState(), STATE_FIELDS | {"mode": 3}),
        (GetState(), STATE_FIELDS | {"mode": -1}),
        (GetState(), STATE_FIELDS | {"era": MAX_ERA}),
        (GetState(), STATE_FIELDS | {"successors": [written(1)] * (MAX_R + 1)}),
        (GetState(), STATE_FIELDS | {"type": Message.JOIN}),
        (GetState(), {"type": Message.PING}),
        (Join(A), STATE_FIELDS | {"type": Message.JOIN, "verdict": 4}),
        (Join(A), STATE_FIELDS | {"type": Message.JOIN, "entries": [{"member": written(1)}] * (MAX_ENTRIES + 1)}),
        (Join(A), STATE_FIELDS),
        (ExchangeMap(0, ()), {"type": Message.EXCHANGE_MAP, "mode": 9}),
        (ExchangeMap(0, ()), {"type": Message.EXCHANGE_MAP, "digest": bytes(16)}),
        (ExchangeMap(0, ()), {"type": Message.PING}),
        (Notify(A), {"type": Message.GET_STATE}),
        (GetValue(b"/kv/key", position_of(b"/kv/key")), {"type": Message.NOT_MEMBER}),
        (Ping(), {"type": Message.NOT_MEMBER}),
    ],
)
def test_answers_over_the_bounds_or_to_something_else_are_refused(request_: Request, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        Codec().decode_reply(Message(**fields).SerializeToString(), request_)


def test_what_is_not_chords_is_not_written() -> None:
    with pytest.raises(ValueError, match="no request"):
        Codec().encode_request(RequestFrame(Request()))
    with pytest.raises(ValueError, match="no reply"):
        Codec().encode_reply(ReplyFrame(Reply()))
