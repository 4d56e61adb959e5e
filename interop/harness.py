"""Runs peer programs as processes: one listens, one dials; bounded in time, with both logs kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

__all__ = ["OURS", "Finished", "Listening", "PeerFailed", "Program", "dialed", "finished", "listening", "serving"]

_READY_TIMEOUT_S: Final = 60
_EXIT_TIMEOUT_S: Final = 10
_LOG_TAIL_BYTES: Final = 6000


class PeerFailed(Exception):
    """A peer program did not do what it should; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Program:
    """A peer program, ready to run."""

    name: str
    argv: tuple[str, ...]
    version: str = ""


OURS: Final = Program("peerstack", (sys.executable, "-m", "interop.ours"))


@dataclass(slots=True)
class Listening:
    """A peer program that listens."""

    program: Program
    addr: str
    agent: str
    pid: int
    log: Log
    said: dict[str, Any]
    """Its first event."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A peer program that ran to its end."""

    said: dict[str, Any]
    """Its last event."""
    code: int
    log: str


@dataclass(slots=True)
class Log:
    """A process's stderr, in a file."""

    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def tail(self) -> str:
        self.file.seek(0, 2)
        self.file.seek(max(0, self.file.tell() - _LOG_TAIL_BYTES))
        return self.file.read().decode(errors="replace")


@asynccontextmanager
async def listening(program: Program, *options: str) -> AsyncIterator[Listening]:
    """Start a listener, wait until it is ready, and end it afterwards.

    Raises:
        PeerFailed: It did not get ready.
    """
    async with serving(program, "listen", *options) as server:
        yield server


@asynccontextmanager
async def serving(program: Program, *arguments: str, event: str = "ready", timeout_s: float = _READY_TIMEOUT_S) -> AsyncIterator[Listening]:
    """Start a program that serves until its stdin ends, wait for its first event, and end it afterwards.

    Raises:
        PeerFailed: That event did not come.
    """
    log = Log()
    process = await asyncio.create_subprocess_exec(
        *program.argv,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log.file,
        cwd=Path(__file__).parent.parent,
    )
    try:
        said = await _next_line(process, log, program, timeout_s)
        if said.get("event") != event:
            raise PeerFailed(f"{program.name} does not {arguments[0]}: {json.dumps(said)}\n{log.tail()}")
        yield Listening(program, said["addr"], said.get("agent", ""), process.pid, log, said)
    finally:
        await _stop(process)


OnEvent = Callable[[dict[str, Any]], Awaitable[None]]


async def dialed(program: Program, *arguments: str, timeout_s: float, on_event: OnEvent | None = None) -> dict[str, Any]:
    """Run a dialer to its end and return its last line; `on_event` is given those before it.

    Raises:
        PeerFailed: It failed, said nothing, or took too long.
    """
    end = await finished(program, *arguments, timeout_s=timeout_s, on_event=on_event)
    if end.said.get("event") != "done" or end.code != 0:
        raise PeerFailed(f"{program.name} exited with {end.code}: {json.dumps(end.said)}\n{end.log}")
    return end.said


async def finished(program: Program, *arguments: str, timeout_s: float, on_event: OnEvent | None = None) -> Finished:
    """Run a program to its end, whatever that is.

    Raises:
        PeerFailed: It said nothing, or took too long.
    """
    log = Log()
    process = await asyncio.create_subprocess_exec(
        *program.argv,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=log.file,
        cwd=Path(__file__).parent.parent,
    )
    try:
        result = await _next_line(process, log, program, timeout_s)
        while result.get("event") not in ("done", "error"):
            if on_event is not None:
                await on_event(result)
            result = await _next_line(process, log, program, timeout_s)
        async with asyncio.timeout(_EXIT_TIMEOUT_S):
            code = await process.wait()
    except TimeoutError:
        raise PeerFailed(f"{program.name} printed its result but did not exit\n{log.tail()}") from None
    finally:
        await _stop(process)
    return Finished(result, code, log.tail())


async def _next_line(process: asyncio.subprocess.Process, log: Log, program: Program, timeout_s: float) -> dict[str, Any]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            while line := await process.stdout.readline():
                if line.startswith(b"{"):
                    return dict(json.loads(line))
    except TimeoutError:
        raise PeerFailed(f"{program.name} said nothing within {timeout_s:g} s\n{log.tail()}") from None
    code = await process.wait()
    raise PeerFailed(f"{program.name} exited with {code} before it said anything\n{log.tail()}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, then ask, then kill."""
    if process.stdin is not None:
        process.stdin.close()
    for force in (None, process.terminate, process.kill):
        if process.returncode is not None:
            return
        if force is not None:
            with contextlib.suppress(ProcessLookupError):
                force()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_TIMEOUT_S):
                await process.wait()
