"""The README's programs run as they stand, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = dict(re.findall(r"<!-- test: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))


def run(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False, cwd=ROOT / "tests", timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout


def test_the_quickstart_echoes() -> None:
    peer_id, _, echoed = run(PROGRAMS["quickstart"]).strip().partition(" ")
    assert peer_id.startswith("12D3Koo")
    assert echoed == "b'hello peer'"


def test_the_put_is_found_and_confirmed() -> None:
    assert run(PROGRAMS["put-get"]).strip() == "b'hello' True 2"


@pytest.mark.parametrize("path", [README, *((ROOT / "docs").rglob("*.md"))], ids=lambda path: "README" if path is README else path.name)
def test_links_lead_somewhere(path: Path | str) -> None:
    text, folder = (README, ROOT) if isinstance(path, str) else (path.read_text(), path.parent)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (folder / target).exists(), target
