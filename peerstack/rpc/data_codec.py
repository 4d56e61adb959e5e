"""Messages between the servers of a DHT, as far as they are about records and servers: the same in every plugin. Pure.

Nothing here trusts its input: counts and sizes are bounded, an entry of a list that is no peer is passed over, and what is no message is
`InvalidMessage`. Replies name up to 40 peers: each peer's encoding is kept with its contact and copied, which more than halves the cost.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages, whose types and fields these extend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.decoder import RecordDecoder
from peerstack.dht.records import Record, Verifier, verify_signature
from peerstack.dht.replica.contacts import key_bytes, position_of
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
from peerstack.rpc.data_messages import CLOSER, RESPONSIBLE, DataMessage, Fields, Kind
from peerstack.rpc.data_parts import (
    check_key,
    parse,
    read_answers,
    read_offered,
    read_outcome,
    read_position,
    read_refusal,
    status_of,
    write_offered,
    write_record,
    write_refusal,
)

__all__ = ["DataCodec", "Written"]

MessageT = TypeVar("MessageT", bound=DataMessage)

Written = tuple[Fields, bytes]
"""The fields of a message, and entries of lists of peers, encoded already."""

_MAX_SILENT_MS: Final = (1 << 32) - 1
_NO_CURSOR: Final[tuple[bytes, bytes | None]] = (b"", None)


class DataCodec(ABC, Generic[MessageT]):
    """Encodes and decodes for one host. A DHT adds what it says beside it, and what regions are.

    Args:
        verifier: Checks signatures of records that arrive.

    Attributes:
        contacts: Reads peers.
    """

    ordered = False
    max_closer = MAX_CLOSER
    """Entries read of ``closerPeers``."""

    def __init__(self, verifier: Verifier = verify_signature) -> None:
        self.contacts = ContactReader()
        self._records = RecordDecoder(verifier)
        self._last_put: tuple[Record, bytes] | None = None

    # -- what a DHT adds

    @property
    @abstractmethod
    def message_type(self) -> type[MessageT]:
        """See `peerstack.rpc.codec.Codec.message_type`."""

    @abstractmethod
    def _write_region(self, region: int) -> Fields:
        """The region of a `Pull`."""

    @abstractmethod
    def _read_region(self, message: MessageT) -> int:
        """The region of a `Pull`."""

    @abstractmethod
    def _write_own_request(self, request: Request) -> Written:
        """A request that is none of those all DHTs have."""

    @abstractmethod
    def _read_own_request(self, message: MessageT) -> Request:
        """A request of another type than all DHTs have."""

    @abstractmethod
    def _write_own_reply(self, reply: Reply) -> Written:
        """A reply that is none of those all DHTs have."""

    @abstractmethod
    def _read_own_reply(self, message: MessageT, request: Request) -> Reply:
        """The answer to a request that is none of those all DHTs have."""

    # -- see `peerstack.rpc.codec.Codec`

    def encode_request(self, frame: RequestFrame) -> bytes:
        """Write a request."""
        if isinstance(frame.request, PutValue):
            return self._encode_put(frame.request.record, frame.request_id)
        fields, peers = self._write_request(frame.request)
        return self.message_type(**fields, requestId=frame.request_id).SerializeToString() + peers

    def _encode_put(self, record: Record, request_id: int | None) -> bytes:
        """A put sends one record to many: all but the id is written once."""
        if self._last_put is None or self._last_put[0] is not record:
            message = self.message_type(type=Kind.PUT_VALUE, **write_record(record))
            self._last_put = record, message.SerializeToString()
        encoded = self._last_put[1]
        return encoded if request_id is None else encoded + self.message_type(requestId=request_id).SerializeToString()

    def decode_request(self, data: bytes) -> RequestFrame:
        """Read a request.

        Raises:
            InvalidMessage: It is none, or of a type that is not served.
        """
        return self.read_request(parse(self.message_type, data))

    def read_request(self, message: MessageT) -> RequestFrame:
        """As `decode_request`, for a message parsed already."""
        request_id = message.requestId if message.HasField("requestId") else None
        try:
            return RequestFrame(self._read_request(message), request_id)
        except InvalidRecord as error:
            return RequestFrame(Malformed(Refusal(RefusalReason.INVALID, str(error))), request_id)

    def encode_reply(self, frame: ReplyFrame) -> bytes:
        """Write a reply."""
        fields, peers = self._write_reply(frame.reply)
        return self.message_type(**fields, requestId=frame.request_id, parameters=frame.parameters).SerializeToString() + peers

    def encode_answer(self, request: Request, frame: ReplyFrame) -> bytes | None:
        """See `peerstack.rpc.codec.Codec.encode_answer`."""
        return self.encode_reply(frame)

    def speaks(self, _request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.speaks`."""
        return True

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
        return self.read_reply(parse(self.message_type, data), request)

    def read_reply(self, message: MessageT, request: Request) -> ReplyFrame:
        """As `decode_reply`, for a message parsed already."""
        request_id = message.requestId if message.HasField("requestId") else None
        try:
            return ReplyFrame(self._read_reply(message, request), request_id, message.parameters)
        except InvalidRecord as error:
            raise InvalidMessage(f"an answer carries an invalid record: {error}") from error

    # -- requests

    def _write_request(self, request: Request) -> Written:
        match request:
            case FindNode(key=b""):
                return {"type": Kind.FIND_NODE, "position": key_bytes(request.position)}, b""
            case FindNode():
                return {"type": Kind.FIND_NODE, "key": request.key}, b""
            case GetValue():
                return {"type": Kind.GET_VALUE, "key": request.key, "subkey": request.subkey}, b""
            case Ping():
                return {"type": Kind.PING}, b""
            case Pull():
                fields = self._write_region(request.region) | _write_cursor(request.after)
                return {"type": Kind.PULL, "settled": request.settled, **fields}, b""
            case Push():
                return {"type": Kind.PUSH, "records": [record.encode() for record in request.records]}, b""
            case Offer():
                return {"type": Kind.OFFER, **write_offered(request.entries)}, b""
            case Leave():
                return {"type": Kind.LEAVE, "settled": request.handed}, encode_peers(RESPONSIBLE, request.remaining)
        return self._write_own_request(request)

    def _read_request(self, message: MessageT) -> Request:
        check_key(message.key)
        kind = message.type
        if kind == Kind.FIND_NODE:
            return FindNode.of(message.key) if message.key else FindNode(b"", read_position(message.position))
        if kind == Kind.GET_VALUE:
            return GetValue(message.key, position_of(message.key), message.subkey if message.HasField("subkey") else None)
        if kind == Kind.PUT_VALUE:
            return PutValue(self._read_record(message, message.key))
        if kind == Kind.PING:
            return Ping()
        if kind == Kind.PULL:
            return Pull(self._read_region(message), message.settled, _read_cursor(message))
        if kind == Kind.PUSH:
            return Push(self._decode_records(message.records))
        if kind == Kind.OFFER:
            return Offer(read_offered(message.offered))
        if kind == Kind.LEAVE:
            return Leave(message.settled, self.contacts.read_all(message.responsible, MAX_NAMED))
        return self._read_own_request(message)

    # -- replies

    def _write_reply(self, reply: Reply) -> Written:
        match reply:
            case NodesReply():
                return {"type": Kind.FIND_NODE}, encode_peers(CLOSER, reply.closer)
            case GetReply():
                named = {contact.key for contact in reply.standing.responsible}
                closer = encode_peers(CLOSER, [contact for contact in reply.closer if contact.key not in named])
                fields = _write_records(reply.records) | write_refusal(reply.refusal)
                return _with_standing({"type": Kind.GET_VALUE, **fields}, reply.standing, closer)
            case PutReply():
                return _with_standing({"type": Kind.PUT_VALUE, **write_refusal(reply.refusal)}, reply.standing)
            case PullReply():
                records = [record.encode() for record in reply.records]
                silent = [min(_MAX_SILENT_MS, round(seconds * 1000)) for seconds in reply.silent_s]
                fields = _write_cursor(reply.next) | write_refusal(reply.refusal) | {"digest": reply.digest}
                return _with_standing(
                    {"type": Kind.PULL, "known": reply.known, "records": records, "silentMs": silent, **fields}, reply.standing
                )
            case PushReply():
                greater = [o.record.encode() for o in reply.outcomes if o.status is Status.SUPERSEDED and o.record is not None]
                return {"type": Kind.PUSH, "outcomes": [status_of(o) for o in reply.outcomes], "records": greater}, b""
            case OfferReply():
                return {"type": Kind.OFFER, "answers": bytes(reply.answers)}, b""
            case Done():
                return {"type": Kind.PING}, b""
        return self._write_own_reply(reply)

    def _read_reply(self, message: MessageT, request: Request) -> Reply:
        match request:
            case FindNode():
                return NodesReply(self.contacts.read_all(message.closerPeers, self.max_closer))
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
        return self._read_own_reply(message, request)

    def _read_get_reply(self, message: MessageT, request: GetValue) -> GetReply:
        if message.HasField("record"):
            records: tuple[Record, ...] = (self._read_record(message, request.key),)
        else:
            records = self._decode_records(message.records)
        if any(record.wire_key != request.key or request.subkey not in (None, record.subkey) for record in records):
            raise InvalidMessage("an answer carries a record of another slot")
        closer = self.contacts.read_all(message.closerPeers, self.max_closer)
        return GetReply(records, closer, self._read_standing(message), read_refusal(message))

    def _read_record(self, message: MessageT, key: bytes) -> Record:
        record = self._records.decode(message.record.value)
        if record.wire_key != key or message.record.key not in (b"", key):
            raise InvalidRecord("the record is of another key than the message")
        return record

    def _decode_records(self, encoded: Sequence[bytes]) -> tuple[Record, ...]:
        if len(encoded) > MAX_PAGE_RECORDS:
            raise InvalidMessage(f"{len(encoded)} records in one message are over the limit of {MAX_PAGE_RECORDS}")
        return tuple(map(self._records.decode, encoded))

    def _read_page(self, message: MessageT, request: Pull) -> PullReply:
        following = _read_cursor(message)
        if following is not None and request.after is not None and following <= request.after:
            raise InvalidMessage("a page that does not lead on")
        silent = tuple(milliseconds / 1000 for milliseconds in message.silentMs[:MAX_NAMED])
        records, refusal = self._decode_records(message.records), read_refusal(message)
        return PullReply(records, self._read_standing(message), message.known, following, silent, refusal, message.digest)

    def _read_outcomes(self, message: MessageT, sent: Sequence[Record]) -> tuple[Outcome, ...]:
        if len(message.outcomes) != len(sent):
            raise InvalidMessage(f"{len(message.outcomes)} outcomes for {len(sent)} records")
        greater = {record.slot: record for record in self._decode_records(message.records)}
        return tuple(Outcome(read_outcome(number), greater.get(record.slot)) for number, record in zip(message.outcomes, sent, strict=True))

    def _read_standing(self, message: MessageT) -> Standing:
        return Standing(message.authoritative, self.contacts.read_all(message.responsible, MAX_NAMED))


def _with_standing(fields: Fields, standing: Standing, peers: bytes = b"") -> Written:
    return {**fields, "authoritative": standing.authoritative}, peers + encode_peers(RESPONSIBLE, standing.responsible)


def _write_records(records: Sequence[Record]) -> Fields:
    return write_record(records[0]) if len(records) == 1 else {"records": [record.encode() for record in records]}


def _write_cursor(cursor: Cursor | None) -> Fields:
    position, subkey = cursor or _NO_CURSOR
    return {"position": position, "subkey": subkey}


def _read_cursor(message: DataMessage) -> Cursor | None:
    return (key_bytes(read_position(message.position)), message.subkey) if message.HasField("subkey") else None
