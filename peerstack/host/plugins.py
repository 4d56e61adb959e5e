"""The life of a host's plugins: started in order, stopped in reverse; no crash of one reaches another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from peerstack.addresses import Address
from peerstack.errors import PluginError
from peerstack.host.context import Context
from peerstack.host.core import Core
from peerstack.host.plugin_loader import LoadedPlugin
from peerstack.plugin import ProtocolPlugin

__all__ = ["Plugins"]


class Plugins:
    """The plugins of one host, by name, in the order they start."""

    def __init__(self, loaded: Sequence[LoadedPlugin], core: Core, *, listening: bool, bootstrap: Sequence[Address]) -> None:
        self._core = core
        self._loaded = tuple(loaded)
        self._contexts = {each.name: Context(each, core, listening=listening, bootstrap=bootstrap) for each in loaded}
        self._started: list[tuple[LoadedPlugin, Callable[[], None]]] = []
        self.by_name: Mapping[str, ProtocolPlugin] = MappingProxyType({each.name: each.plugin for each in loaded})

    async def start(self) -> None:
        """Start each and serve its ids.

        Raises:
            PluginError: One failed or took too long; names the distribution at fault. Those started before run until `stop`.
        """
        for each in self._loaded:
            await self._start(each, self._contexts[each.name])

    async def _start(self, each: LoadedPlugin, context: Context) -> None:
        unsubscribe = self._core.events.subscribe(each.name, each.plugin.on_peer)
        patience = self._core.config.start_timeout_s
        timeout = asyncio.timeout(patience)
        try:
            async with timeout:
                await each.plugin.start(context)
            if each.plugin.serve_at_start:
                context.register(*each.plugin.ids)
        except BaseException as error:
            unsubscribe()
            if timeout.expired():
                raise each.error(f"did not start within {patience:g} seconds") from error
            if isinstance(error, PluginError) or not isinstance(error, Exception):
                raise
            raise each.error(f"failed to start: {error!r}") from error
        self._started.append((each, unsubscribe))

    async def stop(self) -> None:
        """Stop each in reverse order; one that fails is logged, and the next one is stopped."""
        while self._started:
            each, unsubscribe = self._started.pop()
            context = self._contexts[each.name]
            try:
                await each.plugin.stop()
            except Exception as error:  # noqa: BLE001 - the boundary of a plugin
                context.crashed("stop", error)
            finally:
                unsubscribe()
            await context.close()

    async def end(self) -> None:
        """End what is left of every plugin, without asking it. Idempotent."""
        for _, unsubscribe in self._started:
            unsubscribe()
        self._started.clear()
        for each in reversed(self._loaded):
            await self._contexts[each.name].close()
