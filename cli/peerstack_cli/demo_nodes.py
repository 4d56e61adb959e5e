"""The demo's nodes: daemons as separate processes on loopback, none of which outlives the demo."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final

from peerstack_cli.client import Client
from peerstack_cli.failures import CommandError
from peerstack_cli.home import Home

__all__ = ["Interrupts", "Node", "Nodes"]

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 15.0


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`, once, and not in the middle of what must be whole."""

    _NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._held = False
        self._pending = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in self._NUMBERS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put interrupts off until the end of the block."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        if self._pending and not self._held:
            self._handle(signal.SIGINT, None)

    def hold(self) -> None:
        """Put interrupts off for good: there is nothing left to do but to clean up."""
        self._held = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._pending = True
        if not self._held:
            self._held = True
            raise KeyboardInterrupt


@dataclass(slots=True)
class Node:
    """One daemon."""

    name: str
    home: Home
    process: subprocess.Popen[bytes]
    peer_id: str = ""
    addrs: Sequence[str] = ()

    @property
    def client(self) -> Client:
        """Calls it."""
        return Client(self.home)

    def wait_ready(self, deadline: float) -> None:
        """Read its ready line.

        Raises:
            CommandError: It ended, or was not ready in time; the message has its last words.
        """
        ready = json.loads(self._first_line(deadline))
        self.peer_id, self.addrs = ready["peer_id"], ready["addrs"]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def leave(self) -> int:
        """Let it leave in order; returns its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise CommandError("timeout", f"node {self.name} did not leave within {_STOP_TIMEOUT_S:g} s") from error

    def _first_line(self, deadline: float) -> bytes:
        stdout: IO[bytes] | None = self.process.stdout
        assert stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(stdout.fileno(), 65536) if readable else b""
            if not chunk:
                why = "ended" if readable else "was not ready in time"
                raise CommandError("failure", f"node {self.name} {why}: {self._last_words()}")
            line += chunk
        return line

    def _last_words(self) -> str:
        return (self.home.folder / "stderr").read_text(errors="replace").strip()[-2000:]


class Nodes:
    """The nodes of one demo, and their homes in one temporary folder. Leaving the block ends all of it."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._folder: Path | None = None
        self._all: list[Node] = []

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self._interrupts.hold()
        finally:
            self._end()

    def _end(self) -> None:
        for node in self._all:
            if node.process.poll() is None:
                node.process.kill()
        for node in self._all:
            node.process.wait()
            if node.process.stdout is not None:
                node.process.stdout.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def alive(self) -> list[Node]:
        """Those that run, in the order they were started."""
        return [node for node in self._all if node.process.poll() is None]

    def start(self, count: int, *, dht: str, bootstrap: Sequence[str] = ()) -> list[Node]:
        """Start `count` more nodes at once and wait until they are ready."""
        began = [self._spawn(dht, bootstrap) for _ in range(count)]
        deadline = time.monotonic() + _START_TIMEOUT_S
        for node in began:
            node.wait_ready(deadline)
        return began

    def stop(self) -> None:
        """End those that run, all at the same time."""
        running = self.alive()
        for node in running:
            node.process.terminate()
        for node in running:
            node.leave()

    def _spawn(self, dht: str, bootstrap: Sequence[str]) -> Node:
        name = str(len(self._all) + 1)
        with self._interrupts.held():
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="peerstack-demo-"))
            home = Home(self._folder / name)
            home.create()
            home.config.write_text(f"[protocols.{dht}]\n")
            node = Node(name, home, _launch(home, bootstrap))
            self._all.append(node)
        return node


def _launch(home: Home, bootstrap: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "peerstack_cli", "daemon", "--json", "--home", str(home.folder), "--preset", "local"]
    command += ["--listen", "/ip4/127.0.0.1/tcp/0", *(part for address in bootstrap for part in ("--bootstrap", address))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PEERSTACK_")}
    # A session of its own: Ctrl-C in the terminal is for the demo, which then ends its nodes.
    with (home.folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment, start_new_session=True
        )
