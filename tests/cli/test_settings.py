"""Flags win over the environment, the environment over the file, the file over the defaults."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from peerstack_cli.flags import DaemonFlags, LogFlags
from peerstack_cli.settings import DaemonSettings, resolve_daemon

from peerstack.errors import ConfigError

FILE = {
    "preset": "lan",
    "listen": ["/ip4/127.0.0.1/tcp/3"],
    "bootstrap": ["/ip4/192.0.2.3/tcp/3"],
    "log": {"level": "error", "format": "json"},
}
ENVIRONMENT = {
    "PEERSTACK_PRESET": "local",
    "PEERSTACK_LISTEN": "/ip4/127.0.0.1/tcp/2, /ip4/127.0.0.1/tcp/22",
    "PEERSTACK_BOOTSTRAP": "/ip4/192.0.2.2/tcp/2",
    "PEERSTACK_LOG_LEVEL": "warning",
    "PEERSTACK_LOG_FORMAT": "text",
}
FLAGS = DaemonFlags(
    preset="wan",
    listen=["/ip4/127.0.0.1/tcp/1"],
    bootstrap=["/ip4/192.0.2.1/tcp/1"],
    log=LogFlags(level="debug", format="json"),
)


def resolve(
    flags: DaemonFlags | None = None,
    environ: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    installed: tuple[str, ...] = ("identify", "kad", "ping"),
) -> DaemonSettings:
    return resolve_daemon(flags or DaemonFlags(), environ or {}, config or {}, installed.__contains__)


def test_nothing_given_means_the_defaults() -> None:
    settings = resolve()
    assert settings.preset == "wan"
    assert settings.listen == ("/ip4/0.0.0.0/tcp/4001",)
    assert settings.bootstrap == ()
    assert (settings.log.level, settings.log.levels, settings.log.format) == (logging.INFO, {}, "text")
    assert settings.protocols == ("kad",)
    assert settings.protocol_settings == {}


def test_the_file_wins_over_the_defaults() -> None:
    settings = resolve(config=FILE)
    assert (settings.preset, settings.listen, settings.bootstrap) == ("lan", ("/ip4/127.0.0.1/tcp/3",), ("/ip4/192.0.2.3/tcp/3",))
    assert (settings.log.level, settings.log.format) == (logging.ERROR, "json")


def test_the_environment_wins_over_the_file() -> None:
    settings = resolve(environ=ENVIRONMENT, config=FILE)
    assert (settings.preset, settings.bootstrap) == ("local", ("/ip4/192.0.2.2/tcp/2",))
    assert settings.listen == ("/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/22")
    assert (settings.log.level, settings.log.format) == (logging.WARNING, "text")


def test_flags_win_over_everything() -> None:
    settings = resolve(FLAGS, ENVIRONMENT, FILE)
    assert (settings.preset, settings.listen, settings.bootstrap) == ("wan", ("/ip4/127.0.0.1/tcp/1",), ("/ip4/192.0.2.1/tcp/1",))
    assert (settings.log.level, settings.log.format) == (logging.DEBUG, "json")


def test_an_empty_environment_variable_is_not_given() -> None:
    assert resolve(environ=dict.fromkeys(ENVIRONMENT, ""), config=FILE) == resolve(config=FILE)


def test_a_file_may_listen_nowhere() -> None:
    assert resolve(config={"listen": []}).listen == ()


def test_the_local_preset_listens_on_loopback_only() -> None:
    assert resolve(DaemonFlags(preset="local")).listen == ("/ip4/127.0.0.1/tcp/0",)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'moon'.*local, lan, wan"):
        resolve(DaemonFlags(preset="moon"))


def test_both_dhts_are_enabled_where_they_are_installed_and_kad_comes_first() -> None:
    assert resolve(installed=("chord", "kad")).protocols == ("kad", "chord")
    assert resolve(installed=("chord",)).protocols == ("chord",)


def test_a_table_enables_a_plugin_and_configures_it() -> None:
    settings = resolve(config={"protocols": {"shout": {"mark": "?!"}, "chord": {}}}, installed=("kad", "chord"))
    assert settings.protocols == ("kad", "chord", "shout")
    assert settings.protocol_settings == {"shout": {"mark": "?!"}, "chord": {}}


def test_a_table_can_disable_a_plugin() -> None:
    settings = resolve(config={"protocols": {"kad": {"enabled": False, "k": 3}}})
    assert settings.protocols == ()
    assert settings.protocol_settings == {}


def test_a_plugin_that_is_not_installed_is_left_for_the_host_to_refuse() -> None:
    assert resolve(config={"protocols": {"nope": {}}}).protocols == ("kad", "nope")
