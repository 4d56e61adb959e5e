"""Requests and replies as protobuf messages on our own protocol ids: libp2p's, with fields of our own. `foreign_codec` is without.

What is about records and servers is `peerstack.rpc.data_codec`'s; here are regions, which by XOR are prefixes, and provider records.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.limits import MAX_CLOSER
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.peers import encode_peers
from peerstack.errors import InvalidMessage
from peerstack.rpc.data_codec import DataCodec, Written
from peerstack.rpc.data_messages import CLOSER, Fields
from peerstack.rpc.data_parts import read_refusal, write_refusal
from peerstack_kad.codec_parts import MAX_PROVIDERS, PROVIDER, read_provided
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, PutRaw, Taken

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["Codec"]


class Codec(DataCodec["Message"]):
    """Encodes and decodes for one host."""

    @property
    def message_type(self) -> type[Message]:
        """See `peerstack.rpc.codec.Codec.message_type`."""
        from peerstack_kad.pb.kad_pb2 import Message

        return Message

    def speaks(self, request: Request) -> bool:
        """See `peerstack.rpc.codec.Codec.speaks`."""
        return not isinstance(request, GetRaw | PutRaw)

    def _write_region(self, region: int) -> Fields:
        return {"prefix": region}

    def _read_region(self, message: Message) -> int:
        if message.prefix > KEY_BITS:
            raise InvalidMessage(f"a prefix has at most {KEY_BITS} bits, not {message.prefix}")
        return message.prefix

    def _write_own_request(self, request: Request) -> Written:
        from peerstack_kad.pb.kad_pb2 import Message

        match request:
            case AddProvider():
                return {"type": Message.ADD_PROVIDER, "keys": request.keys}, encode_peers(PROVIDER, request.providers)
            case GetProviders():
                return {"type": Message.GET_PROVIDERS, "key": request.key}, b""
        raise ValueError(f"{type(request).__name__} is no request of our own ids")

    def _read_own_request(self, message: Message) -> Request:
        from peerstack_kad.pb.kad_pb2 import Message as Types

        if message.type == Types.ADD_PROVIDER:
            return AddProvider(read_provided(message.keys), self.contacts.read_all(message.providerPeers, MAX_CLOSER))
        if message.type == Types.GET_PROVIDERS:
            return GetProviders.of(*read_provided([message.key]))
        raise InvalidMessage(f"a request of type {message.type} is not served")

    def _write_own_reply(self, reply: Reply) -> Written:
        from peerstack_kad.pb.kad_pb2 import Message

        match reply:
            case Taken():
                return {"type": Message.ADD_PROVIDER, **write_refusal(reply.refusal)}, b""
            case ProvidersReply():
                return {"type": Message.GET_PROVIDERS}, encode_peers(CLOSER, reply.closer) + encode_peers(PROVIDER, reply.providers)
        raise ValueError(f"{type(reply).__name__} is no reply on our own ids")

    def _read_own_reply(self, message: Message, request: Request) -> Reply:
        match request:
            case GetProviders():
                providers = self.contacts.read_all(message.providerPeers, MAX_PROVIDERS)
                return ProvidersReply(providers, self.contacts.read_all(message.closerPeers, MAX_CLOSER))
            case AddProvider():
                return Taken(read_refusal(message))
        raise ValueError(f"{type(request).__name__} is never sent")
