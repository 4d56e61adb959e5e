"""What callers pass, in canonical form and checked, before anything is sent."""

from __future__ import annotations

import math

from peerstack.dht.contract import Ack
from peerstack.dht.records import MAX_KEY_BYTES, MAX_SUBKEY_BYTES, MAX_VALUE_BYTES, Slot, is_namespace_name
from peerstack.errors import InvalidRecord, ValueTooLarge

__all__ = ["check_ack", "check_quorum", "check_slot", "check_timeout", "check_value", "to_key", "wanted_acks"]


def to_key(key: bytes | bytearray | memoryview | str, *, limit: int = MAX_KEY_BYTES, what: str = "key") -> bytes:
    """A key's bytes: str as UTF-8.

    Raises:
        ValueTooLarge: It has more than `limit` bytes.
        TypeError: It is neither bytes nor str.
    """
    data = key.encode() if isinstance(key, str) else _to_bytes(key, what)
    if len(data) > limit:
        raise ValueTooLarge(f"a {what} has at most {limit} bytes, this one {len(data)}")
    return data


def check_slot(namespace: str, key: bytes | str, subkey: bytes | str = b"") -> Slot:
    """A slot from a caller's arguments.

    Raises:
        ValueTooLarge: Key or subkey is over its limit.
        InvalidRecord: That is no namespace's name.
    """
    if not is_namespace_name(namespace):
        raise InvalidRecord(f"{namespace!r} is no namespace name: 1 to 32 of a-z 0-9 . _ -, starting with a letter or digit")
    return Slot(namespace, to_key(key), to_key(subkey, limit=MAX_SUBKEY_BYTES, what="subkey"))


def check_value(value: bytes | bytearray | memoryview) -> bytes:
    """A value's bytes.

    Raises:
        ValueTooLarge: It is over the limit.
        TypeError: It is not bytes (a str has to be encoded by its owner, who knows how to read it back).
    """
    data = _to_bytes(value, "value")
    if len(data) > MAX_VALUE_BYTES:
        raise ValueTooLarge(f"a value has at most {MAX_VALUE_BYTES} bytes, this one {len(data)}")
    return data


def check_timeout(timeout: float | None, default: float) -> float:
    """Seconds for a call.

    Raises:
        ValueError: It is not a positive, finite number.
    """
    seconds = default if timeout is None else timeout
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a timeout is a positive number of seconds, not {timeout!r}")
    return seconds


def check_ack(ack: Ack) -> Ack:
    """The acknowledgements a caller asks for.

    Raises:
        ValueError: It is neither "majority", "one", "all" nor a positive number.
    """
    if ack in ("majority", "one", "all") or (isinstance(ack, int) and not isinstance(ack, bool) and ack >= 1):
        return ack
    raise ValueError(f'ack is "majority", "one", "all" or a positive number, not {ack!r}')


def check_quorum(quorum: int | None) -> int | None:
    """The authoritative answers a caller insists on.

    Raises:
        ValueError: It is neither None nor a positive number.
    """
    if quorum is None or (isinstance(quorum, int) and not isinstance(quorum, bool) and quorum >= 1):
        return quorum
    raise ValueError(f"quorum is a positive number or None, not {quorum!r}")


def wanted_acks(ack: Ack, members: int, majority: int) -> int:
    """How many acknowledgements `ack` means in a set of `members`."""
    return {"majority": majority, "one": 1, "all": members}[ack] if isinstance(ack, str) else ack


def _to_bytes(data: bytes | bytearray | memoryview, what: str) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a {what} is bytes, not {type(data).__name__}")
    return bytes(data)
