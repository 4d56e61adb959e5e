"""The parts of one host, wired; and what the host's user and its plugins both do with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.dht.store import MemoryStorage, Storage
from peerstack.environment import clock_of
from peerstack.errors import Closed, ConnectionLost, InvalidAddress, ProtocolNotSupported, StoreError
from peerstack.host.connections import ConnectionTable
from peerstack.host.deadlines import deadline
from peerstack.host.dialer import Dialer
from peerstack.host.dispatch import Dispatcher
from peerstack.host.events import PeerEvents
from peerstack.host.listening import Listening
from peerstack.host.metrics import HostMetrics
from peerstack.host.peerbook import PeerBook
from peerstack.host.registry import Registration, Registry
from peerstack.host.tasks import TaskScope
from peerstack.host.transports import load_transports
from peerstack.identity import PeerId, PrivateKey
from peerstack.net.connection import Connection
from peerstack.net.endpoint import Endpoint
from peerstack.net.stream import Stream
from peerstack.plugin import LocalChanged, PeerConnected, PeerDisconnected, PeerInfo

__all__ = ["STORAGE_FILE", "Core", "Target"]

Target = PeerId | Address | str
"""A peer id, an address that ends in ``/p2p/<peer id>``, or the text of either."""

STORAGE_FILE: Final = "peerstack.db"
"""The storage's name in the data folder."""

_logger = logging.getLogger(__name__)


