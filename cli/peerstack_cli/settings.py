"""What holds for this run: flags win over ``PEERSTACK_*`` environment variables, these over ``config.toml``, that over the defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from peerstack.config import Preset
from peerstack.errors import ConfigError
from peerstack_cli.flags import DaemonFlags, LogFlags
from peerstack_cli.logs import LogSettings

__all__ = ["DEFAULT_DHTS", "DaemonSettings", "resolve_daemon", "resolve_log"]

DEFAULT_DHTS: Final = ("kad", "chord")
"""Enabled in a daemon where they are installed; the first one enabled is the default DHT."""

_DEFAULT_LISTEN: Final[Mapping[Preset, tuple[str, ...]]] = {
    "local": ("/ip4/127.0.0.1/tcp/0",),
    "lan": ("/ip4/0.0.0.0/tcp/4001",),
    "wan": ("/ip4/0.0.0.0/tcp/4001",),
}

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonSettings:
    """The daemon, as it will run."""

    preset: Preset
    listen: tuple[str, ...]
    bootstrap: tuple[str, ...]
    log: LogSettings
    protocols: tuple[str, ...]
    """Plugins to enable, the DHTs first."""
    protocol_settings: Mapping[str, Mapping[str, Any]]
    """By plugin, of those that are enabled."""


def resolve_daemon(
    flags: DaemonFlags, environ: Mapping[str, str], config: Mapping[str, Any], is_installed: Callable[[str], bool]
) -> DaemonSettings:
    """Join what the daemon is told from all sides.

    Args:
        flags: From the command line.
        environ: Environment variables.
        config: From `peerstack_cli.config_file.read_config`.
        is_installed: Whether there is a plugin of this name.

    Raises:
        ConfigError: A value cannot be used; the message names it.
    """
    preset = _preset(_first(flags.preset, environ.get("PEERSTACK_PRESET"), config.get("preset"), "wan"))
    tables: Mapping[str, Mapping[str, Any]] = config.get("protocols", {})
    enabled = [name for name in DEFAULT_DHTS if name not in tables and is_installed(name)]
    enabled += [name for name, table in tables.items() if table.get("enabled", True)]
    enabled.sort(key=lambda name: DEFAULT_DHTS.index(name) if name in DEFAULT_DHTS else len(DEFAULT_DHTS))
    return DaemonSettings(
        preset=preset,
        listen=tuple(_first(_given(flags.listen), _split(environ.get("PEERSTACK_LISTEN")), config.get("listen"), _DEFAULT_LISTEN[preset])),
        bootstrap=tuple(_first(_given(flags.bootstrap), _split(environ.get("PEERSTACK_BOOTSTRAP")), config.get("bootstrap"), ())),
        log=resolve_log(flags.log, environ, config, default_level="info"),
        protocols=tuple(enabled),
        protocol_settings={
            name: {key: value for key, value in tables[name].items() if key != "enabled"} for name in enabled if name in tables
        },
    )


def resolve_log(flags: LogFlags, environ: Mapping[str, str], config: Mapping[str, Any], *, default_level: str) -> LogSettings:
    """Join what is said about logging.

    Raises:
        ConfigError: A level or format is not known.
    """
    table = config.get("log", {})
    return LogSettings.parse(
        level=_first(flags.level, environ.get("PEERSTACK_LOG_LEVEL"), table.get("level"), default_level),
        format=_first(flags.format, environ.get("PEERSTACK_LOG_FORMAT"), table.get("format"), "text"),
        default_level=default_level,
    )


def _preset(name: str) -> Preset:
    for known in _DEFAULT_LISTEN:
        if name == known:
            return known
    raise ConfigError(f"preset {name!r} is not known: choose from {', '.join(_DEFAULT_LISTEN)}")


def _first(flag: _T | None, variable: _T | None, configured: _T | None, default: _T) -> _T:
    """What counts: the first that is given. An empty environment variable is not."""
    if flag is not None:
        return flag
    if variable:
        return variable
    return configured if configured is not None else default


def _given(values: Sequence[str]) -> Sequence[str] | None:
    return values or None


def _split(text: str | None) -> Sequence[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
