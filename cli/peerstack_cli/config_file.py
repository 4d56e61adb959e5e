"""``config.toml``: what may stand in it, and the one that ``peerstack init`` writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from peerstack.errors import ConfigError

__all__ = ["TEMPLATE", "read_config"]

TEMPLATE: Final = """\
# The configuration of a PeerStack node. A flag wins over an environment variable (PEERSTACK_PRESET, ...), and that over this file.

# preset = "wan"                          # local (one machine), lan or wan
# listen = ["/ip4/0.0.0.0/tcp/4001"]
# bootstrap = []                          # addresses that end in /p2p/<peer id>

# [log]
# level = "info"                          # or by subsystem: "info,wire=debug,kad=warning"
# format = "text"                         # or "json"

# A table [protocols.<name>] enables a plugin, and its keys configure it. kad and chord are enabled by themselves; this would disable one:
# [protocols.chord]
# enabled = false
"""

_TEXTS: Final = "a list of texts"


def read_config(path: Path) -> Mapping[str, Any]:
    """Read and check a configuration file; one that does not exist is empty.

    Returns:
        By key: ``preset`` and texts under ``log``, lists of texts under ``listen`` and ``bootstrap``, tables under ``protocols``.

    Raises:
        ConfigError: It cannot be read, is no TOML, or a key is unknown or of the wrong type; the message names the key.
    """
    try:
        config = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    _check(path, "", config, {"preset": "a text", "listen": _TEXTS, "bootstrap": _TEXTS, "log": "a table", "protocols": "a table"})
    _check(path, "log.", config.get("log", {}), {"level": "a text", "format": "a text"})
    for name, table in config.get("protocols", {}).items():
        _expect(path, f"protocols.{name}", table, "a table")
        if "enabled" in table:
            _expect(path, f"protocols.{name}.enabled", table["enabled"], "true or false")
    return config


def _check(path: Path, where: str, table: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    for key, value in table.items():
        if key not in kinds:
            raise ConfigError(f"{path}: unknown key {where}{key}: choose from {', '.join(kinds)}")
        _expect(path, where + key, value, kinds[key])


def _expect(path: Path, key: str, value: Any, kind: str) -> None:
    fits = {
        "a text": isinstance(value, str),
        _TEXTS: isinstance(value, list) and all(isinstance(item, str) for item in value),
        "a table": isinstance(value, dict),
        "true or false": isinstance(value, bool),
    }
    if not fits[kind]:
        raise ConfigError(f"{path}: {key} must be {kind}, not {value!r}")
