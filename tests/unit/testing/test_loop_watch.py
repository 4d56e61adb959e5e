"""The check that every async test leaves a clean event loop really fails those that do not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"
SETTINGS = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
MODULE = """
import asyncio
import pytest

pytestmark = pytest.mark.asyncio

async def test_task():
    global task
    task = asyncio.create_task(asyncio.sleep(60))

async def test_future():
    asyncio.get_running_loop().create_future().set_exception(KeyError(5))

async def test_callback():
    asyncio.get_running_loop().call_soon(int, "x")
    await asyncio.sleep(0)

async def test_clean():
    await asyncio.create_task(asyncio.sleep(0))
"""


def test_what_a_test_leaves_behind_fails_it(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    (tmp_path / "test_leaving.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert result.returncode == 1
    assert "4 passed, 3 errors" in result.stdout  # the tests themselves pass, then their loop is looked at
    for complaint in ("leaked <Task pending", "never retrieved: KeyError(5)", "Exception in callback int("):
        assert complaint in result.stdout
