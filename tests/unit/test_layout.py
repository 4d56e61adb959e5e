"""The house as it is drawn: what is packaged is what is there."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PURE = {"asyncio", "os", "random", "secrets", "socket", "ssl", "threading", "time"}


def test_the_wheel_lists_every_package_folder() -> None:
    folders = ["peerstack", *(f"{top}/{path.name}" for top in ("protocols", "cli") for path in (ROOT / top).glob("peerstack_*"))]
    assert sorted(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(folders)


def test_import_linter_knows_every_package() -> None:
    packages = ["peerstack", *(path.name for top in ("protocols", "cli") for path in (ROOT / top).glob("peerstack_*"))]
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(packages)


@pytest.mark.parametrize("path", sorted((ROOT / "peerstack" / "wire").glob("*.py")), ids=lambda path: path.name)
def test_wire_machines_touch_no_clock_no_loop_and_no_entropy(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & PURE


def test_importing_the_library_loads_nothing_of_the_command_line() -> None:
    script = "import sys, peerstack; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "aiohttp", "trio", "prometheus_client", "pytest"} & set(loaded)
