"""Which protocol ids a host serves, and who serves them. Ids match exactly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from peerstack.errors import PluginError
from peerstack.plugin import ProtocolLimits, ProtocolPlugin, Stream

__all__ = ["Handler", "Registration", "Registry"]

Handler = Callable[[Stream], Awaitable[None]]

_MAX_ID_BYTES = 1022  # a multistream line has at most 1024 bytes, its newline included, and starts with "/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """One served protocol id."""

    name: str
    """The plugin's name; for a handler of the application the protocol id."""
    handler: Handler
    limits: ProtocolLimits = field(default_factory=ProtocolLimits)
    plugin: ProtocolPlugin | None = None
    """None for a handler of the application."""
    distribution: str = ""
    """The installed distribution it came from, "" for the application's own."""

    def owner(self) -> str:
        """Who this is, for people."""
        return f"{self.name!r} of {self.distribution or 'the application'}"


class Registry:
    """Protocol id -> `Registration`."""

    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        """Make an empty registry.

        Args:
            on_change: Called after each registration and withdrawal.
        """
        self._registrations: dict[str, Registration] = {}
        self._on_change = on_change

    def register(self, protocol_id: str, registration: Registration) -> None:
        """Serve a protocol id.

        Raises:
            PluginError: The id is served already (the message names both sides), or cannot be a protocol id.
        """
        size = len(protocol_id.encode())
        if not (protocol_id.startswith("/") and 1 < size <= _MAX_ID_BYTES and protocol_id.isprintable()):
            raise PluginError(
                f"{registration.owner()}: {protocol_id!r} is no protocol id: expected text like /echo/1.0.0",
                distribution=registration.distribution,
            )
        present = self._registrations.get(protocol_id)
        if present is not None:
            raise PluginError(
                f"protocol id {protocol_id} is served by {present.owner()} already: {registration.owner()} cannot serve it too",
                distribution=registration.distribution,
            )
        self._registrations[protocol_id] = registration
        self._changed()

    def unregister(self, protocol_id: str) -> None:
        """Serve a protocol id no longer. Idempotent."""
        if self._registrations.pop(protocol_id, None) is not None:
            self._changed()

    def supports(self, protocol_id: str) -> bool:
        """Whether exactly this id is served."""
        return protocol_id in self._registrations

    def find(self, protocol_id: str) -> Registration | None:
        """Who serves exactly this id."""
        return self._registrations.get(protocol_id)

    def protocol_ids(self) -> list[str]:
        """Every id served, sorted."""
        return sorted(self._registrations)

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()
