"""The parts that messages are made of: positions, keys, records, refusals, offers. See `data_codec`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.records import MAX_SUBKEY_BYTES, Record
from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.limits import MAX_MESSAGE_BYTES, MAX_PAGE_RECORDS
from peerstack.dht.replica.messages import OfferAnswer, Offered
from peerstack.dht.store.contract import Outcome, Status
from peerstack.errors import InvalidMessage
from peerstack.rpc.data_messages import DataMessage, Fields

if TYPE_CHECKING:
    from peerstack.rpc.pb import data_pb2

__all__ = [
    "check_key",
    "parse",
    "read_answers",
    "read_offered",
    "read_outcome",
    "read_position",
    "read_refusal",
    "status_of",
    "write_offered",
    "write_record",
    "write_refusal",
]

MessageT = TypeVar("MessageT", bound=DataMessage)

_MAX_WIRE_KEY: Final = 256
_MAX_REASON: Final = 500
_DIGEST_BYTES: Final = 32
_MEMBERS_BYTES: Final = 8

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


def parse(message_type: type[MessageT], data: bytes) -> MessageT:
    """Parse a message without a look at what it says.

    Raises:
        InvalidMessage: It is none.
    """
    from google.protobuf.message import DecodeError

    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"a message of {len(data)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("these bytes are no message of a DHT") from error
    return message


def check_key(key: bytes) -> None:
    """Check the size of a wire key or peer id.

    Raises:
        InvalidMessage: It is too long.
    """
    if len(key) > _MAX_WIRE_KEY:
        raise InvalidMessage(f"a key of {len(key)} bytes is over the limit of {_MAX_WIRE_KEY}")


def read_position(data: bytes) -> int:
    """A position.

    Raises:
        InvalidMessage: It has not 32 bytes.
    """
    if len(data) != KEY_BITS // 8:
        raise InvalidMessage(f"a position has {KEY_BITS // 8} bytes, not {len(data)}")
    return int.from_bytes(data, "big")


def status_of(outcome: Outcome | Refusal) -> int:
    """The status that stands for an outcome or a refusal."""
    what = outcome.status.value if isinstance(outcome, Outcome) else outcome.reason.value
    return _NUMBERS.get(what, _NUMBERS["failed"])


def read_outcome(number: int) -> Status:
    """The outcome that a status stands for; one we do not know is a failure."""
    what = _STATUS[number] if 0 <= number < len(_STATUS) else Status.FAILED
    return what if isinstance(what, Status) else Status.FAILED


def write_refusal(refusal: Refusal | None) -> Fields:
    """A refusal in a reply, with the greater record it carries."""
    if refusal is None:
        return {}
    greater = {} if refusal.record is None else write_record(refusal.record)
    return {"status": status_of(refusal), "reason": refusal.message[:_MAX_REASON], **greater}


def read_refusal(message: DataMessage, greater: Record | None = None) -> Refusal | None:
    """The refusal in a reply."""
    if message.status == 0:
        return None
    known = 0 < message.status < len(_STATUS) and _STATUS[message.status].value in set(RefusalReason)
    reason = RefusalReason(_STATUS[message.status].value) if known else RefusalReason.FAILED
    return Refusal(reason, message.reason[:_MAX_REASON], greater)


def write_record(record: Record) -> Fields:
    """One record where libp2p has it."""
    return {"key": record.wire_key, "record": {"key": record.wire_key, "value": record.encode()}}


def write_offered(entries: Sequence[Offered]) -> Fields:
    """The entries of an offer."""
    names = ("position", "subkey", "digest", "whole", "members")
    return {"offered": [{name: getattr(each, name) for name in names} for each in entries]}


def read_offered(entries: Sequence[data_pb2.Offered]) -> tuple[Offered, ...]:
    """The entries of an offer.

    Raises:
        InvalidMessage: They are too many, or of other sizes.
    """
    if len(entries) > MAX_PAGE_RECORDS:
        raise InvalidMessage(f"{len(entries)} records offered in one message are over the limit of {MAX_PAGE_RECORDS}")
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
