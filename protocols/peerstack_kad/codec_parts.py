"""The parts that messages are made of: positions, refusals, keys. See `codec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.limits import MAX_MESSAGE_BYTES
from peerstack.dht.store.contract import Outcome, Status
from peerstack.errors import InvalidMessage
from peerstack.wire import varint

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = [
    "CLOSER",
    "MAX_PROVIDED",
    "MAX_PROVIDERS",
    "PROVIDER",
    "RESPONSIBLE",
    "check_key",
    "parse_message",
    "read_outcome",
    "read_position",
    "read_provided",
    "read_refusal",
    "status_of",
    "write_record",
    "write_refusal",
]

CLOSER: Final = varint.encode(8 << 3 | 2)
"""The tag of an entry of ``closerPeers``."""
PROVIDER: Final = varint.encode(9 << 3 | 2)
"""The tag of an entry of ``providerPeers``."""
RESPONSIBLE: Final = varint.encode(1005 << 3 | 2)
"""The tag of an entry of ``responsible``."""

MAX_PROVIDERS: Final = 128
"""Peers written to and read from ``providerPeers``."""
MAX_PROVIDED: Final = 1000
"""Keys of one `AddProvider`."""

_MAX_WIRE_KEY: Final = 256
_MAX_PROVIDED_BYTES: Final = 80  # go stores no longer ones
_MAX_REASON: Final = 500

_STATUS: Final = (
    Status.STORED,
    Status.SUPERSEDED,
    Status.FULL,
    RefusalReason.NOT_RESPONSIBLE,
    Status.INVALID,
    Status.CLOCK,
    Status.FAILED,
    RefusalReason.NOT_AUTHORITATIVE,
    Status.FORGOTTEN,
)
_NUMBERS: Final = {what.value: number for number, what in enumerate(_STATUS)} | {Status.EQUAL.value: 0}


def status_of(outcome: Outcome | Refusal) -> Message.Status:
    """The status that stands for an outcome or a refusal."""
    what = outcome.status.value if isinstance(outcome, Outcome) else outcome.reason.value
    return cast("Message.Status", _NUMBERS.get(what, _NUMBERS["failed"]))


def read_outcome(number: int) -> Status:
    """The outcome that a status stands for; one we do not know is a failure."""
    what = _STATUS[number] if 0 <= number < len(_STATUS) else Status.FAILED
    return what if isinstance(what, Status) else Status.FAILED


def write_refusal(message: Message, refusal: Refusal | None) -> None:
    """Put a refusal, with the greater record it carries, into a reply."""
    if refusal is None:
        return
    message.status = status_of(refusal)
    message.reason = refusal.message[:_MAX_REASON]
    if refusal.record is not None:
        write_record(message, refusal.record)


def read_refusal(message: Message, greater: Record | None = None) -> Refusal | None:
    """The refusal in a reply."""
    if message.status == 0:
        return None
    known = 0 < message.status < len(_STATUS) and _STATUS[message.status].value in set(RefusalReason)
    reason = RefusalReason(_STATUS[message.status].value) if known else RefusalReason.FAILED
    return Refusal(reason, message.reason[:_MAX_REASON], greater)


def write_record(message: Message, record: Record) -> None:
    """Put one record where libp2p has it."""
    message.key = message.record.key = record.wire_key
    message.record.value = record.encode()


def parse_message(data: bytes) -> Message:
    """Parse a message without a look at what it says.

    Raises:
        InvalidMessage: It is none.
    """
    from google.protobuf.message import DecodeError

    from peerstack_kad.pb.kad_pb2 import Message

    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"a message of {len(data)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    message = Message()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("these bytes are no Kademlia message") from error
    return message


def check_key(key: bytes) -> None:
    """Check the size of a wire key or peer id.

    Raises:
        InvalidMessage: It is too long.
    """
    if len(key) > _MAX_WIRE_KEY:
        raise InvalidMessage(f"a key of {len(key)} bytes is over the limit of {_MAX_WIRE_KEY}")


def read_provided(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """Keys of provider records.

    Raises:
        InvalidMessage: One has not 1 to 80 bytes, or there are too many.
    """
    if not 1 <= len(keys) <= MAX_PROVIDED or any(not 1 <= len(key) <= _MAX_PROVIDED_BYTES for key in keys):
        raise InvalidMessage(f"provider records have keys of 1 to {_MAX_PROVIDED_BYTES} bytes, up to {MAX_PROVIDED} in one message")
    return tuple(keys)


def read_position(data: bytes) -> int:
    """A position.

    Raises:
        InvalidMessage: It has not 32 bytes.
    """
    if len(data) != KEY_BITS // 8:
        raise InvalidMessage(f"a position has {KEY_BITS // 8} bytes, not {len(data)}")
    return int.from_bytes(data, "big")
