"""The addresses a host listens on, and those at which others reach it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence

from peerstack.addresses import Address, expand_unspecified, resolve
from peerstack.environment import Resolver
from peerstack.errors import DialError, InvalidAddress, ListenError
from peerstack.host.connections import ConnectionTable
from peerstack.host.transports import find_transport
from peerstack.net.endpoint import Endpoint
from peerstack.net.transport import Listener, Transport

__all__ = ["Listening", "interface_hosts"]

_ROUTE_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # documentation networks: RFC 5737, RFC 3849


def interface_hosts() -> list[str]:
    """Numeric addresses of this machine: loopback, and those it would send from to the internet. Sends nothing."""
    hosts = ["127.0.0.1", "::1"]
    for family, probe in _ROUTE_PROBES:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((probe, 9))
            hosts.append(str(sock.getsockname()[0]))
    return list(dict.fromkeys(hosts))


class Listening:
    """All listeners of a host: open together or not at all."""

    def __init__(self, endpoint: Endpoint, transports: Sequence[Transport], table: ConnectionTable, resolver: Resolver) -> None:
        self._endpoint = endpoint
        self._transports = transports
        self._table = table
        self._resolver = resolver
        self._listeners: list[Listener] = []
        self._addresses: list[Address] = []

    @property
    def addresses(self) -> Sequence[Address]:
        """Where others reach the host, without ``/p2p``; ``0.0.0.0`` and ``::`` stand here as the interfaces they mean."""
        return tuple(self._addresses)

    async def open(self, addresses: Sequence[Address], interfaces: Callable[[], Sequence[str]] = interface_hosts) -> None:
        """Bind every address.

        Args:
            addresses: What to bind; a DNS name is resolved, and each of its addresses bound.
            interfaces: Gives this machine's numeric addresses.

        Raises:
            ListenError: One cannot be bound; none is bound then.
        """
        try:
            for address in addresses:
                for bindable in await self._resolved(address):
                    await self._bind(bindable)
        except BaseException:
            await self.close()
            raise
        bound = [address for listener in self._listeners for address in listener.addresses]
        hosts = interfaces() if any(address.is_unspecified() for address in bound) else ()
        self._addresses = list(dict.fromkeys(found for address in bound for found in expand_unspecified(address, hosts)))

    async def close(self) -> None:
        """Stop accepting. Idempotent."""
        listeners, self._listeners, self._addresses = self._listeners, [], []
        for listener in reversed(listeners):
            await listener.close()

    async def _resolved(self, address: Address) -> list[Address]:
        try:
            return await resolve(address.without_peer(), self._resolver)
        except (DialError, InvalidAddress) as error:
            raise ListenError(f"cannot listen on {address}: {error}") from error

    async def _bind(self, address: Address) -> None:
        transport = find_transport(self._transports, address)
        if transport is None:
            raise ListenError(f"cannot listen on {address}: no transport of this host serves it")
        table = self._table
        listener = await self._endpoint.listen(transport, address, admit=table.admit, on_connection=table.accept, on_failed=table.failed)
        self._listeners.append(listener)
