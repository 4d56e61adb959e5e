"""What a store does with one record: pure, and the same for every store."""

from __future__ import annotations

from dataclasses import dataclass, field

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.policy import admit
from peerstack.dht.records import Record
from peerstack.dht.store.contract import MAX_SET_BYTES, MAX_SUBKEYS, Outcome, Source, SourceKind, Status, StoreLimits, Usage

__all__ = ["Occupancy", "Rules", "current", "decide", "due_at"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a store judges by."""

    namespaces: Namespaces
    parameters: NetworkParameters
    limits: StoreLimits = field(default_factory=StoreLimits)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What stands in a store when a record arrives."""

    key_set: Usage
    """Of the record's key."""
    total: Usage
    """Of the whole store."""
    sender: Usage
    """Charged to the sender."""
    group: Usage
    """Charged to the sender's IP group."""


def current(record: Record | None, now: int, rules: Rules) -> Record | None:
    """What is left of a record that is held: all of it, its header once it is dead, nothing once it is to be forgotten."""
    if record is None or rules.namespaces[record.namespace].forget_at(record) <= now:
        return None
    return record.without_value() if record.is_dead(now) else record


def due_at(record: Record, rules: Rules) -> int:
    """When `current` changes next, microseconds."""
    forget_at = rules.namespaces[record.namespace].forget_at(record)
    return forget_at if record.value is None else min(record.expires_at, forget_at)


def decide(record: Record, held: Record | None, occupancy: Occupancy, source: Source, now: int, rules: Rules) -> Outcome:
    """Decide about one record.

    Args:
        record: What arrived.
        held: What is held for its slot, as `current` leaves it.
        occupancy: What the limits look at.
        source: Who sends it, and why.
        now: The wall clock, microseconds.
        rules: The store's.

    Returns:
        For `Status.STORED` the record to keep; the store keeps nothing in every other case.
    """
    refusal = admit(record, now, rules.parameters, rules.namespaces)
    if refusal is not None:
        return Outcome(Status(refusal.reason.value), None, refusal.message)
    arrived = current(record, now, rules)
    if arrived is None:
        return Outcome(Status.FORGOTTEN, None, "the record's time is over, its memory too, by this node's clock")
    if held is not None:
        if arrived.digest == held.digest:
            if arrived.value is None or held.value is not None:
                return Outcome(Status.EQUAL, held)
        elif rules.namespaces[record.namespace].merge(held, arrived).digest == held.digest:
            return Outcome(Status.SUPERSEDED, held)
    return _check_room(arrived, held, occupancy, source, rules.limits) or Outcome(Status.STORED, arrived)


def _check_room(record: Record, held: Record | None, occupancy: Occupancy, source: Source, limits: StoreLimits) -> Outcome | None:
    records, size = (1, record.size) if held is None else (0, record.size - held.size)
    if held is not None and (size <= 0 or record.is_delete):
        return None  # what asks for no room, and deletes of what is held, always pass
    total = occupancy.total.changed(records, size)
    if source.owed:
        return None if total.within(limits.total) else Outcome(Status.FULL, None, "the store is full")
    if not occupancy.key_set.changed(records, size).within(Usage(MAX_SUBKEYS, MAX_SET_BYTES)):
        return Outcome(Status.FULL, None, f"the key's set is full: {MAX_SUBKEYS} subkeys, {MAX_SET_BYTES} bytes with what is remembered")
    if not total.within(limits.total, limits.client_share):
        return Outcome(Status.FULL, None, "the store is full")
    if source.kind is SourceKind.CLIENT:
        if not occupancy.sender.changed(records, size).within(limits.total, limits.sender_share):
            return Outcome(Status.FULL, None, "the sender's share of the store is used up")
        if source.ip_group and not occupancy.group.changed(records, size).within(limits.total, limits.group_share):
            return Outcome(Status.FULL, None, "the share of the sender's network is used up")
    return None
