"""Counters, gauges and distributions in memory. The daemon turns a snapshot into what its monitoring wants.

Names are go-libp2p's where it has one (``libp2p_swarm_connections_opened_total``, ...), so that its dashboards work; the rest starts with
``peerstack_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from peerstack.errors import PeerstackError

__all__ = ["HostMetrics", "PluginMetrics", "Sample", "error_label"]

Kind = Literal["counter", "gauge", "distribution"]

_MAX_SERIES_PER_NAME = 256  # combinations of label values; more would mean that something unbounded became a label
_MAX_NAMES = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One series at the time of a snapshot."""

    name: str
    kind: Kind
    labels: Mapping[str, str]
    value: float
    """A counter's or gauge's value; a distribution's sum."""
    count: int = 0
    """Observations, of a distribution."""


@dataclass(slots=True)
class _Series:
    kind: Kind
    value: float = 0.0
    count: int = 0


_Labels = tuple[tuple[str, str], ...]


class HostMetrics:
    """All metrics of one host, bounded in number."""

    def __init__(self) -> None:
        self._names: dict[str, dict[_Labels, _Series]] = {}
        self.dropped = 0
        """Updates not taken because there were too many series, or because a name was used for two kinds."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter; its name ends in ``_total``."""
        series = self._series(name, "counter", labels)
        if series is not None:
            series.value += amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        series = self._series(name, "gauge", labels)
        if series is not None:
            series.value = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation (seconds, bytes) to a distribution."""
        series = self._series(name, "distribution", labels)
        if series is not None:
            series.value += value
            series.count += 1

    def value(self, name: str, **labels: str) -> float:
        """The value of one series, 0 where there is none."""
        series = self._names.get(name, {}).get(_key(labels))
        return series.value if series is not None else 0.0

    def snapshot(self) -> list[Sample]:
        """Every series now, ordered by name and labels."""
        return [
            Sample(name=name, kind=series.kind, labels=dict(labels), value=series.value, count=series.count)
            for name in sorted(self._names)
            for labels, series in sorted(self._names[name].items(), key=lambda item: item[0])
        ]

    def _series(self, name: str, kind: Kind, labels: dict[str, str]) -> _Series | None:
        family = self._names.get(name)
        if family is None and len(self._names) < _MAX_NAMES:
            family = self._names[name] = {}
        key = _key(labels)
        series = family.get(key) if family is not None else None
        if series is None and family is not None and len(family) < _MAX_SERIES_PER_NAME:
            series = family[key] = _Series(kind)
        if series is None or series.kind != kind:
            self.dropped += 1
            return None
        return series


class PluginMetrics:
    """One plugin's view: names become ``peerstack_<plugin>_<name>``, those of counters end in ``_total``."""

    def __init__(self, metrics: HostMetrics, plugin: str) -> None:
        self._metrics = metrics
        self._prefix = "peerstack_" + "".join(letter if letter.isalnum() else "_" for letter in plugin) + "_"

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        suffix = "" if name.endswith("_total") else "_total"
        self._metrics.count(f"{self._prefix}{name}{suffix}", amount, **labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._metrics.gauge(self._prefix + name, value, **labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation to a distribution."""
        self._metrics.observe(self._prefix + name, value, **labels)


def error_label(error: BaseException) -> str:
    """An error as a label: its stable code, or the class of a foreign one."""
    return error.code if isinstance(error, PeerstackError) else type(error).__name__


def _key(labels: dict[str, str]) -> _Labels:
    return tuple(sorted(labels.items()))
