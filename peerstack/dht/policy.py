"""The network's rules about a record's times: what a writer puts in, and what a holder accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from peerstack.dht.clock import MAX_AHEAD_US, MICROSECONDS, to_microseconds
from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Draft, Record, Slot
from peerstack.errors import InvalidRecord

__all__ = [
    "DEFAULT_LIFETIME_US",
    "DELETED",
    "MEMORY_MARGIN_US",
    "Lifetime",
    "admit",
    "default_lifetime_us",
    "draft_record",
    "draft_renewal",
    "lifetime",
    "remember_until",
    "renewal_due",
    "validate",
]

DEFAULT_LIFETIME_US: Final = 48 * 3600 * MICROSECONDS
"""Of a record without ttl, where the network lets records live so long."""
MEMORY_MARGIN_US: Final = 2 * MAX_AHEAD_US
"""How much longer than it could matter a header is remembered: the clocks' difference, both ways."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a record ends, and whether its writer extends it."""

    expires_at: int
    """Microseconds; 0 is a delete."""
    renewable: bool


DELETED: Final = Lifetime(0, renewable=False)


def default_lifetime_us(parameters: NetworkParameters) -> int:
    """How long a record without ttl lives until it is renewed.

    At most half the maximum: a writer that is cut off may renew once more after its record was superseded elsewhere, and even that must
    have expired when what superseded it is forgotten.
    """
    return min(DEFAULT_LIFETIME_US, parameters.max_ttl_us // 2)


def lifetime(ttl: float | None, now: int, parameters: NetworkParameters) -> Lifetime:
    """The lifetime a caller asks for.

    Args:
        ttl: Seconds, kept exactly; None is the default, renewed.
        now: The writer's wall clock, microseconds.
        parameters: The network's.

    Raises:
        InvalidRecord: `ttl` is not positive, or over the network's maximum.
    """
    if ttl is None:
        return Lifetime(now + default_lifetime_us(parameters), renewable=True)
    if not (math.isfinite(ttl) and 0 < ttl <= parameters.max_ttl_s):
        raise InvalidRecord(f"ttl must be over 0 and at most {parameters.max_ttl_s:g} seconds in this network, not {ttl}")
    return Lifetime(now + max(1, to_microseconds(ttl)), renewable=False)


def remember_until(expires_at: int, version_time: int, seen: int, parameters: NetworkParameters) -> int:
    """Until when a record's header has to be remembered.

    Args:
        expires_at: When the record ends.
        version_time: Its version's time.
        seen: The greatest remember_until among the records of its slot that the writer saw, or 0.
        parameters: The network's.

    The margin is not added to `seen`, which contains it already: else each overwrite would lengthen the memory.
    """
    return max(max(expires_at, version_time + parameters.max_ttl_us) + MEMORY_MARGIN_US, seen)


def draft_record(slot: Slot, value: bytes, version_time: int, life: Lifetime, seen: int, parameters: NetworkParameters) -> Draft:
    """What to sign for a put, or (with `DELETED` and no value) for a delete.

    Args:
        slot: What is written.
        value: The value, ``b""`` for a delete.
        version_time: From the writer's `HybridClock`, which has observed what the writer saw.
        life: From `lifetime`, or `DELETED`.
        seen: The greatest remember_until among the records of the slot that the writer saw, or 0.
        parameters: The network's.
    """
    return Draft(
        slot=slot,
        value=value,
        version_time=version_time,
        expires_at=life.expires_at,
        remember_until=remember_until(life.expires_at, version_time, seen, parameters),
        renewable=life.renewable,
    )


def renewal_due(record: Record, parameters: NetworkParameters) -> int:
    """When the writer of a renewable record should renew it: at half life, microseconds."""
    return record.expires_at - default_lifetime_us(parameters) // 2


def draft_renewal(record: Record, acknowledged_expiry: int, now: int, parameters: NetworkParameters) -> Draft | None:
    """What its writer signs to extend a record: the same version and value, a later expiry, never remembered for less.

    Args:
        record: Our own record, with its value.
        acknowledged_expiry: The latest `expires_at` of this version that a majority acknowledged.
        now: Our wall clock, microseconds.
        parameters: The network's.

    Returns:
        None where it must not be renewed: it is not renewable, its value is gone, or its acknowledged life has ended on our clock, so that
        others may have seen it end; or where renewing would not extend it.
    """
    expires_at = now + default_lifetime_us(parameters)
    if not record.renewable or record.value is None or acknowledged_expiry <= now or expires_at <= record.expires_at:
        return None
    life = Lifetime(expires_at, renewable=True)
    return draft_record(record.slot, record.value, record.version.time, life, record.remember_until, parameters)


def validate(record: Record, now: int, parameters: NetworkParameters, namespaces: Namespaces) -> Refusal | None:
    """Whether a record may stand in its namespace and network, leaving the clocks' difference aside: what a reader asks.

    Args:
        record: Well-formed and signed.
        now: The node's wall clock, microseconds.
        parameters: The network's.
        namespaces: What is served here.

    Returns:
        None, or why not.
    """
    try:
        namespace = namespaces[record.namespace]
        if record.is_delete and not namespace.deletable:
            raise InvalidRecord(f"there is no delete in namespace {record.namespace!r}")
        if record.remember_until < remember_until(record.expires_at, record.version.time, 0, parameters):
            raise InvalidRecord("it would be forgotten too early (remember_until is below what this network asks for)")
        namespace.validate(record, now)
    except InvalidRecord as error:
        return Refusal(RefusalReason.INVALID, str(error))
    return None


def admit(record: Record, now: int, parameters: NetworkParameters, namespaces: Namespaces) -> Refusal | None:
    """Whether a holder may take a record, whoever sends it: `validate`, and no time too far ahead of the holder's clock."""
    refusal = validate(record, now, parameters, namespaces)
    if refusal is not None:
        return refusal
    ahead = now + MAX_AHEAD_US
    if record.version.time > ahead:
        return Refusal(RefusalReason.CLOCK, "its version is more than 15 minutes ahead of this node's clock")
    if record.expires_at > ahead + parameters.max_ttl_us:
        return Refusal(RefusalReason.CLOCK, "it would expire later than this network allows, by this node's clock")
    # What an honest writer can have seen elsewhere: accepted there by a clock that is ahead of ours by as much again.
    if record.remember_until > ahead + parameters.max_ttl_us + MEMORY_MARGIN_US + MAX_AHEAD_US:
        return Refusal(RefusalReason.CLOCK, "it would be remembered longer than this network allows, by this node's clock")
    # A header alone is what others keep of the dead. By our clock it may live a little longer than by theirs, but no more than that.
    if record.value is None and record.expires_at > ahead:
        return Refusal(RefusalReason.INVALID, "its value is missing")
    return None
