"""The transports of a host: which one serves an address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import PluginError
from peerstack.host import entry_points
from peerstack.net.transport import Transport

__all__ = ["find_transport", "load_transports"]

_STAND_INS = {"dns": ("127.0.0.1", "::1"), "dns4": ("127.0.0.1",), "dns6": ("::1",)}


def load_transports(config: HostConfig) -> tuple[Transport, ...]:
    """The transports the configuration gives, else every one that is installed, by name.

    A class with ``from_config(HostConfig)`` is made by it, any other one without arguments.

    Raises:
        PluginError: One cannot be imported or made; names the distribution at fault.
    """
    if config.transports is not None:
        return config.transports
    made = []
    for name, points in entry_points.installed(entry_points.TRANSPORTS).items():
        factory = entry_points.load(name, points)
        try:
            made.append(factory.from_config(config) if hasattr(factory, "from_config") else factory())
        except Exception as error:  # the boundary of foreign code
            distribution = entry_points.distribution_of(points[0])
            raise PluginError(f"transport {name!r} of {distribution} cannot be made: {error!r}", distribution=distribution) from error
    return cast("tuple[Transport, ...]", tuple(made))


def find_transport(transports: Sequence[Transport], address: Address) -> Transport | None:
    """The first transport that serves an address; for a DNS name, one that serves what the name can stand for."""
    forms = [address.with_host(host) for host in _STAND_INS.get(address.host_kind or "", ())] or [address]
    return next((transport for transport in transports for form in forms if transport.supports(form)), None)
