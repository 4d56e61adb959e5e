"""A node of a network with libp2p's own rules: a routing table and lookups, without our records, sets and authority.

What such a network stores is in `content`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peerstack.dht.contract import LeaveReport, PutResult
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.putting import PutOrder
from peerstack.errors import ConfigError, PeerstackError
from peerstack_kad.node import KademliaNode

__all__ = ["ForeignNode"]


class ForeignNode(KademliaNode):
    """A node that joins as a client does, whether it serves or not: nobody there hands anything over."""

    def put(self, order: PutOrder, finished: Callable[[PutResult | PeerstackError], None]) -> None:
        """Refuse: a signed record is nothing this network stores."""
        finished(_not_here("put"))

    def get(self, slot: Slot, *, quorum: int | None, timeout: float, finished: Callable[[Any], None]) -> None:
        """Refuse, as `put`."""
        finished(_not_here("get"))

    def get_all(
        self, namespace: str, key: bytes, *, since: int | None, timeout: float, finished: Callable[[list[Record] | PeerstackError], None]
    ) -> None:
        """Refuse, as `put`."""
        finished(_not_here("get_all"))

    def leave(self, *, timeout: float, finished: Callable[[LeaveReport], None]) -> None:
        """Go: there is nobody to hand anything to, and no way to say so."""
        self.stop()
        finished(LeaveReport(complete=True, records=0, handed_over=0))


def _not_here(operation: str) -> ConfigError:
    return ConfigError(f"{operation} is for our own protocol ids: on a foreign one values are raw, use put_raw and get_raw")
