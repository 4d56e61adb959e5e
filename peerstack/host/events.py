"""Peer events: one order for everybody, and a listener that crashes disturbs nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from peerstack.plugin import PeerEvent

__all__ = ["PeerEvents"]

_Listener = Callable[[PeerEvent], None]


class PeerEvents:
    """Hands each event to every listener, in the order they subscribed, before the next event."""

    def __init__(self, on_crash: Callable[[str, BaseException], None]) -> None:
        """Start without listeners.

        Args:
            on_crash: Told of a listener, by name, that raised.
        """
        self._on_crash = on_crash
        self._listeners: dict[object, tuple[str, _Listener]] = {}
        self._queue: deque[PeerEvent] = deque()
        self._draining = False

    def subscribe(self, name: str, listener: _Listener) -> Callable[[], None]:
        """Call `listener` with each event from now on; returns the way to end that."""
        key = object()
        self._listeners[key] = (name, listener)

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def emit(self, event: PeerEvent) -> None:
        """Tell everybody. An event emitted by a listener is told after the one it listens to."""
        self._queue.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._queue:
                self._tell(self._queue.popleft())
        finally:
            self._draining = False

    def _tell(self, event: PeerEvent) -> None:
        for name, listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - the boundary of a plugin: its crash is reported and ends nothing else
                self._on_crash(name, error)
