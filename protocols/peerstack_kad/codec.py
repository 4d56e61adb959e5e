"""Requests and replies as protobuf messages on our own protocol ids: libp2p's, with fields of our own. `foreign_codec` is without.

Nothing here trusts its input: counts and sizes are bounded, an entry of a list that is no peer is passed over, and what is no message is
`InvalidMessage`. Replies name up to 40 peers: each peer's encoding is kept with its contact and copied, which more than halves the cost.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.decoder import RecordDecoder
from peerstack.dht.records import Record, Verifier, verify_signature
from peerstack.dht.replica.contacts import KEY_BITS, key_bytes, position_of
from peerstack.dht.replica.limits import MAX_CLOSER, MAX_NAMED, MAX_PAGE_RECORDS
from peerstack.dht.replica.messages import (
    Done,
    FindNode,
    GetReply,
    GetValue,
    Leave,
    Malformed,
    NodesReply,
    Offer,
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
from peerstack.dht.replica.peers import ContactReader, encode_peers
from peerstack.dht.store.contract import Cursor, Outcome, Status
from peerstack.errors import InvalidMessage, InvalidRecord
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack_kad.codec_offers import read_answers, read_offered, write_offered
from peerstack_kad.codec_parts import (
    CLOSER,
    MAX_PROVIDERS,
    PROVIDER,
    RESPONSIBLE,
    check_key,
    parse_message,
    read_outcome,
    read_position,
    read_provided,
    read_refusal,
    status_of,
    write_record,
    write_refusal,
)
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, PutRaw, Taken

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["Codec"]

_MAX_SILENT_MS: Final = (1 << 32) - 1
_NO_CURSOR: Final[tuple[bytes, bytes | None]] = (b"", None)


class Codec:
    """Encodes and decodes for one host.

    Args:
        verifier: Checks signatures of records that arrive.
    """

    ordered = False

    @property
    def message_type(self) -> type[Message]:
        """See `peerstack.rpc.codec.Codec.message_type`."""
        from peerstack_kad.pb.kad_pb2 import Message

        return Message

    def __init__(self, verifier: Verifier = verify_signature) -> None:
        self._records = RecordDecoder(verifier)
        self._contacts = ContactReader()
        self._last_put: tuple[Record, bytes] | None = None

    def encode_request(self, frame: RequestFrame) -> bytes:
        """Write a request."""
        from peerstack_kad.pb.kad_pb2 import Message

        peers = b""
        request = frame.request
        match request:
            case FindNode(key=b""):
                message = Message(type=Message.FIND_NODE, position=key_bytes(request.position))
            case FindNode():
                message = Message(type=Message.FIND_NODE, key=request.key)
            case GetValue():
                message = Message(type=Message.GET_VALUE, key=request.key, subkey=request.subkey)
            case PutValue():
                return self._encode_put(request.record, frame.request_id)
            case Ping():
                message = Message(type=Message.PING)
            case Pull():
                position, subkey = request.after or _NO_CURSOR
                message = Message(type=Message.PULL, prefix=request.region, settled=request.settled, position=position, subkey=subkey)
            case Push():
                message = Message(type=Message.PUSH, records=[record.encode() for record in request.records])
            case Offer():
                message = Message(type=Message.OFFER, offered=write_offered(request.entries))
            case Leave():
                message = Message(type=Message.LEAVE, settled=request.handed)
                peers = encode_peers(RESPONSIBLE, request.remaining)
            case AddProvider():
                message = Message(type=Message.ADD_PROVIDER, keys=request.keys)
                peers = encode_peers(PROVIDER, request.providers)
            case GetProviders():
                message = Message(type=Message.GET_PROVIDERS, key=request.key)
            case _:
                raise ValueError(f"{type(request).__name__} is no request of our own ids")
        if frame.request_id is not None:
            message.requestId = frame.request_id
        return message.SerializeToString() + peers

    def _encode_put(self, record: Record, request_id: int | None) -> bytes:
        """A put sends one record to many: all but the id is written once."""
        from peerstack_kad.pb.kad_pb2 import Message

        if self._last_put is None or self._last_put[0] is not record:
            message = Message(type=Message.PUT_VALUE)
            write_record(message, record)
            self._last_put = record, message.SerializeToString()
        encoded = self._last_put[1]
        return encoded if request_id is None else encoded + Message(requestId=request_id).SerializeToString()

    def decode_request(self, data: bytes) -> RequestFrame:
        """Read a request.

        Raises:
            InvalidMessage: It is none, or of a type that is not served.
        """
        return self.read_request(parse_message(data))

    def read_request(self, message: Message) -> RequestFrame:
        """As `decode_request`, for a message parsed already."""
        request_id = message.requestId if message.HasField("requestId") else None
        try:
            return RequestFrame(self._read_request(message), request_id)
        except InvalidRecord as error:
            return RequestFrame(Malformed(Refusal(RefusalReason.INVALID, str(error))), request_id)

    def encode_reply(self, frame: ReplyFrame) -> bytes:
        """Write a reply."""
        from peerstack_kad.pb.kad_pb2 import Message

        peers = b""
        reply = frame.reply
        match reply:
            case NodesReply():
                message = Message(type=Message.FIND_NODE)
                peers = encode_peers(CLOSER, reply.closer)
            case GetReply():
                message = Message(type=Message.GET_VALUE)
                self._write_records(message, reply.records)
                write_refusal(message, reply.refusal)
                named = {contact.key for contact in reply.standing.responsible}
                closer = [contact for contact in reply.closer if contact.key not in named]
                peers = encode_peers(CLOSER, closer) + self._write_standing(message, reply.standing)
            case PutReply():
                message = Message(type=Message.PUT_VALUE)
                write_refusal(message, reply.refusal)
                peers = self._write_standing(message, reply.standing)
            case PullReply():
                position, subkey = reply.next or _NO_CURSOR
                message = Message(type=Message.PULL, known=reply.known, position=position, subkey=subkey)
                message.records.extend(record.encode() for record in reply.records)
                message.silentMs.extend(min(_MAX_SILENT_MS, round(seconds * 1000)) for seconds in reply.silent_s)
                write_refusal(message, reply.refusal)
                peers = self._write_standing(message, reply.standing)
            case PushReply():
                greater = [o.record.encode() for o in reply.outcomes if o.status is Status.SUPERSEDED and o.record is not None]
                message = Message(type=Message.PUSH, outcomes=[status_of(o) for o in reply.outcomes], records=greater)
            case OfferReply():
                message = Message(type=Message.OFFER, answers=bytes(reply.answers))
            case Done():
                message = Message(type=Message.PING)
            case Taken():
                message = Message(type=Message.ADD_PROVIDER)
                write_refusal(message, reply.refusal)
            case ProvidersReply():
                message = Message(type=Message.GET_PROVIDERS)
                peers = encode_peers(CLOSER, reply.closer) + encode_peers(PROVIDER, reply.providers)
            case _:
                raise ValueError(f"{type(reply).__name__} is no reply on our own ids")
        if frame.request_id is not None:
            message.requestId = frame.request_id
        if frame.parameters:
            message.parameters = frame.parameters
        return message.SerializeToString() + peers

    def encode_answer(self, request: Request, frame: ReplyFrame) -> bytes | None:
        """See `peerstack.rpc.codec.Codec.encode_answer`."""
        return self.encode_reply(frame)

    def speaks(self, request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.speaks`."""
        return not isinstance(request, GetRaw | PutRaw)

    def is_write(self, _request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.is_write`: with ids nothing waits for a write."""
        return False

    def announcement(self, _request: Request) -> None:
        """See `peerstack.rpc.codec.Codec.announcement`: everything is answered."""

    def decode_reply(self, data: bytes, request: Request) -> ReplyFrame:
        """Read the answer to `request`.

        Raises:
            InvalidMessage: It is none, or none to that request.
        """
        return self.read_reply(parse_message(data), request)

    def read_reply(self, message: Message, request: Request) -> ReplyFrame:
        """As `decode_reply`, for a message parsed already."""
        request_id = message.requestId if message.HasField("requestId") else None
        try:
            return ReplyFrame(self._read_reply(message, request), request_id, message.parameters)
        except InvalidRecord as error:
            raise InvalidMessage(f"an answer carries an invalid record: {error}") from error

    def _read_request(self, message: Message) -> Request:
        from peerstack_kad.pb.kad_pb2 import Message as Types

        check_key(message.key)
        kind = message.type
        if kind == Types.FIND_NODE:
            return FindNode.of(message.key) if message.key else FindNode(b"", read_position(message.position))
        if kind == Types.GET_VALUE:
            return GetValue(message.key, position_of(message.key), message.subkey if message.HasField("subkey") else None)
        if kind == Types.PUT_VALUE:
            return PutValue(self._read_record(message, message.key))
        if kind == Types.PING:
            return Ping()
        if kind == Types.PULL and message.prefix <= KEY_BITS:
            return Pull(message.prefix, message.settled, _read_cursor(message))
        if kind == Types.PUSH:
            return Push(self._decode_records(message.records))
        if kind == Types.OFFER:
            return Offer(read_offered(message.offered, MAX_PAGE_RECORDS))
        if kind == Types.LEAVE:
            return Leave(message.settled, self._contacts.read_all(message.responsible, MAX_NAMED))
        if kind == Types.ADD_PROVIDER:
            return AddProvider(read_provided(message.keys), self._contacts.read_all(message.providerPeers, MAX_CLOSER))
        if kind == Types.GET_PROVIDERS:
            return GetProviders.of(*read_provided([message.key]))
        raise InvalidMessage(f"a request of type {kind} is not served")

    def _read_reply(self, message: Message, request: Request) -> Reply:
        match request:
            case FindNode():
                return NodesReply(self._contacts.read_all(message.closerPeers, MAX_CLOSER))
            case GetValue():
                return self._read_get_reply(message, request)
            case PutValue():
                greater = self._read_record(message, request.record.wire_key) if message.HasField("record") else None
                if greater is not None and greater.slot != request.record.slot:
                    raise InvalidMessage("a greater record of another slot")
                return PutReply(read_refusal(message, greater), self._read_standing(message))
            case Pull():
                return self._read_page(message, request)
            case Push():
                return PushReply(self._read_outcomes(message, request.records))
            case Offer():
                return OfferReply(read_answers(message.answers, len(request.entries)))
            case Ping() | Leave():
                return Done()
            case GetProviders():
                providers = self._contacts.read_all(message.providerPeers, MAX_PROVIDERS)
                return ProvidersReply(providers, self._contacts.read_all(message.closerPeers, MAX_CLOSER))
            case AddProvider():
                return Taken(read_refusal(message))
        raise ValueError(f"{type(request).__name__} is never sent")

    def _read_get_reply(self, message: Message, request: GetValue) -> GetReply:
        if message.HasField("record"):
            records: tuple[Record, ...] = (self._read_record(message, request.key),)
        else:
            records = self._decode_records(message.records)
        if any(record.wire_key != request.key or request.subkey not in (None, record.subkey) for record in records):
            raise InvalidMessage("an answer carries a record of another slot")
        closer = self._contacts.read_all(message.closerPeers, MAX_CLOSER)
        return GetReply(records, closer, self._read_standing(message), read_refusal(message))

    def _read_record(self, message: Message, key: bytes) -> Record:
        record = self._records.decode(message.record.value)
        if record.wire_key != key or message.record.key not in (b"", key):
            raise InvalidRecord("the record is of another key than the message")
        return record

    def _write_records(self, message: Message, records: Sequence[Record]) -> None:
        if len(records) == 1:
            write_record(message, records[0])
        else:
            message.records.extend(record.encode() for record in records)

    def _decode_records(self, encoded: Sequence[bytes]) -> tuple[Record, ...]:
        if len(encoded) > MAX_PAGE_RECORDS:
            raise InvalidMessage(f"{len(encoded)} records in one message are over the limit of {MAX_PAGE_RECORDS}")
        return tuple(map(self._records.decode, encoded))

    def _read_page(self, message: Message, request: Pull) -> PullReply:
        following = _read_cursor(message)
        if following is not None and request.after is not None and following <= request.after:
            raise InvalidMessage("a page that does not lead on")
        silent = tuple(milliseconds / 1000 for milliseconds in message.silentMs[:MAX_NAMED])
        records, refusal = self._decode_records(message.records), read_refusal(message)
        return PullReply(records, self._read_standing(message), message.known, following, silent, refusal)

    def _read_outcomes(self, message: Message, sent: Sequence[Record]) -> tuple[Outcome, ...]:
        if len(message.outcomes) != len(sent):
            raise InvalidMessage(f"{len(message.outcomes)} outcomes for {len(sent)} records")
        greater = {record.slot: record for record in self._decode_records(message.records)}
        return tuple(Outcome(read_outcome(number), greater.get(record.slot)) for number, record in zip(message.outcomes, sent, strict=True))

    def _write_standing(self, message: Message, standing: Standing) -> bytes:
        message.authoritative = standing.authoritative
        return encode_peers(RESPONSIBLE, standing.responsible)

    def _read_standing(self, message: Message) -> Standing:
        return Standing(message.authoritative, self._contacts.read_all(message.responsible, MAX_NAMED))


def _read_cursor(message: Message) -> Cursor | None:
    return (key_bytes(read_position(message.position)), message.subkey) if message.HasField("subkey") else None
