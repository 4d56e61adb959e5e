"""What a transport gives the connection pump, and what it asks of it.

A transport carries bytes between two addresses, in order, and says when it is full. It knows nothing of peers, encryption or streams. Ours
are TCP and memory; others register in the entry-point group ``peerstack.transports``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from peerstack.addresses import Address

__all__ = ["Accept", "Link", "LinkReceiver", "Listener", "Transport"]


class Link(Protocol):
    """One connection of a transport, as the pump uses it."""

    @property
    def local_address(self) -> Address:
        """Our end, without ``/p2p``."""

    @property
    def remote_address(self) -> Address:
        """The other end, without ``/p2p``."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; `LinkReceiver.link_writable` says when to pause. The buffer is never changed afterwards."""

    def write_eof(self) -> None:
        """Close our direction after what is queued; the other one stays open."""

    def close(self) -> None:
        """Close both directions after what is queued has left."""

    def abort(self) -> None:
        """Close at once; what is queued is lost."""

    def pause_reading(self) -> None:
        """Stop `LinkReceiver.link_received` until `resume_reading`. Idempotent."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`. Idempotent."""


class LinkReceiver(Protocol):
    """The pump, as a transport uses it. Every method is called from the event loop and never raises."""

    def link_made(self, link: Link) -> None:
        """The link is up; called once, before anything else."""

    def link_received(self, data: bytes | memoryview) -> None:
        """Bytes arrived. The buffer is valid during the call only."""

    def link_eof(self) -> None:
        """The remote closed its direction; ours stays open until we close the link."""

    def link_writable(self, writable: bool) -> None:
        """Whether the link takes more bytes without buffering too much. It starts writable."""

    def link_lost(self, error: Exception | None) -> None:
        """The link is gone (None: closed in order); called once, last."""


Accept = Callable[[Address], LinkReceiver | None]
"""Called with the remote's address for each inbound link; None refuses it."""


class Listener(Protocol):
    """A bound address."""

    @property
    def addresses(self) -> Sequence[Address]:
        """The addresses really bound (port 0 replaced), without ``/p2p``."""

    async def close(self) -> None:
        """Stop accepting; links already accepted live on."""


class Transport(Protocol):
    """Dials and listens on the addresses it supports."""

    def supports(self, address: Address) -> bool:
        """Whether this transport can dial and listen on `address` (DNS names are resolved before)."""

    async def dial(self, address: Address, receiver: LinkReceiver) -> Link:
        """Connect.

        Raises:
            DialError: The address did not answer or refused.
        """

    async def listen(self, address: Address, accept: Accept) -> Listener:
        """Bind and accept.

        Raises:
            ListenError: The address is in use, not ours, or not permitted.
        """
