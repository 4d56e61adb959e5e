"""How a host starts and stops: all or nothing, in order, bounded in time.

Starting: peer book, storage, plugins loaded, listeners bound (nobody is let in yet), plugins started, doors opened, bootstrap peers
dialled. Stopping: doors closed, background work ended, plugins stopped in reverse, connections closed, handlers ended, storage closed, peer
book saved.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from peerstack.addresses import Address
from peerstack.errors import Closed
from peerstack.host.bootstrap import Bootstrap
from peerstack.host.core import Core
from peerstack.host.peerbook_file import PeerBookFile
from peerstack.host.plugin_loader import load_plugins
from peerstack.host.plugins import Plugins
from peerstack.plugin import LocalChanged, ProtocolPlugin

__all__ = ["Lifecycle", "State"]

_logger = logging.getLogger(__name__)

_SAVE_INTERVAL_S = 300.0
_SWEEP_INTERVAL_S = 5.0  # at most; a short idle timeout is looked at more often
_PLUGINS_SHARE = 0.7  # of the time to stop; the rest is for the connections


class State(enum.Enum):
    """Where a host stands."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


class Lifecycle:
    """Starts and stops the parts of one host, once."""

    def __init__(
        self, core: Core, *, listen: Sequence[Address], bootstrap: Sequence[Address], protocols: Sequence[str | ProtocolPlugin]
    ) -> None:
        """Take what the host was asked for.

        Raises:
            ConfigError: A bootstrap address names no peer.
        """
        config = core.config
        self.state = State.NEW
        self.plugins: Plugins | None = None
        self._core = core
        self._config = config
        self._listen = listen
        self._bootstrap_addresses = bootstrap
        self._bootstrap = Bootstrap(bootstrap, core.dialer, core.table, config.dial, config.environment.random)
        self._protocols = protocols
        self._file: PeerBookFile | None = None
        if config.data_folder is not None:
            self._file = PeerBookFile(config.data_folder, clock=core.time, wall_clock=config.environment.wall_clock)
        self._ended: asyncio.Event | None = None

    async def start(self) -> None:
        """Start everything, or undo it and raise."""
        if self.state is not State.NEW:
            raise Closed(f"a host starts once, and this one is {self.state.value}: make a new one")
        self.state = State.STARTING
        self._ended = asyncio.Event()
        try:
            await self._start()
        except BaseException:
            await self._finish()
            raise
        self.state = State.RUNNING

    async def close(self) -> None:
        """Stop everything; whoever calls while another one closes waits for it."""
        if self.state is State.NEW:
            self.state = State.CLOSED
        elif self.state is State.RUNNING:
            await self._finish()
        elif self._ended is not None:
            await self._ended.wait()

    async def _start(self) -> None:
        core = self._core
        if self._file is not None:
            self._file.load(core.book)
        await core.open_storage()
        plugins = load_plugins(self._protocols, self._config)
        self.plugins = Plugins(plugins, core, listening=bool(self._listen), bootstrap=self._bootstrap_addresses)
        await core.listening.open(self._listen)
        core.usable = True
        await self.plugins.start()
        core.table.accepting = True
        if len(core.table):
            core.events.emit(LocalChanged())  # to peers met before every plugin served
        core.background.spawn(self._sweep(), name="sweep")
        core.events.subscribe("bootstrap", self._bootstrap.on_peer)
        core.background.spawn(self._bootstrap.run(), name="bootstrap")
        if self._file is not None:
            core.background.spawn(self._save_often(), name="save the peer book")

    async def _finish(self) -> None:
        """Gracefully while there is time, then in any case."""
        self.state = State.CLOSING
        timeout = asyncio.timeout(self._config.stop_timeout_s)
        try:
            async with timeout:
                await self._stop()
        except TimeoutError:
            if not timeout.expired():
                raise
            _logger.warning("the host did not stop within %g s: ending it", self._config.stop_timeout_s)
        finally:
            try:
                await self._end()
            finally:
                self.state = State.CLOSED
                assert self._ended is not None, "set at the start"
                self._ended.set()

    async def _stop(self) -> None:
        core = self._core
        core.table.accepting = False
        await core.listening.close()
        await core.background.close()
        if self.plugins is not None:
            timeout = asyncio.timeout(self._config.stop_timeout_s * _PLUGINS_SHARE)
            try:
                async with timeout:
                    await self.plugins.stop()
            except TimeoutError:
                if not timeout.expired():
                    raise
                _logger.warning("the plugins did not stop in time")
        core.usable = False
        await core.dials.close()
        await core.close_connections()
        await core.handlers.close()

    async def _end(self) -> None:
        """What must happen even when we are in a hurry, or cancelled; what is done already does nothing."""
        core = self._core
        core.table.accepting = core.usable = False
        steps: list[Callable[[], Coroutine[Any, Any, object]]] = [core.listening.close, core.background.close]
        if self.plugins is not None:
            steps.append(self.plugins.end)
        steps += [core.dials.close, core.abort_connections, core.handlers.close, core.storage.close, self._save]
        interrupted = False
        for step in steps:
            try:
                await step()
            except asyncio.CancelledError:
                interrupted = True
        if interrupted:
            raise asyncio.CancelledError

    async def _sweep(self) -> None:
        interval = min(_SWEEP_INTERVAL_S, self._config.connection.idle_timeout_s / 4)
        while True:
            await asyncio.sleep(interval)
            self._core.table.sweep()

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_INTERVAL_S)
            await self._save()

    async def _save(self) -> None:
        if self._file is None:
            return
        data = self._file.encode(self._core.book)
        if data is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._file.write, data)
