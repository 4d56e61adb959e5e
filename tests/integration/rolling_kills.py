"""``python -m tests.integration.rolling_kills kad``: a client writes and reads while one daemon after the other is killed.

Nine daemons (``local`` preset, three replicas) on loopback. Every ten seconds one of them is killed by SIGKILL, and started again five
seconds later with its disk, so that never more than one is down. Every acknowledged write has to be read back, no read may be older than
what was acknowledged before it began, and of the reads and of the puts 95 % have to succeed within five seconds, one retry included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from peerstack import Host
from peerstack.config import preset
from peerstack.errors import KeyNotFound, PeerstackError
from tests.cli.daemons import LOOPBACK, Daemon, daemon

PERIOD_S = 10.0
DOWN_S = 5.0
LIMIT_S = 5.0
FLOOR = 0.95
_ATTEMPT_S = LIMIT_S / 2
_KEYS = 40
_WORKERS = 4


@dataclass
class Tally:
    """How the operations of one kind went."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        done = len(self.seconds)
        return done / max(1, done + len(self.failed))

    def document(self) -> dict[str, float]:
        ordered = sorted(self.seconds) or [0.0]
        return {
            "operations": len(self.seconds) + len(self.failed),
            "succeeded": round(self.share, 4),
            "median ms": round(median(ordered) * 1000, 1),
            "p99 ms": round(ordered[len(ordered) * 99 // 100] * 1000, 1),
        }


class Client:
    """Writes growing numbers, each key one at a time, reads, and knows what a read may give."""

    def __init__(self, host: Host, name: str, seed: int) -> None:
        self._dht = host.dht(name)
        self._dice = random.Random(f"rolling kills {seed}")
        self._acknowledged = dict.fromkeys(range(_KEYS), 0)
        self._attempted = dict.fromkeys(range(_KEYS), 0)
        self._writing = {key: asyncio.Lock() for key in range(_KEYS)}
        self.puts, self.reads = Tally(), Tally()
        self.wrong: list[str] = []

    async def work(self, until: float) -> None:
        while time.monotonic() < until:
            key = self._dice.randrange(_KEYS)
            await (self.write(key) if self._dice.random() < 0.4 else self.read(key))

    async def write(self, key: int) -> None:
        async with self._writing[key]:
            number = self._attempted[key] = self._attempted[key] + 1
            if await self._timed(self.puts, f"put {key}", lambda timeout: self._put(key, number, timeout)):
                self._acknowledged[key] = number

    async def read(self, key: int) -> None:
        await self._timed(self.reads, f"get {key}", lambda timeout: self._get(key, timeout))

    async def look_after(self) -> None:
        """Read everything once more, with patience."""
        for key in range(_KEYS):
            if not await self._get(key, 60.0):
                self.wrong.append(f"key {key}: unconfirmed although every daemon is up")

    async def _put(self, key: int, number: int, timeout: float) -> bool:
        return (await self._dht.put(f"key {key}", b"%d" % number, timeout=timeout)).promised

    async def _get(self, key: int, timeout: float) -> bool:
        floor = self._acknowledged[key]
        try:
            found = await self._dht.get(f"key {key}", timeout=timeout)
        except KeyNotFound:
            if floor:
                self.wrong.append(f"key {key}: confirmed as absent, {floor} was acknowledged")
            return True
        number = int(found.value)
        if number > self._attempted[key] or (found.confirmed and number < floor):
            self.wrong.append(f"key {key}: read {number}, acknowledged {floor}, attempted {self._attempted[key]}")
        return found.confirmed

    async def _timed(self, tally: Tally, what: str, attempt: Callable[[float], Awaitable[bool]]) -> bool:
        began, why = time.monotonic(), ""
        for _ in range(2):
            try:
                if await attempt(_ATTEMPT_S):
                    tally.seconds.append(time.monotonic() - began)
                    return True
                why = "not confirmed"
            except PeerstackError as error:
                why = f"{type(error).__name__}: {error}"
        tally.failed.append(f"{what} after {time.monotonic() - began:.2f} s: {why}")
        return False


class Daemons:
    """All of them."""

    def __init__(self, stack: ExitStack, folder: Path, name: str, count: int) -> None:
        self._stack = stack
        self._homes = [folder / f"node{number}" for number in range(count)]
        self.up: dict[int, Daemon] = {}
        self._listens: dict[int, str] = {}
        self.kills = 0
        other = {"kad": "chord", "chord": "kad"}[name]
        for home in self._homes:
            home.mkdir()
            (home / "config.toml").write_text(f"[protocols.{name}]\n[protocols.{other}]\nenabled = false\n")

    @property
    def addresses(self) -> list[str]:
        return [running.address for running in self.up.values()]

    def start(self, number: int) -> None:
        """Start a daemon: for the first time on any port, later where it was."""
        bootstrap = [item for address in self.addresses[:3] for item in ("--bootstrap", address)]
        listen = self._listens.get(number, LOOPBACK)
        self.up[number] = self._stack.enter_context(daemon(self._homes[number], "--listen", listen, *bootstrap))
        self._listens[number] = self.up[number].address.partition("/p2p/")[0]

    async def kill_in_turn(self, until: float, dice: random.Random) -> None:
        while time.monotonic() + PERIOD_S < until:
            await asyncio.sleep(PERIOD_S - DOWN_S)
            number = dice.choice(sorted(self.up))
            victim = self.up.pop(number)
            victim.process.kill()
            victim.process.wait()
            self.kills += 1
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(self.start, number)


async def play(name: str, *, seconds: float, count: int, seed: int) -> tuple[dict[str, object], list[str]]:
    """Run it all; figures, and what went wrong."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemons = Daemons(stack, folder, name, count)
        for number in range(count):
            await asyncio.to_thread(daemons.start, number)
        async with Host(protocols=[name], bootstrap=daemons.addresses, config=preset("local")) as host:
            client = Client(host, name, seed)
            for key in range(_KEYS):
                while not client._acknowledged[key]:
                    await client.write(key)
            client.puts = Tally()
            until = time.monotonic() + seconds
            dice = random.Random(f"victims {seed}")
            await asyncio.gather(daemons.kill_in_turn(until, dice), *(client.work(until) for _ in range(_WORKERS)))
            await client.look_after()
    figures: dict[str, object] = {
        "dht": name,
        "daemons": count,
        "seconds": seconds,
        "kills": daemons.kills,
        "puts": client.puts.document(),
        "reads": client.reads.document(),
        "wrong": len(client.wrong),
    }
    troubles = list(client.wrong)
    for what, tally in (("puts", client.puts), ("reads", client.reads)):
        if tally.share < FLOOR:
            troubles.append(f"only {tally.share:.1%} of the {what} succeeded within {LIMIT_S:g} s: {tally.failed[:5]}")
    return figures, troubles


def main() -> int:
    """Play it for the DHTs named."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.rolling_kills")
    parser.add_argument("dht", choices=["kad", "chord"], nargs="+")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--daemons", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    troubles: list[str] = []
    for name in arguments.dht:
        figures, wrong = asyncio.run(play(name, seconds=arguments.seconds, count=arguments.daemons, seed=arguments.seed))
        print(json.dumps(figures), flush=True)  # noqa: T201
        troubles += wrong
    for text in troubles:
        print(text, file=sys.stderr)  # noqa: T201
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
