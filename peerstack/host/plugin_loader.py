"""From names and objects to plugins in the order they start: found, loaded, configured, checked.

Whatever is wrong with a plugin names the distribution it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from peerstack.config import HostConfig
from peerstack.errors import ConfigError, PluginError
from peerstack.host import entry_points
from peerstack.host.settings import build_config
from peerstack.plugin import ProtocolPlugin

__all__ = ["LoadedPlugin", "load_plugins"]

_ALWAYS = ("identify", "ping")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPlugin:
    """A plugin, not started."""

    name: str
    plugin: ProtocolPlugin
    distribution: str = ""
    """"" for the application's own object."""

    def owner(self) -> str:
        """Who this is, for people."""
        return f"plugin {self.name!r} of {self.distribution or 'the application'}"

    def error(self, message: str) -> PluginError:
        """An error that is this plugin's fault."""
        return PluginError(f"{self.owner()} {message}", distribution=self.distribution)


def load_plugins(requested: Sequence[str | ProtocolPlugin], config: HostConfig) -> list[LoadedPlugin]:
    """Load what is asked for, and identify and ping where they are installed.

    Args:
        requested: Names of installed plugins, or the application's own objects.
        config: Its `protocol_settings` configure those that are named.

    Returns:
        The plugins in the order they start: in the order asked for, each after what it needs.

    Raises:
        PluginError: One cannot be imported or made, is there twice, needs one that is not there, or needs itself.
        ConfigError: A setting is unknown or has the wrong type, or belongs to no plugin.
    """
    points = entry_points.installed(entry_points.PROTOCOLS)
    loaded = [_load(name_or_object, points, config) for name_or_object in requested]
    present = {each.name for each in loaded}
    automatic = [_load(name, points, config) for name in _ALWAYS if name in points and name not in present]
    by_name: dict[str, LoadedPlugin] = {}
    for each in automatic + loaded:
        other = by_name.setdefault(each.name, each)
        if other is not each:
            raise each.error(f"has the name of {other.owner()}: give one of them another `name`")
    for name in config.protocol_settings:
        if name not in points and name not in by_name:
            raise ConfigError(f"protocols.{name}: no such plugin is installed: {_choices(points)}")
    return _start_order(by_name)


def _load(wanted: str | ProtocolPlugin, points: Mapping[str, list[EntryPoint]], config: HostConfig) -> LoadedPlugin:
    if not isinstance(wanted, str):
        if not isinstance(wanted, ProtocolPlugin):
            raise PluginError(f"{wanted!r} is neither the name of a plugin nor a ProtocolPlugin object")
        name, distribution = entry_points.name_of_class(entry_points.PROTOCOLS, type(wanted))
        return LoadedPlugin(name=wanted.name or name or type(wanted).__name__.lower(), plugin=wanted, distribution=distribution)
    if wanted not in points:
        raise PluginError(f"no plugin {wanted!r} is installed: {_choices(points)}")
    distribution = entry_points.distribution_of(points[wanted][0])
    cls = entry_points.load(wanted, points[wanted])
    if not (isinstance(cls, type) and issubclass(cls, ProtocolPlugin)):
        raise PluginError(f"plugin {wanted!r} of {distribution} is no ProtocolPlugin class", distribution=distribution)
    try:
        plugin = _configured(wanted, cls, config)
    except ConfigError:
        raise
    except Exception as error:  # the boundary of foreign code
        raise PluginError(f"plugin {wanted!r} of {distribution} cannot be made: {error!r}", distribution=distribution) from error
    return LoadedPlugin(name=wanted, plugin=plugin, distribution=distribution)


def _configured(name: str, cls: type[ProtocolPlugin], config: HostConfig) -> ProtocolPlugin:
    """``Class(config)`` with the settings and, where its ``Config`` has such a field, the host's preset; ``Class()`` without either."""
    settings = config.protocol_settings.get(name, {})
    config_class = getattr(cls, "Config", None)
    if config_class is None:
        if settings:
            raise ConfigError(f"protocols.{name}: this plugin has no settings, not {next(iter(settings))!r}")
        return cls()
    takes_preset = "preset" in getattr(config_class, "__dataclass_fields__", {})
    if not settings and not takes_preset:
        return cls()
    factory: Any = cls
    plugin: ProtocolPlugin = factory(build_config(f"protocols.{name}", config_class, settings, {"preset": config.preset}))
    return plugin


def _start_order(by_name: Mapping[str, LoadedPlugin]) -> list[LoadedPlugin]:
    ordered: dict[str, LoadedPlugin] = {}

    def place(each: LoadedPlugin, way: tuple[str, ...]) -> None:
        if each.name in ordered:
            return
        if each.name in way:
            raise each.error(f"needs itself: {' -> '.join((*way, each.name))}")
        for need in each.plugin.needs:
            if need not in by_name:
                raise each.error(f"needs {need!r}, which is not enabled: add it to the protocols")
            place(by_name[need], (*way, each.name))
        ordered[each.name] = each

    for each in by_name.values():
        place(each, ())
    return list(ordered.values())


def _choices(points: Mapping[str, Any]) -> str:
    return "choose from " + ", ".join(sorted(points)) if points else "none is"
