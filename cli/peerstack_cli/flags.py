"""What the command line says, before the environment and the configuration are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["DaemonFlags", "LogFlags"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFlags:
    """About logging."""

    level: str | None = None
    format: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonFlags:
    """About the daemon."""

    preset: str | None = None
    listen: Sequence[str] = ()
    bootstrap: Sequence[str] = ()
    log: LogFlags = field(default_factory=LogFlags)
