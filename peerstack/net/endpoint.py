"""What all connections of a host share, and how one comes about: dialled or accepted, then upgraded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import DeadlineExceeded, PeerstackError
from peerstack.identity import PeerId, PrivateKey
from peerstack.net.connection import Connection
from peerstack.net.pump import Pump, PumpCallbacks
from peerstack.net.stream import Stream
from peerstack.net.transport import Listener, Transport
from peerstack.net.upgrade import Upgrade
from peerstack.wire.noise_handshake import NoiseCredentials, NoiseHandshake, Role, VerifiedKeys
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_session import YamuxSession
from peerstack.wire.yamux_window import WindowBudget

__all__ = ["Endpoint"]


class Endpoint:
    """Makes the connections of one host.

    Args:
        identity: The host's key.
        config: The host's configuration.
        on_stream: Called with each inbound stream before its protocol is negotiated.
    """

    def __init__(self, identity: PrivateKey, config: HostConfig, *, on_stream: Callable[[Stream], None]) -> None:
        self._config = config
        self._entropy = config.environment.entropy
        self._credentials = NoiseCredentials(identity, self._entropy(32))
        self._verified = VerifiedKeys()
        self._on_stream = on_stream
        self._pending: dict[Pump, None] = {}  # inbound, in the order they came
        muxer, limits = config.muxer, config.limits
        self._growth_budget = WindowBudget(muxer.host_window_budget_bytes)
        self._unread_budget = WindowBudget(limits.max_unread_host_bytes)
        self._yamux = YamuxConfig(
            max_window_bytes=muxer.max_window_bytes,
            connection_window_budget_bytes=muxer.connection_window_budget_bytes,
            max_unread_bytes=limits.max_unread_connection_bytes,
            max_send_buffer_bytes=muxer.max_send_buffer_bytes,
            keepalive_interval_s=muxer.keepalive_interval_s,
            keepalive_timeout_s=muxer.keepalive_timeout_s,
            half_closed_timeout_s=muxer.half_closed_timeout_s,
            max_streams_in=limits.max_streams_per_connection,
            max_streams_out=limits.max_streams_per_connection,
        )

    async def connect(self, transport: Transport, address: Address, expected_peer: PeerId | None) -> Connection:
        """Dial one address and secure the connection.

        Args:
            transport: One that supports `address`.
            address: Numeric, without ``/p2p``.
            expected_peer: Who has to answer; None accepts anybody.

        Raises:
            DialError: The address did not answer.
            PeerIdMismatch: Somebody else answered.
            HandshakeFailed: The secure channel could not be set up.
            ProtocolNotSupported: The remote speaks neither Noise nor yamux.
            DeadlineExceeded: It took longer than ``DialConfig.address_timeout_s``.
        """
        opened: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        def succeeded(connection: Connection) -> None:
            if not opened.done():
                opened.set_result(connection)

        def failed(error: PeerstackError) -> None:
            if not opened.done():
                opened.set_exception(error)

        pump = self._make_pump(PumpCallbacks(on_open=succeeded, on_failed=failed, on_stream=self._on_stream), expected_peer, outbound=True)
        timeout, connection = self._config.dial.address_timeout_s, None
        try:
            async with asyncio.timeout(timeout):
                await transport.dial(address, pump)
                connection = await opened
        except TimeoutError as error:
            raise DeadlineExceeded(f"no connection to {address} within {timeout} seconds") from error
        finally:
            if connection is None:  # also where we are cancelled in the very turn in which it came up
                if not opened.cancel() and not opened.cancelled():
                    opened.exception()  # nobody else will ask
                pump.abort()
        return connection

    async def listen(
        self,
        transport: Transport,
        address: Address,
        *,
        admit: Callable[[Address], bool],
        on_connection: Callable[[Connection], None],
        on_failed: Callable[[Address, PeerstackError], None],
    ) -> Listener:
        """Accept connections at `address`.

        Args:
            transport: One that supports `address`.
            address: Numeric, without ``/p2p``; port 0 lets the system choose.
            admit: Asked with the remote's address before any work is done for a link. What it admits is pending until `on_connection` or
                `on_failed` is called for it, once.
            on_connection: Called with each secured connection.
            on_failed: Called with the remote's address when a link did not become a connection.

        Raises:
            ListenError: The address cannot be bound.
        """

        def accept(remote: Address) -> Pump | None:
            if not admit(remote):
                return None

            def opened(connection: Connection) -> None:
                self._pending.pop(pump, None)
                on_connection(connection)

            def failed(error: PeerstackError) -> None:
                self._pending.pop(pump, None)
                on_failed(remote, error)

            pump = self._make_pump(PumpCallbacks(on_open=opened, on_failed=failed, on_stream=self._on_stream), None, outbound=False)
            self._pending[pump] = None
            return pump

        return await transport.listen(address, accept)

    def abort_pending(self) -> None:
        """End every inbound link whose handshake is not done."""
        for pump in list(self._pending):
            pump.abort()

    def _make_pump(self, callbacks: PumpCallbacks, expected_peer: PeerId | None, *, outbound: bool) -> Pump:
        handshake = NoiseHandshake(
            Role.INITIATOR if outbound else Role.RESPONDER,
            self._credentials,
            ephemeral=self._entropy(32),
            verified=self._verified,
            expected_peer=expected_peer,
        )
        return Pump(
            Upgrade(handshake, outbound=outbound),
            partial(self._make_session, outbound),
            callbacks,
            self._config.connection,
            outbound=outbound,
        )

    def _make_session(self, initiator: bool, now: float) -> YamuxSession:
        return YamuxSession(self._yamux, initiator=initiator, now=now, growth_budget=self._growth_budget, unread_budget=self._unread_budget)
