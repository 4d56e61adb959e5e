"""Daemons and commands as real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-W", "error", "-m", "peerstack_cli"]
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
PATIENCE_S = 30.0


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what would configure a node."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PEERSTACK_")} | changes


def peerstack(*arguments: object, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=env or environment(), timeout=PATIENCE_S)


@dataclass
class Daemon:
    """A running daemon."""

    home: Path
    process: subprocess.Popen[bytes]
    ready: dict[str, Any]

    @property
    def address(self) -> str:
        address: str = self.ready["addrs"][0]
        return address

    def stderr_until(self, text: str) -> str:
        """Its stderr up to the first line that contains `text`."""
        said = b""
        assert self.process.stderr is not None
        while text.encode() not in said:
            said += _read_some(self.process.stderr.fileno(), text)
        return said.decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, bytes, bytes]:
        """Signal it; returns the exit code and the rest of stdout and stderr."""
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, stdout, stderr


@contextmanager
def daemon(home: Path, *options: object) -> Iterator[Daemon]:
    """Run a daemon with ``--json`` on loopback for the length of a block."""
    command = [*COMMAND, "daemon", "--json", "--home", str(home), "--preset", "local", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    try:
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += _read_some(process.stdout.fileno(), "the ready line")
        yield Daemon(home, process, json.loads(line))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def until(holds: Callable[[], bool]) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.01)


def _read_some(descriptor: int, awaited: str) -> bytes:
    readable, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    assert readable, f"no {awaited} within {PATIENCE_S} s"
    chunk = os.read(descriptor, 65536)
    assert chunk, f"the process ended before {awaited}"
    return chunk
