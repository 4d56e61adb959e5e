"""What the streams need of a plugin's messages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from peerstack.dht.replica.messages import Reply, Request

__all__ = ["Codec", "Envelope", "ReplyFrame", "RequestFrame"]


@dataclass(slots=True)
class RequestFrame:
    """A request and the id its answer has to carry (None: answers in order)."""

    request: Request
    request_id: int | None = None


@dataclass(slots=True)
class ReplyFrame:
    """A reply, the id of its request, and the network's parameters on the first answer on a connection."""

    reply: Reply
    request_id: int | None = None
    parameters: bytes = b""


class Envelope(Protocol):
    """The fields that every protobuf message of a DHT has, whatever it says."""

    @property
    def requestId(self) -> int:  # noqa: N802  (a protobuf field)
        """Of a request, and of its answer; from 1 on, 0 where answers come in order."""

    @property
    def parameters(self) -> bytes:
        """The network's, on the first answer on a stream."""


MessageT = TypeVar("MessageT", bound=Envelope)


class Codec(Protocol[MessageT]):
    """Writes and reads the messages of one kind of protocol id."""

    ordered: bool
    """Whether answers come in the order of the requests, without ids."""

    @property
    def message_type(self) -> type[MessageT]:
        """The protobuf message that everything is."""

    def speaks(self, request: Request) -> bool:
        """Whether the protocol id has such requests."""

    def is_write(self, request: Request) -> bool:
        """Whether a request goes on a stream for writes alone, and is never sent twice: where answers come in order."""

    def announcement(self, request: Request) -> list[bytes] | None:
        """The messages of a request that is never answered and has a stream of its own each time; None for all others."""

    def encode_request(self, frame: RequestFrame) -> bytes:
        """Write a request."""

    def read_request(self, message: MessageT) -> RequestFrame:
        """Read a request.

        Raises:
            InvalidMessage: It is none, or of a type that is not served.
        """

    def encode_answer(self, request: Request, frame: ReplyFrame) -> bytes | None:
        """Write the answer to a request; None for one that is never answered."""

    def read_reply(self, message: MessageT, request: Request) -> ReplyFrame:
        """Read the answer to a request.

        Raises:
            InvalidMessage: It is none, or none to that request.
        """
