"""Offers as messages: records by their digests, and what is held of them. See `codec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from peerstack.dht.records import MAX_SUBKEY_BYTES
from peerstack.dht.replica.messages import OfferAnswer, Offered
from peerstack.errors import InvalidMessage

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["read_answers", "read_offered", "write_offered"]

_DIGEST_BYTES: Final = 32
_MEMBERS_BYTES: Final = 8


def write_offered(entries: Sequence[Offered]) -> list[Message.Offered]:
    """The entries of a request."""
    from peerstack_kad.pb.kad_pb2 import Message

    return [
        Message.Offered(position=each.position, subkey=each.subkey, digest=each.digest, whole=each.whole, members=each.members)
        for each in entries
    ]


def read_offered(entries: Sequence[Message.Offered], limit: int) -> tuple[Offered, ...]:
    """The entries of a request.

    Raises:
        InvalidMessage: They are too many, or of other sizes.
    """
    if len(entries) > limit:
        raise InvalidMessage(f"{len(entries)} records offered in one message are over the limit of {limit}")
    read = tuple(Offered(each.position, each.subkey, each.digest, each.whole, each.members) for each in entries)
    for each in read:
        if (len(each.position), len(each.digest), len(each.members)) != (_DIGEST_BYTES, _DIGEST_BYTES, _MEMBERS_BYTES):
            raise InvalidMessage("a record is offered by 32 bytes of position, 32 of digest and 8 of its set")
        if len(each.subkey) > MAX_SUBKEY_BYTES:
            raise InvalidMessage(f"a subkey of {len(each.subkey)} bytes is over the limit of {MAX_SUBKEY_BYTES}")
    return read


def read_answers(data: bytes, count: int) -> tuple[OfferAnswer, ...]:
    """The answers to `count` entries.

    Raises:
        InvalidMessage: They are more or fewer, or one is none.
    """
    if len(data) != count or any(answer > max(OfferAnswer) for answer in data):
        raise InvalidMessage(f"{len(data)} answers to {count} records offered, or one that is none")
    return tuple(OfferAnswer(answer) for answer in data)
