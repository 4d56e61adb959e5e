"""``docs/reference/limits.md`` names every limit, with the value it really has."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from peerstack.config import ConnectionConfig, DialConfig, HostConfig, LimitsConfig, MuxerConfig, PeersConfig, Preset, preset
from peerstack.plugin import ProtocolLimits
from peerstack.wire.yamux_config import YamuxConfig

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "limits.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.:]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
PARTS: dict[type, str] = {
    LimitsConfig: "limits",
    ConnectionConfig: "connection",
    MuxerConfig: "muxer",
    DialConfig: "dial",
    PeersConfig: "peers",
}
PRESETS: tuple[Preset, ...] = ("wan", "lan", "local")


def _show(name: str, value: float) -> str:
    if name.lower().endswith("_bytes"):
        for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
            if value % size == 0:
                return f"{value // size:g} {unit}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_preset(cls: type[Any], name: str) -> str:
    """As the page writes it: what `wan` has, and in brackets what another preset has instead."""
    if cls in PARTS:
        values = {each: _show(name, getattr(getattr(preset(each), PARTS[cls]), name)) for each in PRESETS}
    elif cls is HostConfig:
        values = {each: _show(name, getattr(preset(each), name)) for each in PRESETS}
    else:
        values = dict.fromkeys(PRESETS, _show(name, getattr(cls(), name)))
    others = [f"{each} {value}" for each, value in values.items() if value != values["wan"]]
    return values["wan"] + (f" ({', '.join(others)})" if others else "")


def _numbers(cls: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.type in ("int", "float")]


SETTINGS: list[tuple[type, str]] = [(cls, name) for cls in (*PARTS, HostConfig, ProtocolLimits) for name in _numbers(cls)]
INNER: list[tuple[type, str]] = [(YamuxConfig, name) for name in _numbers(YamuxConfig) if f"YamuxConfig.{name}" in ROWS]
FIXED = [row for row in ROWS if ":" in row]


@pytest.mark.parametrize(("cls", "name"), SETTINGS + INNER, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_every_setting_stands_on_the_page_with_its_default(cls: type, name: str) -> None:
    assert ROWS[f"{cls.__name__}.{name}"].strip() == _by_preset(cls, name)


@pytest.mark.parametrize("row", FIXED)
def test_every_fixed_bound_on_the_page_is_the_one_in_the_code(row: str) -> None:
    module, name = row.split(":")
    assert ROWS[row].strip() == _show(name, getattr(import_module(module), name))


def test_the_page_names_nothing_that_is_not_there() -> None:
    known = {f"{cls.__name__}.{name}" for cls, name in SETTINGS + INNER} | set(FIXED)
    assert set(ROWS) == known
    assert len(FIXED) >= 10
    assert INNER
