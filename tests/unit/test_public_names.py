"""What `import peerstack` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import peerstack
from peerstack import errors


@pytest.mark.parametrize("name", peerstack.__all__)
def test_every_public_name_is_there_under_its_own_name(name: str) -> None:
    value = getattr(peerstack, name)
    assert name in dir(peerstack)
    assert getattr(value, "__name__", name) in (name, "Union")
    assert vars(peerstack)[name] is value, "looked up once"


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(peerstack.__all__)
    assert sorted(peerstack.__all__) == list(peerstack.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'peerstack' has no attribute 'Hots'"):
        _ = peerstack.Hots
    with pytest.raises(ImportError):
        exec("from peerstack import Hots", {})


def test_importing_the_package_alone_loads_no_machinery() -> None:
    script = "import sys, peerstack; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "cryptography", "google.protobuf", "multiaddr", "noise", "sqlite3", "importlib.metadata"} & set(loaded)


def test_making_a_host_loads_neither_a_database_nor_the_slow_address_library() -> None:
    script = "import sys; from peerstack import Host; Host(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"multiaddr", "sqlite3"} & set(loaded)
