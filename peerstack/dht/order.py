"""Which of two records supersedes the other. Pure, and the same on every node, so that no order of messages loses or rolls back a write."""

from __future__ import annotations

from peerstack.dht.records import Record, Version

__all__ = ["merge", "order"]


def order(record: Record) -> tuple[Version, int, int, bytes]:
    """The place of a record among those of its slot: version, expires_at, remember_until, header digest."""
    return record.version, record.expires_at, record.remember_until, record.digest


def merge(a: Record, b: Record) -> Record:
    """Keep the greater of two records of one slot: commutative, associative, idempotent.

    Of two copies of one record the one with the value is kept.

    Raises:
        ValueError: They are not of one slot.
    """
    if a.slot != b.slot:
        raise ValueError(f"{a!r} and {b!r} are of different slots")
    return max(a, b, key=_total_order)


def _total_order(record: Record) -> tuple[tuple[Version, int, int, bytes], bool, bytes]:
    # The signature only decides between two valid ones over one header (ECDSA): else merging would depend on the order of its arguments.
    return order(record), record.value is not None, record.signature
