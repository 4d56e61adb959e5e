"""``config.toml``: what is wrong with it is said by key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from peerstack_cli.config_file import TEMPLATE, read_config

from peerstack.errors import ConfigError


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.toml") == {}


def test_the_template_sets_nothing() -> None:
    assert tomllib.loads(TEMPLATE) == {}


def test_the_template_is_right_about_every_key_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    shown = [line.removeprefix("# ") for line in TEMPLATE.splitlines() if line.startswith(("# [", "#  ")) or " = " in line]
    path.write_text("\n".join(line for line in shown if " = " in line or line.startswith("[")))
    assert read_config(path) == {
        "preset": "wan",
        "listen": ["/ip4/0.0.0.0/tcp/4001"],
        "bootstrap": [],
        "log": {"level": "info", "format": "text"},
        "protocols": {"chord": {"enabled": False}},
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("lisen = []", "lisen"),
        ("[log]\nlevels = 'info'", "log.levels"),
        ("preset = 3", "preset"),
        ("listen = '/ip4/127.0.0.1/tcp/1'", "listen"),
        ("bootstrap = [1]", "bootstrap"),
        ("log = 'info'", "log"),
        ("protocols = 3", "protocols"),
        ("[protocols]\nkad = true", "protocols.kad"),
        ("[protocols.kad]\nenabled = 'no'", "protocols.kad.enabled"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"config\.toml: .*\b{key}\b"):
        read_config(path)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("listen = [")
    with pytest.raises(ConfigError, match="is no TOML"):
        read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no TOML"):
        read_config(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)
