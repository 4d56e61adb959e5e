"""What is loaded before a command knows what it has to do: counted in modules, not in time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.daemons import environment, peerstack

HEAVY = {"aiohttp", "rich", "cryptography", "asyncio", "multiaddr", "google", "prometheus_client", "uvloop"}
SCRIPT = """
import json, sys
from peerstack_cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


WITHOUT_EXTRA = """
import sys
sys.modules["aiohttp"] = None
from peerstack_cli.main import main
sys.exit(main(["daemon", "--home", "/nonexistent"]))
"""


def loaded_by(*arguments: str) -> tuple[int, set[str]]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), timeout=30)
    code, modules = json.loads(result.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["put", "--help"], ["daemon", "--help"], ["demo", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code, modules = loaded_by(*arguments)
    assert code == 0
    assert not modules & HEAVY


def test_a_command_to_the_daemon_loads_neither_crypto_nor_the_server() -> None:
    code, modules = loaded_by("get", "key", "--home", "/nonexistent")
    assert code == 3
    assert not modules & (HEAVY - {"asyncio"})


def test_the_daemon_without_its_extra_says_how_to_get_it() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA], capture_output=True, text=True, check=False, env=environment(), timeout=30
    )
    assert result.returncode == 1
    assert "pip install 'peerstack[daemon]'" in result.stderr


def test_the_version_is_shown() -> None:
    result = peerstack("--version")
    assert (result.returncode, result.stdout.split()[0]) == (0, b"peerstack")
