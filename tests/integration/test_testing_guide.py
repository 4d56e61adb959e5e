"""The programs and tests of the testing guide run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "testing.md").read_text()
PROGRAMS = dict(re.findall(r"<!-- run: (\S+) -->\n```python\n(.*?)```", GUIDE, re.DOTALL))
MODULES = dict(re.findall(r"<!-- pytest: (\S+) -->\n```python\n(.*?)```", GUIDE, re.DOTALL))
SETTINGS = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"


@pytest.mark.parametrize(("name", "printed"), [("virtual-time", "86400.0"), ("own-hosts", "b'hello peer'")])
def test_the_programs_print_what_they_say(name: str, printed: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAMS[name]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, printed, "")


def test_the_tests_pass_and_are_collected(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) > 40


def test_every_python_block_of_the_guide_is_run() -> None:
    assert len(PROGRAMS) == 2
    assert GUIDE.count("```python") == len(PROGRAMS) + len(MODULES)
