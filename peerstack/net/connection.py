"""A secured, multiplexed connection to one peer, as the host and the plugins see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from peerstack.addresses import Address
from peerstack.errors import PeerstackError
from peerstack.identity import PeerId, PublicKey

if TYPE_CHECKING:
    import asyncio

    from peerstack.net.pump import Pump
    from peerstack.net.stream import Stream

__all__ = ["Connection"]


class Connection:
    """One open connection; `peerstack.plugin.ConnectionInfo` is the part plugins see.

    Attributes:
        ended: It is gone.
        on_closed: Set it while not `ended`. Called once when the connection is gone, with the error or None for an orderly end.
    """

    __slots__ = ("_pump", "_waiters", "ended", "local_address", "on_closed", "opened_at", "peer_id", "public_key", "remote_address")

    def __init__(
        self, pump: Pump, peer_id: PeerId, public_key: PublicKey, local_address: Address, remote_address: Address, *, opened_at: float
    ) -> None:
        self.peer_id = peer_id
        self.public_key = public_key
        self.local_address = local_address
        self.remote_address = remote_address
        self.opened_at = opened_at
        self.on_closed: Callable[[Connection, PeerstackError | None], None] | None = None
        self.ended = False
        self._pump = pump
        self._waiters: dict[asyncio.Future[None], None] = {}

    def __repr__(self) -> str:
        return f"<Connection {'to' if self.outbound else 'from'} {self.peer_id} at {self.remote_address}>"

    @property
    def outbound(self) -> bool:
        """Whether we dialled it."""
        return self._pump.outbound

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds, once measured."""
        return self._pump.rtt

    @property
    def closed(self) -> bool:
        """Whether it is closing or gone: no stream can be opened any more."""
        return self._pump.closed

    @property
    def streams(self) -> Sequence[Stream]:
        """The streams that are open or have unread bytes, oldest first."""
        return tuple(self._pump.streams.values())

    @property
    def idle_since(self) -> float | None:
        """Loop time since when there is no stream; None while there is one."""
        return self._pump.idle_since

    def open_stream(self, protocols: Sequence[str], *, optimistic: bool = False) -> Stream:
        """Open a stream at once; it negotiates by itself (`Stream.negotiated` waits for the outcome).

        Args:
            protocols: Protocol ids, the preferred one first.
            optimistic: Let the first bytes go out before the remote agreed; for exactly one protocol.

        Raises:
            LimitExceeded: Too many streams are open or not acknowledged.
            ConnectionLost: The connection is closing or gone.
        """
        return self._pump.open_stream(protocols, optimistic=optimistic)

    def close(self) -> None:
        """Close in order: what was written leaves first. Returns at once; see `wait_closed`."""
        self._pump.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone; bounded by ``ConnectionConfig.close_timeout_s`` after `close`."""
        if not self.ended:
            waiter = self._pump.loop.create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                self._waiters.pop(waiter, None)

    def abort(self, error: PeerstackError | None = None) -> None:
        """Close at once; what is queued is lost, and waiting streams get `error`."""
        self._pump.abort(error)

    def pump_ended(self, error: PeerstackError | None) -> None:
        """For the pump: the connection is gone."""
        self.ended = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.on_closed is not None:
            self.on_closed(self, error)
