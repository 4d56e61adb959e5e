"""The wheel, in a clean environment without a compiler: what it brings, what it loads, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_PACKAGES = 50
MAX_MEGABYTES = 80

PLUGIN_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-shout"
version = "1.0"

[project.entry-points."peerstack.protocols"]
shout = "acme_shout:Shout"

[tool.hatch.build.targets.wheel]
packages = ["acme_shout"]
"""
PLUGIN_SOURCE = """\
from dataclasses import dataclass

from peerstack import ProtocolPlugin


class Shout(ProtocolPlugin):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        mark: str = "!"

    ids = ("/acme/shout/1.0.0",)

    def __init__(self, config=None):
        self.config = config or self.Config()

    async def handle(self, stream):
        text = (await stream.readuntil(b"\\n")).decode().strip()
        await stream.write((text.upper() + self.config.mark).encode())
"""
USE_IN_LIBRARY = """
import asyncio
from peerstack import Host, HostConfig

async def main():
    config = HostConfig(protocol_settings={"shout": {"mark": "?!"}})
    async with Host(listen=["/ip4/127.0.0.1/tcp/0"], protocols=["shout"], config=config) as server, Host() as client:
        async with client.open(server.addrs[0], "/acme/shout/1.0.0") as stream:
            await stream.write(b"hello\\n")
            print((await stream.read()).decode())

asyncio.run(main())
"""


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=env, cwd=cwd, timeout=600)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def no_compiler() -> dict[str, str]:
    return os.environ | {"CC": "/bin/false", "CXX": "/bin/false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def build(source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def library(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the library alone; returns its Python."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, env=no_compiler())
    return python


@pytest.fixture(scope="session")
def daemon(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the daemon extra and somebody else's plugin; returns its Python."""
    folder = tmp_path_factory.mktemp("daemon")
    source = folder / "acme"
    (source / "acme_shout").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PLUGIN_PYPROJECT)
    (source / "acme_shout" / "__init__.py").write_text(PLUGIN_SOURCE)
    plugin = build(source, folder / "dist")
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"peerstack[daemon] @ {wheel.as_uri()}", plugin, env=no_compiler())
    return python


def test_the_wheel_brings_only_packages_named_peerstack(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "peerstack",
        "peerstack_cli",
        *(path.name for path in (ROOT / "protocols").glob("peerstack_*")),
    }


def test_the_wheel_carries_the_licence_and_the_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "peerstack/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)


def test_every_entry_point_loads(library: Path) -> None:
    script = """
from importlib.metadata import distribution
for point in distribution("peerstack").entry_points:
    point.load()
    print(point.group, point.name)
"""
    loaded = run(library, "-c", script)
    for expected in ("peerstack.protocols identify", "peerstack.protocols kad", "peerstack.transports tcp", "console_scripts peerstack"):
        assert expected in loaded


def test_importing_the_library_loads_nothing_of_the_daemon(library: Path) -> None:
    script = """
import json, sys, time
began = time.perf_counter()
import peerstack
seconds = time.perf_counter() - began
from peerstack import Host
print(json.dumps([seconds, sorted({name.split(".")[0] for name in sys.modules})]))
"""
    seconds, modules = json.loads(run(library, "-W", "error", "-c", script))
    print(f"import peerstack: {seconds * 1000:.0f} ms")
    assert not {"typer", "aiohttp", "trio", "prometheus_client", "rich", "pytest"} & set(modules)


def test_the_library_stays_within_its_install_budget(library: Path) -> None:
    packages = [package["name"] for package in json.loads(run(library, "-m", "pip", "list", "--format=json"))]
    ours = [name for name in packages if name not in ("pip", "setuptools", "wheel")]
    site = Path(run(library, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    without = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}
    files = (path for top in site.iterdir() if top.name.split("-")[0] not in without for path in [top, *top.rglob("*")])
    size = sum(path.stat().st_size for path in files if path.is_file())
    print(f"{len(ours)} packages, {size / 1e6:.1f} MB")
    assert len(ours) <= MAX_PACKAGES
    assert size <= MAX_MEGABYTES * 1e6


def test_a_command_that_needs_the_daemon_extra_says_how_to_get_it(library: Path) -> None:
    command = library.parent / "peerstack"
    result = subprocess.run([str(command), "daemon"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode != 0
    assert "pip install 'peerstack[daemon]'" in result.stderr


def test_somebody_elses_plugin_works_by_name_in_the_library(daemon: Path) -> None:
    assert run(daemon, "-W", "error", "-c", USE_IN_LIBRARY).strip() == "HELLO?!"


def test_somebody_elses_plugin_works_by_name_in_the_daemon(daemon: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = str(daemon.parent / "peerstack")
    run(command, "init", "--home", home)
    with (home / "config.toml").open("a") as config:
        config.write('\n[protocols.shout]\nmark = "?!"\n')
    process = subprocess.Popen(
        [command, "daemon", "--home", str(home), "--preset", "local", "--listen", "/ip4/127.0.0.1/tcp/0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        client = f"""
import asyncio
from peerstack import Host

async def main():
    async with Host() as client, client.open({ready["addrs"][0]!r}, "/acme/shout/1.0.0") as stream:
        await stream.write(b"hello\\n")
        print((await stream.read()).decode())

asyncio.run(main())
"""
        assert run(daemon, "-c", client).strip() == "HELLO?!"
    finally:
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0