class Core:
    """Making one touches nothing outside; `Host` starts and stops it."""

    def __init__(self, identity: PrivateKey, config: HostConfig) -> None:
        """Wire the parts.

        Raises:
            ConfigError: A part refuses its configuration.
            PluginError: A transport cannot be loaded.
        """
        self.identity = identity
        self.peer_id = identity.peer_id
        self.config = config
        self.agent = config.agent or _default_agent()
        self.storage: Storage = config.storage or MemoryStorage()
        self.usable = False
        """Whether connections and streams may be opened."""
        self._clock: Callable[[], float] | None = None  # of the loop it first ran in
        self.metrics = HostMetrics()
        self.events = PeerEvents(self.crashed)
        self.registry = Registry(self._local_changed)
        self.book = PeerBook(config.peers, self.time)
        self.table = ConnectionTable(self.peer_id, config, self.metrics, clock=self.time, on_change=self._peer_changed)
        self.background = TaskScope("host", self.crashed)
        self.dials = TaskScope("dials", self.crashed)
        self.handlers = TaskScope("handlers", self.crashed)
        dispatcher = Dispatcher(
            self.registry, self.handlers, _logger, on_handler_error=self._handler_crashed, on_refused=self._stream_refused
        )
        self.endpoint = Endpoint(identity, config, on_stream=dispatcher.on_stream)
        transports = load_transports(config)
        self.listening = Listening(self.endpoint, transports, self.table, config.environment.resolver)
        self.dialer = Dialer(self.endpoint, transports, self.table, self.book, config, self.metrics, self.dials)

    def time(self) -> float:
        """Monotonic seconds of the event loop."""
        clock = self._clock
        if clock is None:
            clock = self._clock = clock_of(asyncio.get_running_loop())
        return clock()

    async def open_storage(self) -> None:
        """Open the storage in the data folder, if there is one and the application brought none of its own.

        Raises:
            StoreError: It cannot be used.
        """
        if self.config.storage is None and self.config.data_folder is not None:
            from peerstack.dht.store.sqlite import SqliteStorage  # loads sqlite3, which most programs do without

            folder = Path(self.config.data_folder)
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240 - once, at the start
            except OSError as error:
                raise StoreError(f"{folder} cannot be made: {error.strerror or error}") from error
            self.storage = await SqliteStorage.open(folder / STORAGE_FILE)

    # peers

    def parse_target(self, target: Target) -> tuple[PeerId, Sequence[Address]]:
        """The peer that is meant, and the address that was named for it.

        Raises:
            InvalidAddress: The address names no peer.
            InvalidPeerId: The text is no peer id.
        """
        if isinstance(target, str):
            target = Address.parse(target) if target.startswith("/") else PeerId.parse(target)
        if isinstance(target, PeerId):
            return target, ()
        if target.peer_id is None:
            raise InvalidAddress(f"{target} names no peer: add /p2p/<peer id>, so that nobody else can answer")
        try:
            return target.peer_id, (target.without_peer(),)
        except InvalidAddress:
            return target.peer_id, ()  # only /p2p/<peer id>

    async def connect(self, target: Target, *, timeout: float | None = None) -> Connection:
        """The connection to use for a peer, dialled if there is none. Raises as `Host.connect`."""
        peer_id, given = self.parse_target(target)
        async with deadline(timeout, f"connecting to {target}"):
            return (await self._connection(peer_id, given))[0]

    async def _connection(self, peer_id: PeerId, given: Sequence[Address]) -> tuple[Connection, bool]:
        """A connection, and whether it is fresh."""
        if not self.usable:
            raise Closed("the host is not running: use `async with Host(...)`")
        present = self.table.best(peer_id)
        return (present, False) if present is not None else (await self.dialer.connect(peer_id, given), True)

    def peer_info(self, peer_id: PeerId) -> PeerInfo | None:
        """What is known of a peer."""
        entry, connected = self.book.find(peer_id), bool(self.table.of(peer_id))
        if entry is None and not connected:
            return None
        return PeerInfo(
            peer_id=peer_id,
            addresses=tuple(address for address, _ in self.book.addresses(peer_id)),
            protocols=entry.protocols if entry is not None else frozenset(),
            agent=entry.agent if entry is not None else "",
            connected=connected,
        )

    # streams

    async def open_stream(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> Stream:
        """Open a stream. Raises as `Host.open_stream`."""
        ids = (protocols,) if isinstance(protocols, str) else tuple(protocols)
        if not ids:
            raise ValueError("name at least one protocol to open a stream for")
        peer_id, given = self.parse_target(target)
        async with deadline(timeout, f"opening {ids[0]} to {peer_id}"):
            connection, fresh = await self._connection(peer_id, given)
            try:
                return await self._negotiate(connection, ids, confirm=confirm)
            except ConnectionLost:
                if fresh:
                    raise
            # The connection ended before anything was said on the stream (the remote found it idle): another one will do.
            connection, _ = await self._connection(peer_id, given)
            return await self._negotiate(connection, ids, confirm=confirm)

    async def _negotiate(self, connection: Connection, ids: Sequence[str], *, confirm: bool) -> Stream:
        """Open on this connection: at once where the answer is foreseeable, else after the remote chose."""
        if not confirm and (len(ids) == 1 or self._serves(connection.peer_id, ids[0])):
            return connection.open_stream(ids[:1], optimistic=True)
        stream = connection.open_stream(ids, optimistic=len(ids) == 1)
        try:
            await stream.negotiated()
        except BaseException as error:
            stream.reset()
            self._note_refusal(connection.peer_id, error)
            raise
        return stream

    @asynccontextmanager
    async def open(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> AsyncIterator[Stream]:
        """Open a stream for a block: closed at its end, reset on an error. Raises as `Host.open`."""
        stream = await self.open_stream(target, protocols, timeout=timeout, confirm=confirm)
        try:
            yield stream
            await stream.close()
        except BaseException as error:
            stream.reset()
            self._note_refusal(stream.peer_id, error)
            raise

    def _serves(self, peer_id: PeerId, protocol: str) -> bool:
        entry = self.book.find(peer_id)
        return entry is not None and protocol in entry.protocols

    def _note_refusal(self, peer_id: PeerId, error: BaseException) -> None:
        if isinstance(error, ProtocolNotSupported):
            for protocol in error.protocols:
                self.book.disproved(peer_id, protocol)

    # what the parts tell

    def crashed(self, who: str, error: BaseException) -> None:
        """Log and count the crash of a background task or listener; the host lives on."""
        _logger.error("%s crashed", who, exc_info=error)
        self.metrics.count("peerstack_crashes_total")

    def _handler_crashed(self, registration: Registration, error: BaseException) -> None:
        self.metrics.count("peerstack_handler_errors_total", plugin=registration.name, error=type(error).__name__)

    def _stream_refused(self, limit: str) -> None:
        self.table.refusals.refuse(limit, "an inbound stream")

    def _local_changed(self) -> None:
        if self.table.accepting:  # while the host starts and stops everything changes: it tells once, when it runs
            self.events.emit(LocalChanged())

    def _peer_changed(self, event: PeerConnected | PeerDisconnected) -> None:
        if isinstance(event, PeerConnected):
            self.book.meet(event.peer_id)
        self.events.emit(event)

    async def close_connections(self) -> None:
        """Close every connection in order and wait for that."""
        self.endpoint.abort_pending()
        connections = self.table.all()
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()

    async def abort_connections(self) -> None:
        """End every connection at once."""
        self.endpoint.abort_pending()
        connections = self.table.all()
        for connection in connections:
            connection.abort(ConnectionLost("the host stopped", remote=False))
        for connection in connections:
            await connection.wait_closed()


def _default_agent() -> str:
    try:
        return f"peerstack/{version('peerstack')}"
    except PackageNotFoundError:
        return "peerstack"
