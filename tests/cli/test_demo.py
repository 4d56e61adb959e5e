"""The demo: it plays to its end, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.daemons import COMMAND, PATIENCE_S, environment, peerstack
from tests.cli.documents import check


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo makes its homes; its path is short enough for sockets, and is in every command line of the demo's nodes."""
    with tempfile.TemporaryDirectory(prefix="ps-") as name:
        yield Path(name)


def left_behind(folder: Path) -> tuple[list[str], list[str]]:
    """Processes and files that have to do with a folder."""
    running = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # it ended in the meantime
        if str(folder).encode() in command:
            running.append(command.decode())
    return running, [str(path) for path in folder.iterdir()]


@pytest.mark.parametrize("dht", ["kad", "chord"])
def test_every_read_gives_the_right_bytes(folder: Path, dht: str) -> None:
    result = peerstack("demo", "--json", "--dht", dht, env=environment(TMPDIR=str(folder)))
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    check("demo", document)
    assert (document["ok"], document["dht"], document["nodes"], document["wrong"]) == (True, dht, 7, 0)
    assert document["reads"] == 3 * document["values"]
    assert len({document["killed"], document["left"]}) == 2
    assert left_behind(folder) == ([], [])


def test_in_a_pipe_it_writes_plain_lines(folder: Path) -> None:
    result = peerstack("demo", env=environment(TMPDIR=str(folder)))
    assert result.returncode == 0, result.stderr
    assert b"\r" not in result.stdout
    assert b"\x1b" not in result.stdout
    assert result.stdout.splitlines()[-1].endswith(b"every read gave the right bytes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_running(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(TMPDIR=str(folder)))
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"starting 7 nodes")
        assert len(left_behind(folder)[0]) == 7
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"error: interrupted\n"
    assert left_behind(folder) == ([], [])


def test_a_dht_that_is_not_installed_ends_it_with_the_reason(folder: Path) -> None:
    result = peerstack("demo", "--dht", "nope", env=environment(TMPDIR=str(folder)))
    assert result.returncode == 1
    assert b"'nope'" in result.stderr
    assert left_behind(folder) == ([], [])
