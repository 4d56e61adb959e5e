"""Chord's requests and replies as protobuf messages. Those about records and servers are `peerstack.rpc.data_codec`'s.

Where a member stands is never read from a message: it follows from the peer id. A list that cannot be read is not read in part, as lists of
servers are: a successor list with a gap, or a map that says less than it was sent with, would be a lie about the ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peerstack.dht.records import Verifier, verify_signature
from peerstack.dht.replica.contacts import key_bytes
from peerstack.dht.replica.messages import Done, FindNode, Reply, Request
from peerstack.dht.replica.peers import encode_peer
from peerstack.errors import InvalidMessage
from peerstack.rpc.data_codec import DataCodec, Written
from peerstack.rpc.data_messages import Fields
from peerstack.rpc.data_parts import read_position
from peerstack_chord.codec_parts import (
    MAX_MEMBER_BYTES,
    MemberReader,
    read_map_digest,
    read_mode,
    read_verdict,
    write_entries,
    write_member,
    write_state,
)
from peerstack_chord.messages import (
    Depart,
    ExchangeMap,
    GetState,
    Join,
    JoinReply,
    MapReply,
    Meet,
    Notify,
    NotMember,
    StateReply,
)

if TYPE_CHECKING:
    from peerstack_chord.pb.chord_pb2 import Message

__all__ = ["MAX_CLOSER", "Codec"]

MAX_CLOSER: Final = 128
"""Members read of an answer to FIND_NODE: a successor list, and who is on the way."""


class Codec(DataCodec["Message"]):
    """Encodes and decodes for one host."""

    max_closer = MAX_CLOSER

    def __init__(self, verifier: Verifier = verify_signature) -> None:
        super().__init__(verifier)
        self._members = MemberReader(self.contacts)

    @property
    def message_type(self) -> type[Message]:
        """See `peerstack.rpc.codec.Codec.message_type`."""
        from peerstack_chord.pb.chord_pb2 import Message

        return Message

    def _write_region(self, region: int) -> Fields:
        return {"region": key_bytes(region)}

    def _read_region(self, message: Message) -> int:
        return read_position(message.region)

    def _write_own_request(self, request: Request) -> Written:
        from peerstack_chord.pb.chord_pb2 import Message

        match request:
            case GetState():
                return {"type": Message.GET_STATE}, b""
            case Join():
                return {"type": Message.JOIN, "member": write_member(request.member)}, b""
            case Notify():
                return {"type": Message.NOTIFY, "member": write_member(request.member)}, b""
            case ExchangeMap():
                fields = {"era": request.era, "entries": write_entries(request.entries), "digest": request.digest}
                return {"type": Message.EXCHANGE_MAP, **fields}, b""
            case Depart():
                before = None if request.predecessor is None else write_member(request.predecessor)
                fields = {"predecessor": before, "successors": [write_member(member) for member in request.staying]}
                return {"type": Message.DEPART, "member": write_member(request.member), **fields}, b""
            case Meet():
                return {"type": Message.MEET, "contact": encode_peer(request.contact, MAX_MEMBER_BYTES)}, b""
        raise ValueError(f"{type(request).__name__} is no request of Chord's")

    def _read_own_request(self, message: Message) -> Request:
        from peerstack_chord.pb.chord_pb2 import Message as Types

        members, kind = self._members, message.type
        if kind == Types.GET_STATE:
            return GetState()
        if kind == Types.JOIN:
            return Join(members.read(message.member))
        if kind == Types.NOTIFY:
            return Notify(members.read(message.member))
        if kind == Types.EXCHANGE_MAP:
            return ExchangeMap(members.read_era(message), members.read_entries(message), read_map_digest(message.digest))
        if kind == Types.DEPART:
            return Depart(members.read(message.member), members.read_predecessor(message), members.read_successors(message))
        if kind == Types.MEET:
            return Meet(members.read_contact(message.contact))
        raise InvalidMessage(f"a request of type {kind} is not served")

    def _write_own_reply(self, reply: Reply) -> Written:
        from peerstack_chord.pb.chord_pb2 import Message

        match reply:
            case StateReply():
                return {"type": Message.GET_STATE, **write_state(reply.state)}, b""
            case JoinReply():
                fields = write_state(reply.state) | {"verdict": int(reply.verdict), "entries": write_entries(reply.entries)}
                return {"type": Message.JOIN, **fields}, b""
            case MapReply():
                fields = {"mode": int(reply.mode), "era": reply.era, "entries": write_entries(reply.entries), "digest": reply.digest}
                return {"type": Message.EXCHANGE_MAP, **fields}, b""
            case NotMember():
                return {"type": Message.NOT_MEMBER}, b""
        raise ValueError(f"{type(reply).__name__} is no reply of Chord's")

    def _read_reply(self, message: Message, request: Request) -> Reply:
        from peerstack_chord.pb.chord_pb2 import Message as Types

        if message.type != Types.NOT_MEMBER:
            return super()._read_reply(message, request)
        if isinstance(request, FindNode | GetState | Join | Notify | ExchangeMap | Depart | Meet):
            return NotMember()
        raise InvalidMessage(f"NOT_MEMBER is no answer to {type(request).__name__}")

    def _read_own_reply(self, message: Message, request: Request) -> Reply:
        from peerstack_chord.pb.chord_pb2 import Message as Types

        members, kind = self._members, message.type
        match request:
            case GetState() if kind == Types.GET_STATE:
                return StateReply(members.read_state(message))
            case Join() if kind == Types.JOIN:
                return JoinReply(read_verdict(message.verdict), members.read_state(message), members.read_entries(message))
            case ExchangeMap() if kind == Types.EXCHANGE_MAP:
                mode, digest = read_mode(message.mode), read_map_digest(message.digest)
                return MapReply(mode, members.read_era(message), members.read_entries(message), digest)
            case Notify() | Depart() | Meet() if kind == Types.PING:
                return Done()
        raise InvalidMessage(f"an answer of type {kind} is none to {type(request).__name__}")
