"""The messages about records and servers, as every DHT writes and reads them."""

from __future__ import annotations

from typing import Any

import pytest
from peerstack_chord.codec import Codec as ChordCodec
from peerstack_kad.codec import Codec as KademliaCodec

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.pb.peers_pb2 import Peer
from peerstack.dht.records import Slot
from peerstack.dht.replica.contacts import Contact, key_bytes, position_of
from peerstack.dht.replica.limits import MAX_MESSAGE_BYTES, MAX_PAGE_RECORDS
from peerstack.dht.replica.messages import (
    Done,
    FindNode,
    GetReply,
    GetValue,
    Leave,
    Malformed,
    NodesReply,
    Offer,
    OfferAnswer,
    Offered,
    OfferReply,
    Ping,
    Pull,
    PullReply,
    Push,
    PushReply,
    PutReply,
    PutValue,
    Reply,
    Request,
    Standing,
)
from peerstack.dht.store import Outcome, Status
from peerstack.errors import InvalidMessage
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack.rpc.data_messages import Kind
from peerstack.testing.store_conformance import NOW, RecordMaker


@pytest.fixture(params=[KademliaCodec, ChordCodec], ids=["kad", "chord"])
def make(request: pytest.FixtureRequest) -> Any:
    """The codec of one DHT."""
    return request.param


ALICE = RecordMaker.from_number(1)
SLOT = Slot("kv", b"key", b"sub")
RECORD = ALICE.put(SLOT)
NEWER = ALICE.put(SLOT, b"newer", at=NOW + 1)
DEAD = ALICE.delete(Slot("kv", b"key", b"other"))
WIRE = RECORD.wire_key
CURSOR = (RECORD.position, b"sub")
OFFER = Offer(
    (
        Offered(RECORD.position, b"sub", RECORD.digest, whole=True, members=bytes(8)),
        Offered(bytes(32), b"", bytes(32), whole=False, members=bytes(range(8))),
    )
)


def contact(number: int, *addresses: bytes) -> Contact:
    return Contact.of(PeerId(b"\x00\x02" + number.to_bytes(2, "big")), addresses)


PEERS = tuple(contact(number, b"\x04\x7f\x00\x00\x01\x06\x10\x00") for number in range(3))
STANDING = Standing(authoritative=True, responsible=PEERS)


def same(a: object, b: object) -> bool:
    """Whether two messages say the same; contacts are equal by who and where."""
    return shown(a) == shown(b)


def shown(what: object) -> object:
    if isinstance(what, Contact):
        return what.peer_id, what.key, what.addresses
    if isinstance(what, tuple | list):
        return [shown(each) for each in what]
    if isinstance(what, Standing | NodesReply | GetReply | PutReply | PullReply | PushReply):
        return type(what), [shown(getattr(what, name)) for name in what.__slots__]
    return what


@pytest.mark.parametrize(
    "request_",
    [
        Ping(),
        FindNode.of(b"/kv/key"),
        FindNode(b"", position_of(b"anywhere")),
        GetValue(WIRE, position_of(WIRE), b""),
        GetValue(WIRE, position_of(WIRE), None),
        PutValue(RECORD),
        PutValue(DEAD),
        Pull(0, settled=False),
        Pull(256, settled=True, after=CURSOR),
        Pull(3, settled=True, after=(RECORD.position, b"")),
        Push((RECORD, DEAD)),
        Push(()),
        OFFER,
        Offer(()),
        Leave(handed=True),
        Leave(handed=False),
    ],
)
def test_requests_come_back_as_they_went(make: Any, request_: Request) -> None:
    codec = make()
    frame = codec.decode_request(codec.encode_request(RequestFrame(request_, 77)))
    assert frame.request == request_
    assert frame.request_id == 77
    assert codec.decode_request(codec.encode_request(RequestFrame(request_))).request_id is None


def test_who_leaves_names_those_who_remain(make: Any) -> None:
    request = make().decode_request(make().encode_request(RequestFrame(Leave(True, PEERS)))).request
    assert isinstance(request, Leave)
    assert request.handed
    assert [(each.peer_id, each.addresses) for each in request.remaining] == [(each.peer_id, each.addresses) for each in PEERS]


