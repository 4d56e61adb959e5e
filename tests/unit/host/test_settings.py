from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from peerstack.errors import ConfigError
from peerstack.host.settings import build_config


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class Config:
    count: int = 1
    seconds: float = 1.0
    name: str = "name"
    active: bool = False
    mode: Literal["fast", "safe"] = "fast"
    colour: Colour = Colour.RED
    limit: int | None = None
    ids: tuple[str, ...] = ()
    pair: tuple[int, str] = (1, "one")
    tags: frozenset[str] = frozenset()
    items: list[int] = field(default_factory=list)
    parts: Sequence[float] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    inner: Inner = Inner()
    anything: Any = None
    preset: str = "wan"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError("count must not be negative")
        if self.seconds < 0:
            raise ValueError("no time machine")


def _build(**settings: Any) -> Config:
    config = build_config("protocols.test", Config, settings)
    assert isinstance(config, Config)
    return config


def test_values_of_every_kind_arrive_in_the_type_of_their_field() -> None:
    assert _build() == Config()
    config = _build(
        count=5,
        seconds=2,
        active=True,
        mode="safe",
        colour="blue",
        limit=7,
        ids=["/a", "/b"],
        pair=[2, "two"],
        tags=["x"],
        items=[1, 2],
        parts=[1, 2.5],
        weights={"a": 1},
        inner={"depth": 3},
        anything={"free": 1},
    )
    assert config.seconds == 2.0
    assert isinstance(config.seconds, float)
    assert config.colour is Colour.BLUE
    assert config.ids == ("/a", "/b")
    assert config.pair == (2, "two")
    assert config.tags == frozenset({"x"})
    assert config.parts == [1.0, 2.5]
    assert config.weights == {"a": 1.0}
    assert config.inner == Inner(depth=3)
    assert _build(limit=None).limit is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": "5"}, r"protocols\.test\.count must be int, not '5'"),
        ({"count": 1.5}, r"protocols\.test\.count must be int"),
        ({"count": True}, r"protocols\.test\.count must be int"),
        ({"active": 1}, r"protocols\.test\.active must be bool"),
        ({"seconds": "1"}, r"protocols\.test\.seconds must be float"),
        ({"mode": "slow"}, r"protocols\.test\.mode must be one of 'fast', 'safe', not 'slow'"),
        ({"colour": "green"}, r"protocols\.test\.colour must be one of red, blue"),
        ({"limit": "many"}, r"protocols\.test\.limit must be int \| None"),
        ({"ids": "/a"}, r"protocols\.test\.ids must be tuple\[str, \.\.\.\]"),
        ({"ids": [1]}, r"protocols\.test\.ids must be str, not 1"),
        ({"pair": [1]}, r"protocols\.test\.pair must be tuple\[int, str\]"),
        ({"weights": {"a": "heavy"}}, r"protocols\.test\.weights\.a must be float"),
        ({"inner": {"width": 1}}, r"protocols\.test\.inner: unknown setting 'width': choose from depth"),
        ({"cuont": 1}, r"protocols\.test: unknown setting 'cuont': choose from active, "),
        ({"count": -1}, r"protocols\.test: count must not be negative"),
        ({"seconds": -1}, r"protocols\.test: these settings cannot be used: no time machine"),
    ],
)
def test_a_wrong_setting_is_named_with_its_table(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _build(**settings)


def test_defaults_fill_only_fields_that_exist_and_are_not_set() -> None:
    defaults = {"preset": "local", "unheard_of": 1}
    assert build_config("here", Config, {}, defaults).preset == "local"
    assert build_config("here", Config, {"preset": "lan"}, defaults).preset == "lan"
    assert build_config("here", Inner, {}, defaults) == Inner()


def test_a_class_that_is_no_dataclass_cannot_be_configured() -> None:
    with pytest.raises(ConfigError, match="no dataclass"):
        build_config("here", int, {})
