"""Installed plugins and transports, found by entry point: only what is asked for is imported."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from peerstack.errors import PluginError

__all__ = ["PROTOCOLS", "TRANSPORTS", "distribution_of", "installed", "load", "name_of_class"]

PROTOCOLS = "peerstack.protocols"
TRANSPORTS = "peerstack.transports"


def installed(group: str) -> dict[str, list[EntryPoint]]:
    """Every entry point of a group by name, sorted; more than one of a name come from different distributions."""
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, distribution_of(point), point.value)):
        same = found.setdefault(point.name, [])
        if (distribution_of(point), point.value) not in [(distribution_of(other), other.value) for other in same]:
            same.append(point)
    return found


def distribution_of(point: EntryPoint) -> str:
    """The distribution that an entry point came with, for people."""
    return point.dist.name if point.dist is not None else "an unknown distribution"


def load(name: str, points: list[EntryPoint]) -> Any:
    """Import what a name stands for.

    Raises:
        PluginError: Several distributions offer the name, or the import fails; names the distribution at fault.
    """
    point = points[0]
    if len(points) > 1:
        names = " and ".join(distribution_of(each) for each in points)
        raise PluginError(f"plugin name {name!r} is offered by {names}: uninstall one", distribution=distribution_of(points[-1]))
    try:
        return point.load()
    except Exception as error:  # the boundary of foreign code: whatever its import raises, it cannot be loaded
        raise PluginError(
            f"plugin {name!r} of {distribution_of(point)} cannot be imported from {point.value}: {error!r}",
            distribution=distribution_of(point),
        ) from error


def name_of_class(group: str, cls: type) -> tuple[str, str]:
    """The name and distribution under which a class is offered, or two empty texts. Imports nothing."""
    for name, points in installed(group).items():
        for point in points:
            found: Any = sys.modules.get(point.module)
            for attribute in point.attr.split("."):
                found = getattr(found, attribute, None)
            if found is cls:
                return name, distribution_of(point)
    return "", ""
