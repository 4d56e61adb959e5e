"""The eight rows: each other stack dials us and is dialled by us, with optimistic and with classic negotiation."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from interop.build import NAMES, NotRun, build
from interop.harness import OURS, PeerFailed, Program, dialed, listening

__all__ = ["run"]

_MODES: Final = ("optimistic", "classic")
_DIAL_TIMEOUT_S: Final = 90
_TRANSFER_BYTES: Final = 8 << 20


@dataclass(slots=True)
class Row:
    """One dialer against one listener."""

    dialer: str
    listener: str
    status: str = "not run"
    """``green``, ``green (2nd try)``, ``FAILED`` or ``not run``."""
    detail: str = ""
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)


def run(names: Sequence[str], output: Path | None) -> int:
    """Run the rows of the stacks named; print a table, write JSON, and return the exit code."""
    rows = asyncio.run(run_rows(names or NAMES))
    print_table(rows)
    if output is not None:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.status.startswith("green") for row in rows) else 1


async def run_rows(names: Sequence[str]) -> list[Row]:
    """Two rows for each stack."""
    rows: list[Row] = []
    for name in names:
        built = build(name)
        if isinstance(built, NotRun):
            rows += [Row(name, OURS.name, detail=built.reason), Row(OURS.name, name, detail=built.reason)]
            continue
        foreign = Program(name, tuple(built.argv), built.version)
        rows += [await run_row(foreign, OURS), await run_row(OURS, foreign)]
    return rows


async def run_row(dialer: Program, listener: Program) -> Row:
    """Run one row, twice at most; every failure prints both sides' logs."""
    row = Row(dialer.name, listener.name)
    begun = time.monotonic()
    for attempt in (1, 2):
        try:
            row.results = [await run_once(dialer, listener, mode) for mode in _MODES]
        except PeerFailed as failure:
            print(f"\n{dialer.name} -> {listener.name}, try {attempt}: {failure}\n", file=sys.stderr)
            row.status, row.detail = "FAILED", str(failure).partition("\n")[0]
        else:
            row.status = "green" if attempt == 1 else "green (2nd try)"
            row.detail = ""
            break
    row.seconds = round(time.monotonic() - begun, 1)
    return row


async def run_once(dialer: Program, listener: Program, mode: str) -> dict[str, Any]:
    """One dial, everything checked."""
    async with listening(listener) as server:
        try:
            result = await dialed(dialer, "dial", server.addr, "--negotiation", mode, timeout_s=_DIAL_TIMEOUT_S)
        except PeerFailed as failure:
            raise PeerFailed(f"{mode}: {failure}\n--- the listener's log ---\n{server.log.tail()}") from None
        expected_id = server.addr.rpartition("/")[2]
        wrong = [
            what
            for what, holds in {
                "another peer answered": result["remote_peer"] == expected_id,
                "no agent version was learned by identify": bool(result["agent"]),
                "the test protocol is not among those identified": "/peerstack/interop/1.0.0" in result["protocols"],
                "not ten pings": len(result["pings_us"]) == 10,
                "bytes are missing": result["uploaded"] == result["downloaded"] == _TRANSFER_BYTES,
                "content was not verified": result["verified"],
                "the stream was not half-closed": result["half_closed"],
            }.items()
            if not holds
        ]
        if wrong:
            raise PeerFailed(f"{mode}: {'; '.join(wrong)}: {json.dumps(result)}\n--- the listener's log ---\n{server.log.tail()}")
        return result


def print_table(rows: Sequence[Row]) -> None:
    """One line per row."""
    print(f"\n{'dialer':<10} {'listener':<10} {'result':<16} {'ping us (median)':>16} {'negotiation':<24} {'s':>5}  agent or reason")
    for row in rows:
        pings = f"{median(row.results[0]['pings_us']):.0f}" if row.results else ""
        modes = " + ".join(str(result.get("negotiation", "?")) for result in row.results)
        about = row.detail or str(row.results[0]["agent"])
        print(f"{row.dialer:<10} {row.listener:<10} {row.status:<16} {pings:>16} {modes:<24} {row.seconds:>5}  {about}")
    green = sum(row.status.startswith("green") for row in rows)
    print(f"\n{green} of {len(rows)} rows green")
