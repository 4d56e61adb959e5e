from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from peerstack.dht.parameters import CHORD_PRESETS, KADEMLIA_PRESETS, NetworkParameters
from peerstack.errors import ConfigError

PRESETS = [*KADEMLIA_PRESETS.values(), *CHORD_PRESETS.values()]


@pytest.mark.parametrize("parameters", PRESETS)
def test_parameters_survive_the_wire(parameters: NetworkParameters) -> None:
    assert NetworkParameters.decode(parameters.encode()) == parameters


def test_each_field_is_carried() -> None:
    base = KADEMLIA_PRESETS["local"]
    for field in fields(base):
        changed = replace(base, **{field.name: getattr(base, field.name) + 1})
        assert NetworkParameters.decode(changed.encode()) == changed != base


def test_periods_have_whole_milliseconds_so_that_the_wire_changes_nothing() -> None:
    parameters = NetworkParameters(stabilise_s=1 / 3)
    assert parameters.stabilise_s == 0.333
    assert NetworkParameters.decode(parameters.encode()) == parameters


def test_presets() -> None:
    local, wan, chord = KADEMLIA_PRESETS["local"], KADEMLIA_PRESETS["wan"], CHORD_PRESETS["wan"]
    assert (local.replicas, local.r, local.stabilise_s, local.rpc_timeout_s, local.repair_s, local.max_ttl_s) == (3, 3, 0.5, 1, 5, 3600)
    assert (wan.k, wan.replicas, wan.stabilise_s, wan.repair_s, wan.max_ttl_us) == (20, 20, 15, 3600, 7 * 24 * 3600 * 1_000_000)
    assert (chord.r, chord.replicas) == (8, 4)
    assert CHORD_PRESETS["local"] == local


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 0},
        {"replicas": 0},
        {"replicas": 257},
        {"r": 0},
        {"max_ttl_s": 0},
        {"repair_s": -1},
        {"repair_s": float("nan")},
        {"rpc_timeout_s": -1},
        {"stabilise_s": float("inf")},
        {"authority_loss_s": 3600},
    ],
)
def test_parameters_that_cannot_work_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        NetworkParameters(**changes)


@pytest.mark.parametrize("data", [b"", b"\xff", bytes(300), b"\x08\x14"])
def test_bytes_that_are_no_parameters_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        NetworkParameters.decode(data)


def test_a_server_that_differs_is_refused_with_every_difference_named() -> None:
    ours = KADEMLIA_PRESETS["wan"]
    ours.check(NetworkParameters.decode(ours.encode()), "peer X")
    with pytest.raises(ConfigError, match=r"peer X .*replicas 20 here, 3 there; .*repair_s 3600\.0 here, 7\.0 there"):
        ours.check(replace(ours, replicas=3, repair_s=7), "peer X")
