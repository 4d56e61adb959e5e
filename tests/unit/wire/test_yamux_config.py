from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from peerstack.errors import ConfigError
from peerstack.wire.yamux_config import YamuxConfig


@pytest.mark.parametrize("name", [field.name for field in fields(YamuxConfig)])
@pytest.mark.parametrize("value", [0, -1])
def test_every_bound_must_be_positive(name: str, value: int) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=name):
        YamuxConfig(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_window_bytes": 262143},
        {"max_window_bytes": 2**32},
        {"max_control_bytes": 4095},
        {"max_frame_bytes": (1 << 20) + 1},
    ],
)
def test_what_the_protocol_cannot_do_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        YamuxConfig(**changes)


def test_config_cannot_change_afterwards() -> None:
    with pytest.raises(FrozenInstanceError):
        YamuxConfig().max_streams_in = 1  # type: ignore[misc]
