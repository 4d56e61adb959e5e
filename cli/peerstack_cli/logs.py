"""Logging: text or JSON lines on stderr, with a level for each subsystem."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TextIO

from peerstack.errors import ConfigError

__all__ = ["JsonFormatter", "LogSettings", "configure"]

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FORMATS: Final = ("text", "json")
_NOISY: Final = {"aiohttp.access": logging.WARNING, "asyncio": logging.WARNING}


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """How much is logged, and how."""

    level: int
    """For everything without a level of its own."""
    levels: Mapping[str, int]
    """By subsystem: ``wire``, ``net``, ``host``, ``dht``, ``cli``, a plugin's name, or a whole logger name with dots."""
    format: str

    @classmethod
    def parse(cls, *, level: str, format: str, default_level: str) -> LogSettings:  # noqa: A002 - the option's name
        """Read ``info``, ``wire=debug`` or ``info,wire=debug,kad=error``.

        Raises:
            ConfigError: A level or format is not known.
        """
        general, levels = _LEVELS[default_level], {}
        for part in level.split(","):
            subsystem, equals, name = part.strip().rpartition("=")
            if name.lower() not in _LEVELS or (equals and not subsystem):
                raise ConfigError(f"log level {part.strip()!r} is not known: choose from {', '.join(_LEVELS)}, or <subsystem>=<level>")
            if subsystem:
                levels[subsystem] = _LEVELS[name.lower()]
            else:
                general = _LEVELS[name.lower()]
        if format not in _FORMATS:
            raise ConfigError(f"log format {format!r} is not known: choose from {', '.join(_FORMATS)}")
        return cls(level=general, levels=levels, format=format)


class JsonFormatter(logging.Formatter):
    """One JSON document a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Log to `stream` (stderr) from now on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter() if settings.format == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(max(least, settings.level))
    for subsystem, level in settings.levels.items():
        for name in _loggers(subsystem):
            logging.getLogger(name).setLevel(level)


def _loggers(subsystem: str) -> tuple[str, ...]:
    """The loggers of a subsystem: a part of the library, or a plugin (its context's logger, and its modules')."""
    if "." in subsystem:
        return (subsystem,)
    return (f"peerstack.{subsystem}", f"peerstack.plugin.{subsystem}", f"peerstack_{subsystem}")
