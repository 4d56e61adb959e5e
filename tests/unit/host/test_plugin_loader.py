from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from peerstack.config import HostConfig
from peerstack.errors import ConfigError, PluginError
from peerstack.host.plugin_loader import LoadedPlugin, load_plugins
from peerstack.plugin import ProtocolPlugin

Install = Callable[..., None]

SOURCE = """
from dataclasses import dataclass
from peerstack.plugin import ProtocolPlugin

class {name}(ProtocolPlugin):
    ids = ("/{name}/1.0.0",)
    needs = {needs!r}

    @dataclass(frozen=True, kw_only=True)
    class Config:
        size: int = 1
        preset: str = "none"

    def __init__(self, config=None):
        self.config = config
"""


def _source(name: str, *needs: str) -> str:
    return SOURCE.format(name=name, needs=needs)


def _load(*requested: str | ProtocolPlugin, **settings: dict[str, Any]) -> list[LoadedPlugin]:
    return load_plugins(requested, HostConfig(preset="lan", protocol_settings=settings))


def _own(*requested: str | ProtocolPlugin) -> list[str]:
    return [each.name for each in _load(*requested) if each.name not in ("identify", "ping")]


class Echo(ProtocolPlugin):
    ids = ("/echo/1.0.0",)


class Needy(ProtocolPlugin):
    needs = ("echo",)


def test_identify_and_ping_come_by_themselves_and_only_once() -> None:
    assert [each.name for each in _load()] == ["identify", "ping"]
    assert sorted(each.name for each in _load("ping")) == ["identify", "ping"]
    assert all(each.distribution == "peerstack" for each in _load())


def test_a_name_is_loaded_from_its_entry_point_with_its_settings_and_the_preset(install: Install) -> None:
    install("some-package", "some_module", _source("Some"), some="some_module:Some")
    (loaded,) = [each for each in _load("some", some={"size": 7}) if each.name == "some"]
    assert loaded.distribution == "some-package"
    config: Any = getattr(loaded.plugin, "config")  # noqa: B009 - a class this module cannot import
    assert (config.size, config.preset) == (7, "lan")


def test_only_what_is_enabled_is_imported(install: Install) -> None:
    install("broken-package", "broken_module", "raise RuntimeError('imported')", broken="broken_module:Broken")
    assert _own() == []


def test_plugins_start_in_the_order_asked_for_each_after_what_it_needs(install: Install) -> None:
    install("p-one", "p_one", _source("One", "two", "identify"), one="p_one:One")
    install("p-two", "p_two", _source("Two"), two="p_two:Two")
    assert _own("one", Echo(), "two") == ["two", "one", "echo"]


def test_an_object_has_the_name_of_its_entry_point_else_of_its_class_else_its_own(install: Install) -> None:
    install("some-package", "some_module", _source("Some"), short="some_module:Some")
    import some_module  # type: ignore[import-not-found]

    named = Echo()
    named.name = "other"
    assert _own(some_module.Some(), Echo(), named) == ["short", "echo", "other"]


@pytest.mark.parametrize("source", ["raise RuntimeError('no luck')", "import nothing_of_this_name", "x = 1", "def f(:"])
def test_a_plugin_that_cannot_be_imported_names_its_distribution(install: Install, source: str) -> None:
    install("bad-package", "bad_module", source, bad="bad_module:Bad")
    with pytest.raises(PluginError, match="'bad' of bad-package cannot be imported") as caught:
        _load("bad")
    assert caught.value.distribution == "bad-package"
    assert caught.value.__cause__ is not None


def test_a_plugin_that_is_none_or_cannot_be_made_names_its_distribution(install: Install) -> None:
    install("odd-package", "odd_module", "Odd = 5", odd="odd_module:Odd")
    with pytest.raises(PluginError, match="'odd' of odd-package is no ProtocolPlugin class"):
        _load("odd")
    made = "from peerstack.plugin import ProtocolPlugin\nclass Made(ProtocolPlugin):\n  def __init__(self): raise OSError('disk')"
    install("made-package", "made_module", made, made="made_module:Made")
    with pytest.raises(PluginError, match=r"'made' of made-package cannot be made: OSError\('disk'\)"):
        _load("made")


def test_a_name_offered_twice_names_both_distributions(install: Install) -> None:
    install("a-package", "a_module", _source("Some"), some="a_module:Some")
    install("b-package", "b_module", _source("Some"), some="b_module:Some")
    with pytest.raises(PluginError, match="offered by a-package and b-package"):
        _load("some")


def test_a_name_that_is_not_installed_says_which_are() -> None:
    with pytest.raises(PluginError, match=r"no plugin 'kademlai' is installed: choose from .*identify"):
        _load("kademlai")


def test_a_missing_need_is_named() -> None:
    with pytest.raises(PluginError, match="plugin 'needy' of the application needs 'echo', which is not enabled"):
        _load(Needy())
    assert _own(Needy(), Echo()) == ["echo", "needy"]


def test_plugins_that_need_each_other_are_refused(install: Install) -> None:
    install("p-one", "p_one", _source("One", "two"), one="p_one:One")
    install("p-two", "p_two", _source("Two", "one"), two="p_two:Two")
    with pytest.raises(PluginError, match="needs itself: one -> two -> one"):
        _load("one", "two")


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(PluginError, match="'echo' of the application has the name of plugin 'echo' of the application"):
        _load(Echo(), Echo())


def test_what_is_neither_name_nor_plugin_is_refused() -> None:
    wrong: Any = Echo
    with pytest.raises(PluginError, match="neither the name of a plugin nor a ProtocolPlugin object"):
        _load(wrong)


def test_wrong_settings_name_plugin_and_key(install: Install) -> None:
    install("some-package", "some_module", _source("Some"), some="some_module:Some")
    with pytest.raises(ConfigError, match=r"protocols\.some: unknown setting 'sise'"):
        _load("some", some={"sise": 1})
    with pytest.raises(ConfigError, match=r"protocols\.some\.size must be int"):
        _load("some", some={"size": "big"})


def test_settings_of_an_installed_plugin_that_is_not_enabled_are_left_alone_others_are_refused() -> None:
    assert _load(perf={"anything": 1})
    with pytest.raises(ConfigError, match=r"protocols\.prof: no such plugin is installed"):
        _load(prof={"anything": 1})
