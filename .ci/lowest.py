"""Installs the oldest dependencies that pyproject.toml allows into an environment of their own and runs the unit tests there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "peerstack" / "lowest"
# Newer runtimes refuse the oldest protobuf, so this runs on the oldest Python.
PYTHON = shutil.which("python3.11") or sys.executable


def lowest(requirements: list[str]) -> list[str]:
    """Turn ``name>=1.2,<3`` into ``name==1.2``; a requirement without a lower bound stays as it is."""
    pinned = []
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        bound = re.search(r">=\s*([0-9.]+)", requirement)
        marker = requirement.partition(";")[2]
        assert name is not None
        pinned.append(f"{name[0]}=={bound[1]}" + (f";{marker}" if marker else "") if bound else requirement)
    return pinned


def main() -> int:
    """Install and run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = lowest(project["dependencies"] + project["optional-dependencies"]["daemon"])
    stamp = CACHE / "installed"
    wanted = "\n".join([PYTHON, *pinned])
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(CACHE, ignore_errors=True)
        subprocess.run([PYTHON, "-m", "venv", str(CACHE)], check=True)
        pip = [str(CACHE / "bin" / "python"), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", *pinned, "pytest", "pytest-asyncio", "hypothesis"], check=True)
        stamp.write_text(wanted)
    python = str(CACHE / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