FIND, GET, PUT = FindNode.of(b"k"), GetValue(WIRE, position_of(WIRE)), PutValue(RECORD)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (Ping(), Done()),
        (Leave(handed=True), Done()),
        (FIND, NodesReply(PEERS)),
        (FIND, NodesReply(())),
        (GET, GetReply((), (contact(7),), STANDING)),
        (GET, GetReply((RECORD,), PEERS, Standing(authoritative=False))),
        (GET, GetReply((DEAD, RECORD), (), STANDING)),
        (GET, GetReply((), (), Standing(authoritative=False), Refusal(RefusalReason.INVALID, "why"))),
        (PUT, PutReply(None, STANDING)),
        (PUT, PutReply(Refusal(RefusalReason.FULL, "no room"), STANDING)),
        (PUT, PutReply(Refusal(RefusalReason.SUPERSEDED, "", NEWER), STANDING)),
        (PUT, PutReply(Refusal(RefusalReason.NOT_RESPONSIBLE), STANDING)),
        (Pull(0, settled=False), PullReply((RECORD, DEAD), STANDING, True, CURSOR, (0.0, 1.5, 3600.0), digest=bytes(range(32)))),
        (Pull(0, settled=False), PullReply((), STANDING, known=False)),
        (Push((RECORD, DEAD)), PushReply((Outcome(Status.SUPERSEDED, NEWER), Outcome(Status.FORGOTTEN)))),
        (Push((RECORD,)), PushReply((Outcome(Status.STORED),))),
        (OFFER, OfferReply((OfferAnswer.CONFIRMED, OfferAnswer.DIFFERENT))),
        (Offer(()), OfferReply(())),
        (Pull(0, settled=False), PullReply((), Standing(authoritative=False), known=True, refusal=Refusal(RefusalReason.FAILED, "disk"))),
    ],
)
def test_replies_come_back_as_they_went(make: Any, request_: Request, reply: Reply) -> None:
    codec = make()
    frame = codec.decode_reply(codec.encode_reply(ReplyFrame(reply, 5, b"parameters")), request_)
    assert same(frame.reply, reply)
    assert (frame.request_id, frame.parameters) == (5, b"parameters")


def test_offers_of_other_sizes_and_answers_that_do_not_fit_are_refused(make: Any) -> None:
    for position, subkey, digest, members in ((31, 0, 32, 8), (32, 0, 0, 8), (32, 0, 32, 9), (32, 129, 32, 8)):
        entry = {"position": bytes(position), "subkey": bytes(subkey), "digest": bytes(digest), "members": bytes(members)}
        with pytest.raises(InvalidMessage):
            make().decode_request(make().message_type(type=Kind.OFFER, offered=[entry]).SerializeToString())
    many = [{"position": bytes(32), "digest": bytes(32), "members": bytes(8)}] * (MAX_PAGE_RECORDS + 1)
    with pytest.raises(InvalidMessage, match="over the limit"):
        make().decode_request(make().message_type(type=Kind.OFFER, offered=many).SerializeToString())
    for answers in (b"", b"\x01", b"\x01\x01\x01", b"\x01\x03"):
        with pytest.raises(InvalidMessage):
            make().decode_reply(make().message_type(type=Kind.OFFER, answers=answers).SerializeToString(), OFFER)


def test_an_absent_type_is_put_value(make: Any) -> None:
    data = make().encode_request(RequestFrame(PutValue(RECORD)))
    assert make().message_type.FromString(data).type == Kind.PUT_VALUE
    assert data[:1] != b"\x08"


