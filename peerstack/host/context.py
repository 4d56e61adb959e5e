"""What the host gives one plugin: see `peerstack.plugin.PluginContext`, which documents every member."""

# ruff: noqa: D102
from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from peerstack.addresses import Address
from peerstack.dht.store.storage import Storage
from peerstack.environment import Environment
from peerstack.errors import Closed
from peerstack.host.core import Core, Target
from peerstack.host.metrics import PluginMetrics
from peerstack.host.plugin_loader import LoadedPlugin
from peerstack.host.registry import Registration
from peerstack.host.tasks import TaskScope
from peerstack.identity import PeerId, PublicKey
from peerstack.plugin import ConnectionInfo, Metrics, PeerIdentified, PeerInfo, Stream

__all__ = ["Context"]


class Context:
    """One plugin's view of its host."""

    def __init__(self, loaded: LoadedPlugin, core: Core, *, listening: bool, bootstrap: Sequence[Address]) -> None:
        self._loaded = loaded
        self._core = core
        self._listening = listening
        self._bootstrap = tuple(bootstrap)
        self._logger = logging.getLogger(f"peerstack.plugin.{loaded.name}")
        self._metrics = PluginMetrics(core.metrics, loaded.name)
        self._scope = TaskScope(loaded.name, self.crashed)
        self._served: dict[str, None] = {}
        self._tags: dict[tuple[PeerId, str], None] = {}

    @property
    def name(self) -> str:
        return self._loaded.name

    @property
    def peer_id(self) -> PeerId:
        return self._core.peer_id

    @property
    def public_key(self) -> PublicKey:
        return self._core.identity.public_key

    @property
    def listening(self) -> bool:
        return self._listening

    @property
    def addresses(self) -> Sequence[Address]:
        return self._core.listening.addresses

    @property
    def protocols(self) -> Sequence[str]:
        return self._core.registry.protocol_ids()

    @property
    def agent(self) -> str:
        return self._core.agent

    @property
    def environment(self) -> Environment:
        return self._core.config.environment

    @property
    def logger(self) -> logging.Logger:
        return self._logger

    @property
    def metrics(self) -> Metrics:
        return self._metrics

    @property
    def data_folder(self) -> str | None:
        if self._core.config.data_folder is None:
            return None
        folder = Path(self._core.config.data_folder) / self.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(folder)

    @property
    def storage(self) -> Storage:
        return self._core.storage

    @property
    def bootstrap(self) -> Sequence[Address]:
        return self._bootstrap

    def time(self) -> float:
        return self._core.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        return self._scope.call_later(delay, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str = "") -> None:
        self._scope.spawn(coroutine, name=name)

    def sign(self, data: bytes) -> bytes:
        return self._core.identity.sign(data)

    def open(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        return self._core.open(target, protocols, timeout=timeout, confirm=confirm)

    async def open_stream(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> Stream:
        return await self._core.open_stream(target, protocols, timeout=timeout, confirm=confirm)

    async def connect(self, target: Target, *, timeout: float | None = None) -> ConnectionInfo:
        return await self._core.connect(target, timeout=timeout)

    def connections(self, peer_id: PeerId) -> Sequence[ConnectionInfo]:
        return self._core.table.of(peer_id)

    def peer(self, peer_id: PeerId) -> PeerInfo | None:
        return self._core.peer_info(peer_id)

    def connected_peers(self) -> Sequence[PeerId]:
        return self._core.table.peers()

    def add_peer(
        self,
        peer_id: PeerId,
        addresses: Sequence[Address] = (),
        *,
        ttl: float = 3600,
        protocols: frozenset[str] | None = None,
        agent: str | None = None,
    ) -> None:
        if peer_id == self.peer_id:
            return
        self._core.book.add_addresses(peer_id, addresses, ttl=ttl)
        if protocols is not None or agent is not None:
            self._core.book.describe(peer_id, protocols=protocols, agent=agent)

    def protect(self, peer_id: PeerId, tag: str) -> None:
        own_tag = f"{self.name}: {tag}"
        self._tags[peer_id, own_tag] = None
        self._core.table.protect(peer_id, own_tag)

    def unprotect(self, peer_id: PeerId, tag: str) -> None:
        own_tag = f"{self.name}: {tag}"
        self._tags.pop((peer_id, own_tag), None)
        self._core.table.unprotect(peer_id, own_tag)

    def announce(self, event: PeerIdentified) -> None:
        self._core.events.emit(event)

    def register(self, *protocol_ids: str) -> None:
        """Serve some of the plugin's ids.

        Raises:
            PluginError: One is not among them, or is served already.
            Closed: The plugin has stopped.
        """
        loaded = self._loaded
        if self._scope.closed:
            raise Closed(f"{loaded.owner()} has stopped: it serves nothing any more")
        for protocol_id in protocol_ids:
            if protocol_id not in loaded.plugin.ids:
                raise loaded.error(f"cannot serve {protocol_id}: it is not among its `ids`")
            registration = Registration(
                name=loaded.name,
                handler=loaded.plugin.handle,
                limits=loaded.plugin.limits,
                plugin=loaded.plugin,
                distribution=loaded.distribution,
            )
            if protocol_id not in self._served:
                self._core.registry.register(protocol_id, registration)
                self._served[protocol_id] = None

    def unregister(self, *protocol_ids: str) -> None:
        for protocol_id in protocol_ids:
            if protocol_id in self._served:
                del self._served[protocol_id]
                self._core.registry.unregister(protocol_id)

    def crashed(self, who: str, error: BaseException) -> None:
        """For the host: one of the plugin's tasks, timers or callbacks raised."""
        self._logger.error("%s crashed", who, exc_info=error)
        self._metrics.count("crashes")

    async def close(self) -> None:
        """For the host: withdraw the ids, end the tasks, protect nobody any more. Idempotent."""
        self.unregister(*self._served)
        for peer_id, tag in self._tags:
            self._core.table.unprotect(peer_id, tag)
        self._tags.clear()
        for task in await self._scope.close():
            self._logger.warning("task %s did not end when it was cancelled", task)
