"""Inbound streams: multistream-select on the new stream, registry lookup, limits, one task per handler."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from peerstack.errors import Closed, PeerstackError
from peerstack.host.registry import Registration, Registry
from peerstack.host.tasks import TaskScope
from peerstack.identity import PeerId
from peerstack.net.stream import Stream

__all__ = ["Dispatcher"]

OnRefused = Callable[[str], None]
"""Told the name of the limit that refused a stream."""
OnHandlerError = Callable[[Registration, BaseException], None]


class Dispatcher:
    """Hands each inbound stream to the plugin that serves its protocol.

    Args:
        registry: Who serves what.
        scope: Owns the handlers' tasks.
        logger: Where a handler's crash is told.
        on_handler_error: Counts a handler's crash.
        on_refused: Counts a stream refused by a limit.
    """

    def __init__(
        self, registry: Registry, scope: TaskScope, logger: logging.Logger, *, on_handler_error: OnHandlerError, on_refused: OnRefused
    ) -> None:
        self._registry = registry
        self._scope = scope
        self._logger = logger
        self._on_handler_error = on_handler_error
        self._on_refused = on_refused
        self._open: Counter[str] = Counter()
        self._open_per_peer: Counter[tuple[str, PeerId]] = Counter()

    def on_stream(self, stream: Stream) -> None:
        """Take a stream the remote opened; for `Endpoint`."""
        stream.listen(self._registry.supports, self._selected)

    def _selected(self, stream: Stream) -> None:
        registration = self._registry.find(stream.protocol)
        if registration is None:
            stream.reset()
            return
        limit = self._limit_reached(registration, stream.peer_id)
        if limit:
            self._logger.debug("refused a stream of %s from %s: %s reached", stream.protocol, stream.peer_id, limit)
            self._on_refused(limit)
            stream.reset()
            return
        try:
            task = self._scope.spawn(self._serve(registration, stream), name=stream.protocol)
        except Closed:
            stream.reset()
            return
        key = (registration.name, stream.peer_id)
        self._open[registration.name] += 1  # now, not when the task runs: many streams can open within one turn
        self._open_per_peer[key] += 1
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, PeerId]) -> None:
        self._open[key[0]] -= 1
        self._open_per_peer[key] -= 1
        if not self._open_per_peer[key]:
            del self._open_per_peer[key]

    def _limit_reached(self, registration: Registration, peer_id: PeerId) -> str:
        limits = registration.limits
        if self._open[registration.name] >= limits.max_streams:
            return "max_streams"
        if self._open_per_peer[registration.name, peer_id] >= limits.max_streams_per_peer:
            return "max_streams_per_peer"
        return ""

    async def _serve(self, registration: Registration, stream: Stream) -> None:
        """Run one handler; whatever it does, the stream ends with it."""
        try:
            await registration.handler(stream)
            await stream.close()
        except asyncio.CancelledError:
            stream.reset()
            raise
        except (PeerstackError, EOFError, TimeoutError) as error:  # the peer went away or misbehaved: its affair
            self._logger.debug("%s with %s ended: %s", stream.protocol, stream.peer_id, error)
            stream.reset()
        except Exception as error:  # the boundary of a plugin: its crash is logged and counted, and ends nothing else
            self._logger.exception("the handler of %s crashed", stream.protocol)
            self._on_handler_error(registration, error)
            stream.reset()
