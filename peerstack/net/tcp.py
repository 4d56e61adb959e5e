"""TCP over asyncio (or uvloop): bytes arrive, reading pauses and resumes.

All links of a transport share one receive buffer: a link's bytes are consumed before the loop reads for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import DialError, InvalidAddress, ListenError
from peerstack.net.transport import Accept, LinkReceiver

__all__ = ["TcpConfig", "TcpTransport"]

_RECEIVE_BUFFER_BYTES: Final = 256 << 10  # at least one whole Noise record of 2 + 65,535 bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpConfig:
    """How sockets are made."""

    backlog: int = 1024
    """Connections the kernel holds until they are accepted."""
    reuse_port: bool = False
    """Whether several listeners may share a port (SO_REUSEPORT)."""
    dial_from_listen_port: bool = False
    """Whether dials leave from the port of a listener of the same family; needs `reuse_port`."""


class TcpTransport:
    """Dials and listens on ``/ip4/…/tcp/…`` and ``/ip6/…/tcp/…``."""

    def __init__(self, config: TcpConfig | None = None) -> None:
        self._config = config or TcpConfig()
        self._receive_buffer = memoryview(bytearray(_RECEIVE_BUFFER_BYTES))
        self._listeners: list[_TcpListener] = []

    @classmethod
    def from_config(cls, config: HostConfig) -> TcpTransport:
        """Make the transport of a host."""
        from_port = config.dial.from_listen_port
        return cls(TcpConfig(reuse_port=from_port, dial_from_listen_port=from_port))

    def supports(self, address: Address) -> bool:
        """Whether `address` is numeric TCP."""
        return address.is_tcp() and address.host_kind in ("ip4", "ip6")

    async def dial(self, address: Address, receiver: LinkReceiver) -> _TcpLink:
        """Connect to `address`.

        Raises:
            DialError: Refused, unreachable, or not an address of this transport.
        """
        host, port = _endpoint(address)
        loop = asyncio.get_running_loop()
        source = self._source_port(address) if self._config.dial_from_listen_port else None
        try:
            sock = await _connect_from(source, host, port) if source is not None else None
            where: dict[str, Any] = {"host": host, "port": port} if sock is None else {"sock": sock}
            _, link = await loop.create_connection(lambda: _TcpLink(self._receive_buffer, receiver, address), **where)
        except OSError as error:
            raise DialError(f"cannot connect to {address}: {os.strerror(error.errno) if error.errno else error}") from error
        if link.nameless:
            raise DialError(f"{address} reset the connection at once")
        return link

    async def listen(self, address: Address, accept: Accept) -> _TcpListener:
        """Bind `address` and accept.

        Raises:
            ListenError: The address is in use, not ours, or not permitted.
        """
        try:
            host, port = _endpoint(address)
        except DialError as error:
            raise ListenError(str(error)) from error
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: _TcpLink(self._receive_buffer, accept, None),
                host,
                port,
                backlog=self._config.backlog,
                reuse_port=self._config.reuse_port or None,
            )
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise ListenError(f"cannot listen on {address}: {reason}") from error
        listener = _TcpListener(server, self._listeners)
        self._listeners.append(listener)
        return listener

    def _source_port(self, target: Address) -> int | None:
        for listener in self._listeners:
            for bound in listener.addresses:
                if bound.host_kind == target.host_kind and bound.port is not None:
                    return bound.port
        return None


class _TcpListener:
    def __init__(self, server: asyncio.Server, registered: list[_TcpListener]) -> None:
        self._server = server
        self._registered = registered
        self.addresses: Sequence[Address] = tuple(_address_of(sock.getsockname()) for sock in server.sockets)

    async def close(self) -> None:
        """Stop accepting; accepted links live on (so this does not wait for them)."""
        if self in self._registered:
            self._registered.remove(self)
        self._server.close()
        await asyncio.sleep(0)  # the loop forgets the listening socket


class _TcpLink(asyncio.BufferedProtocol):
    """One socket: an asyncio protocol towards the loop, a `Link` towards the pump."""

    __slots__ = ("_accept", "_buffer", "_local", "_paused", "_receiver", "_remote", "_transport", "nameless")

    def __init__(self, buffer: memoryview, receiver: LinkReceiver | Accept, remote: Address | None) -> None:
        self._buffer = buffer
        self._receiver: LinkReceiver | None = None if remote is None else cast("LinkReceiver", receiver)
        self._accept = cast("Accept", receiver) if remote is None else None
        self._remote = remote
        self._local: Address | None = None
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self.nameless = False  # the remote was gone before its address could be asked for

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local = _address_of(transport.get_extra_info("sockname"))
            remote = self._remote or _address_of(transport.get_extra_info("peername"))
        except (OSError, InvalidAddress, TypeError):  # the remote is gone already: it has no name any more
            self.nameless = True
            self._receiver = None
        else:
            self._remote = remote
            if self._accept is not None:
                self._receiver = self._accept(remote)
        if self._receiver is None:
            self._transport.abort()
        else:
            self._receiver.link_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._receiver is not None:
            self._receiver.link_received(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        if self._receiver is not None:
            self._receiver.link_eof()
        return True  # our direction stays open until the pump closes it

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.link_writable(False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.link_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.link_lost(exc)

    # what the pump calls

    @property
    def local_address(self) -> Address:
        assert self._local is not None
        return self._local

    @property
    def remote_address(self) -> Address:
        assert self._remote is not None
        return self._remote

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._transport is not None
        if self._receiver is not None:  # asyncio forgets its loop once the connection is lost
            self._transport.write(data)

    def write_eof(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the remote reset it first: connection_lost follows
                self._transport.write_eof()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def abort(self) -> None:
        assert self._transport is not None
        if self._receiver is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        assert self._transport is not None
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused = True

    def resume_reading(self) -> None:
        assert self._transport is not None
        if self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        self._paused = False


def _endpoint(address: Address) -> tuple[str, int]:
    if not address.is_tcp() or address.host is None or address.port is None:
        raise DialError(f"{address} is not a TCP address")
    return address.host, address.port


def _address_of(sockname: Any) -> Address:
    host, port = sockname[0], sockname[1]
    kind = "ip6" if ":" in host else "ip4"
    return Address.parse(f"/{kind}/{host.partition('%')[0]}/tcp/{port}")


async def _connect_from(source_port: int, host: str, port: int) -> socket.socket | None:
    """Connect from a port of ours; None where the system does not let us (such a connection exists already, for one)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))  # noqa: S104 - dials out only, from the listeners' port
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            return None
        raise
    return sock
