"""Hosts on one memory network, and distributions installed for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peerstack import Host, HostConfig, PrivateKey, preset
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.virtual_time import seeded_environment

Install = Callable[..., None]


class Neighbourhood:
    """Makes hosts that can reach each other, in virtual time."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1, latency_s=(0.01, 0.01))

    def config(self, name: str, **changes: Any) -> HostConfig:
        """The `local` preset on this network."""
        changes.setdefault("environment", seeded_environment(name))
        return preset("local", transports=(MemoryTransport(self.network, node=name),), **changes)

    def host(self, name: str, *, listen: bool = True, config: HostConfig | None = None, **arguments: Any) -> Host:
        """A host, not started; its identity comes from its name."""
        identity = PrivateKey.from_seed(name.encode().ljust(32, b"."))
        return Host(identity=identity, listen=["/memory/0"] if listen else [], config=config or self.config(name), **arguments)


@pytest.fixture
def neighbourhood() -> Neighbourhood:
    return Neighbourhood()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(distribution, module, source, group, **{name: value})`` puts a distribution on the path for this test."""
    modules: list[str] = []

    def put(distribution: str, module: str, source: str, *, group: str = "peerstack.protocols", **points: str) -> None:
        folder = tmp_path / distribution
        metadata = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        modules.append(module)

    yield put
    for module in modules:
        sys.modules.pop(module, None)
