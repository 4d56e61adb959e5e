"""Requests and replies on foreign protocol ids, such as ``/ipfs/kad/1.0.0``: what go, js, rust and py send, and nothing else.

Values are raw: a key with its namespace, bytes, and the time they were received. A stored PUT_VALUE is answered with itself, ADD_PROVIDER
with nothing at all: go, js and rust do not read there, and would take an answer for that to their next request.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.limits import MAX_CLOSER
from peerstack.dht.replica.messages import Done, FindNode, NodesReply, Ping, Request
from peerstack.dht.replica.peers import ContactReader, encode_peers
from peerstack.errors import InvalidMessage
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack.rpc.data_messages import CLOSER
from peerstack.rpc.data_parts import check_key
from peerstack_kad.codec_parts import MAX_PROVIDERS, PROVIDER, parse_message, read_provided
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, PutRaw, RawReply, Taken

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["ForeignCodec", "rfc3339"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(time_us: int) -> bytes:
    """A time in UTC, with fraction and ``Z``: js reads no other form."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


class ForeignCodec:
    """Encodes and decodes for one host."""

    ordered = True

    @property
    def message_type(self) -> type[Message]:
        """See `peerstack.rpc.codec.Codec.message_type`."""
        from peerstack_kad.pb.kad_pb2 import Message

        return Message

    def __init__(self) -> None:
        self._contacts = ContactReader()

    def speaks(self, request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.speaks`."""
        return isinstance(request, Ping | FindNode | GetRaw | PutRaw | AddProvider | GetProviders)

    def is_write(self, request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.is_write`."""
        return isinstance(request, PutRaw)

    def encode_request(self, frame: RequestFrame) -> bytes:
        """Write a request; of an `AddProvider` the first key."""
        from peerstack_kad.pb.kad_pb2 import Message

        match frame.request:
            case FindNode(key=b""):
                raise ValueError("on foreign ids only keys can be looked up")
            case FindNode(key=key):
                message = Message(type=Message.FIND_NODE, key=key)
            case GetRaw(key=key):
                message = Message(type=Message.GET_VALUE, key=key)
            case PutRaw(key=key, value=value, time_us=time_us):
                message = Message(type=Message.PUT_VALUE, key=key)
                _write_record(message, key, value, time_us)
            case GetProviders(key=key):
                message = Message(type=Message.GET_PROVIDERS, key=key)
            case AddProvider(keys=keys, providers=providers):
                return _encode_provided(keys[0], encode_peers(PROVIDER, providers))
            case Ping():
                message = Message(type=Message.PING)
            case request:
                raise ValueError(f"{type(request).__name__} is no request of foreign ids")
        return message.SerializeToString()

    def announcement(self, request: Request) -> list[bytes] | None:
        """See `peerstack.rpc.codec.Codec.announcement`: one ADD_PROVIDER per key."""
        if not isinstance(request, AddProvider):
            return None
        peers = encode_peers(PROVIDER, request.providers)
        return [_encode_provided(key, peers) for key in request.keys]

    def decode_request(self, data: bytes) -> RequestFrame:
        """As `read_request`, for bytes."""
        return self.read_request(parse_message(data))

    def read_request(self, message: Message) -> RequestFrame:
        """Read a request.

        Raises:
            InvalidMessage: It is none that is served.
        """
        from peerstack_kad.pb.kad_pb2 import Message as Types

        check_key(message.key)
        match message.type:
            case Types.FIND_NODE if message.key:
                return RequestFrame(FindNode.of(message.key))
            case Types.GET_VALUE if message.key:
                return RequestFrame(GetRaw.of(message.key))
            case Types.PUT_VALUE if message.key:
                return RequestFrame(PutRaw(message.key, _read_record(message, message.key), 0))
            case Types.GET_PROVIDERS:
                return RequestFrame(GetProviders.of(*read_provided([message.key])))
            case Types.ADD_PROVIDER:
                peers = self._contacts.read_all(message.providerPeers, MAX_CLOSER)
                return RequestFrame(AddProvider(read_provided([message.key]), peers))
            case Types.PING:
                return RequestFrame(Ping())
        raise InvalidMessage(f"a request of type {message.type} is not served")

    def encode_answer(self, request: Request, frame: ReplyFrame) -> bytes | None:
        """See `peerstack.rpc.codec.Codec.encode_answer`."""
        from peerstack_kad.pb.kad_pb2 import Message

        match request, frame.reply:
            case AddProvider(), _:
                return None
            case PutRaw(key=key, value=value), Taken(time_us=time_us):
                message = Message(type=Message.PUT_VALUE, key=key)
                _write_record(message, key, value, time_us)
                return message.SerializeToString()
            case GetRaw(key=key), RawReply(value=held, time_us=time_us, closer=closer):
                message = Message(type=Message.GET_VALUE, key=key)
                if held is not None:
                    _write_record(message, key, held, time_us)
                return message.SerializeToString() + encode_peers(CLOSER, closer)
            case GetProviders(key=key), ProvidersReply(providers=providers, closer=closer):
                peers = encode_peers(CLOSER, closer) + encode_peers(PROVIDER, providers)
                return Message(type=Message.GET_PROVIDERS, key=key).SerializeToString() + peers
            case FindNode(key=key), NodesReply(closer=closer):
                return Message(type=Message.FIND_NODE, key=key).SerializeToString() + encode_peers(CLOSER, closer)
            case Ping(), Done():
                return Message(type=Message.PING).SerializeToString()
        raise ValueError(f"{type(frame.reply).__name__} answers no {type(request).__name__}")

    def decode_reply(self, data: bytes, request: Request) -> ReplyFrame:
        """As `read_reply`, for bytes."""
        return self.read_reply(parse_message(data), request)

    def read_reply(self, message: Message, request: Request) -> ReplyFrame:
        """Read the answer to a request.

        Raises:
            InvalidMessage: It is none to that request.
        """
        match request:
            case FindNode():
                return ReplyFrame(NodesReply(self._closer(message)))
            case GetRaw(key=key):
                value = _read_record(message, key) if message.HasField("record") else None
                return ReplyFrame(RawReply(value, 0, self._closer(message)))
            case PutRaw(key=key, value=value):
                if _read_record(message, key) != value:
                    raise InvalidMessage("the record was answered with another one: it was not stored")
                return ReplyFrame(Taken())
            case GetProviders():
                return ReplyFrame(ProvidersReply(self._contacts.read_all(message.providerPeers, MAX_PROVIDERS), self._closer(message)))
            case Ping():
                return ReplyFrame(Done())
        raise ValueError(f"{type(request).__name__} is never answered")

    def _closer(self, message: Message) -> tuple[Contact, ...]:
        return self._contacts.read_all(message.closerPeers, MAX_CLOSER)


def _encode_provided(key: bytes, peers: bytes) -> bytes:
    from peerstack_kad.pb.kad_pb2 import Message

    return Message(type=Message.ADD_PROVIDER, key=key).SerializeToString() + peers


def _write_record(message: Message, key: bytes, value: bytes, time_us: int) -> None:
    message.record.key = key
    message.record.value = value
    message.record.timeReceived = rfc3339(time_us)


def _read_record(message: Message, key: bytes) -> bytes:
    if message.record.key != key:
        raise InvalidMessage("the record is of another key than the message")
    return message.record.value