@pytest.mark.parametrize("data", [b"\xff", b"\x08", bytes(100), b"\x08\x63"])
def test_what_is_no_request_is_refused(make: Any, data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        make().decode_request(data)


def test_what_is_too_long_is_refused_unparsed(make: Any) -> None:
    with pytest.raises(InvalidMessage, match="over the limit"):
        make().decode_request(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(InvalidMessage, match="key"):
        make().decode_request(make().message_type(type=Kind.GET_VALUE, key=bytes(257)).SerializeToString())
    records = make().message_type(type=Kind.PUSH, records=[b""] * (MAX_PAGE_RECORDS + 1))
    with pytest.raises(InvalidMessage, match="records"):
        make().decode_request(records.SerializeToString())


def test_a_forged_record_is_refused_by_name_and_its_request_can_still_be_answered(make: Any) -> None:
    message = make().message_type.FromString(make().encode_request(RequestFrame(PutValue(RECORD), 9)))
    message.record.value = RECORD.encode()[:-3] + b"bad"
    frame = make().decode_request(message.SerializeToString())
    assert isinstance(frame.request, Malformed)
    assert frame.request.refusal.reason is RefusalReason.INVALID
    assert frame.request_id == 9


def test_a_record_under_another_key_is_refused(make: Any) -> None:
    message = make().message_type.FromString(make().encode_request(RequestFrame(PutValue(RECORD))))
    message.key = b"/kv/other"
    assert isinstance(make().decode_request(message.SerializeToString()).request, Malformed)


@pytest.mark.parametrize("subkey", [b"", b"else"])
def test_an_answer_about_another_slot_is_refused(make: Any, subkey: bytes) -> None:
    data = make().encode_reply(ReplyFrame(GetReply((RECORD,), (), STANDING)))
    with pytest.raises(InvalidMessage):
        make().decode_reply(data, GetValue(WIRE, 0, subkey))
    with pytest.raises(InvalidMessage):
        make().decode_reply(data, GetValue(b"/kv/other", 0, None))


def test_a_greater_record_of_another_slot_is_refused(make: Any) -> None:
    reply = PutReply(Refusal(RefusalReason.SUPERSEDED, "", DEAD), STANDING)
    with pytest.raises(InvalidMessage):
        make().decode_reply(make().encode_reply(ReplyFrame(reply)), PUT)


def test_a_page_that_does_not_lead_on_is_refused(make: Any) -> None:
    data = make().encode_reply(ReplyFrame(PullReply((), STANDING, known=False, next=CURSOR)))
    with pytest.raises(InvalidMessage, match="lead on"):
        make().decode_reply(data, Pull(0, settled=False, after=CURSOR))


def test_outcomes_have_to_match_what_was_pushed(make: Any) -> None:
    data = make().encode_reply(ReplyFrame(PushReply((Outcome(Status.STORED),))))
    with pytest.raises(InvalidMessage):
        make().decode_reply(data, Push((RECORD, DEAD)))


def test_nobody_is_named_twice_in_one_answer(make: Any) -> None:
    other = contact(7)
    reply = make().decode_reply(make().encode_reply(ReplyFrame(GetReply((), (*PEERS, other), STANDING))), GET).reply
    assert same(reply, GetReply((), (other,), STANDING))


def test_the_same_peers_are_the_same_objects(make: Any) -> None:
    codec = make()
    data = codec.encode_reply(ReplyFrame(NodesReply(PEERS)))
    first, second = (codec.decode_reply(data, FIND).reply for _ in range(2))
    assert isinstance(first, NodesReply)
    assert isinstance(second, NodesReply)
    assert [id(each) for each in first.closer] == [id(each) for each in second.closer]


def test_entries_that_are_no_peers_are_passed_over_and_the_rest_is_bounded(make: Any) -> None:
    message = make().message_type(type=Kind.FIND_NODE)
    message.closerPeers.extend([b"no message", Peer(id=b"nobody").SerializeToString()])
    for number in range(150):
        addresses = [bytes(2000), *(b"\x04\x7f\x00\x00\x01" for _ in range(50))]
        message.closerPeers.append(Peer(id=b"\x00\x02" + number.to_bytes(2, "big"), addrs=addresses).SerializeToString())
    reply = make().decode_reply(message.SerializeToString(), FIND).reply
    assert isinstance(reply, NodesReply)
    assert len(reply.closer) == make.max_closer
    assert all(len(each.addresses) <= 16 for each in reply.closer)
    assert all(len(address) <= 1024 for each in reply.closer for address in each.addresses)


def test_statuses_we_do_not_know_are_failures(make: Any) -> None:
    message = make().message_type(type=Kind.PUT_VALUE)
    message.status = 99
    reply = make().decode_reply(message.SerializeToString(), PUT).reply
    assert isinstance(reply, PutReply)
    assert reply.refusal is not None
    assert reply.refusal.reason is RefusalReason.FAILED


def test_a_position_has_32_bytes(make: Any) -> None:
    with pytest.raises(InvalidMessage):
        make().decode_request(make().message_type(type=Kind.FIND_NODE, position=key_bytes(1)[:-1]).SerializeToString())


def test_signatures_are_checked_by_the_verifier_given(make: Any) -> None:
    seen: list[bytes] = []

    def verifier(_writer: object, message: bytes, _signature: bytes) -> bool:
        seen.append(message)
        return True

    make(verifier).decode_request(make().encode_request(RequestFrame(PutValue(RECORD))))
    assert len(seen) == 1
