"""The Kademlia matrix: a bootstrap, a provider and a querier of any three stacks on ``/ipfs/kad/1.0.0``, each in a process of its own.

The provider knows the bootstrap, announces itself for a random multihash and puts a value under a random key. Then the querier, who knows
the bootstrap alone, looks up a random id, finds the provider and gets the value. At last the provider ends and a second querier gets the
value from the bootstrap: with the provider there it may have come from its own store, and the put be worth nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

from interop.build import NAMES, NotRun, build
from interop.harness import OURS, Finished, Listening, PeerFailed, Program, finished, serving

__all__ = ["Selection", "every", "exactly_one_foreign", "run", "stacks_only"]

OPERATIONS: Final = ("find_node", "providers", "value", "stored")
_STACKS: Final = (OURS.name, "go", "rust", "js", "py")
_AT_ONCE: Final = 2
_ROLE_TIMEOUT_S: Final = 30
_SHA2_256: Final = b"\x12\x20"

Roles = tuple[str, str, str]
"""The stacks of the bootstrap, the provider and the querier."""
Selection = Callable[[Roles], bool]


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation of one combination."""

    status: str
    """``green``, ``green (2nd try)``, ``RED``, ``known defect``, ``unsupported`` or ``not run``."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Of two other projects with each other; neither is ours to mend."""

    bootstrap: str
    provider: str
    sign: str
    """What the reason of a red cell contains if this was it."""
    reason: str


_DEFECTS: Final = (
    Defect(
        bootstrap="py",
        provider="go",
        sign="nil pointer dereference",
        reason="py answers ADD_PROVIDER (kad_dht.py, _do_handle_stream); go does not read that answer, so that every later one on the "
        "stream is taken for its successor's, and ProtocolMessenger.PutValue (pb/protocol_messenger.go) dereferences the record that the "
        "answer to a FIND_NODE does not have (10 of 12 times; never with a py that does not answer)",
    ),
)


@dataclass(slots=True)
class Combination:
    """One combination of stacks, by role."""

    bootstrap: str
    provider: str
    querier: str
    cells: dict[str, Cell] = field(default_factory=dict)
    tries: int = 0
    seconds: float = 0.0
    log: str = ""
    """What the three programs wrote to stderr at the last try, unless all is well."""

    @property
    def roles(self) -> Roles:
        """The three stacks."""
        return (self.bootstrap, self.provider, self.querier)


def every(roles: Roles) -> bool:
    """All 125."""
    return True


def exactly_one_foreign(roles: Roles) -> bool:
    """PeerStack and one other: 24."""
    return OURS.name in roles and len(set(roles)) == 2


def stacks_only(names: Sequence[str]) -> Selection:
    """What can be made of some stacks."""
    return lambda roles: set(roles) <= set(names)


def run(selection: Selection, output: Path | None) -> int:
    """Run the combinations selected; print a table, write JSON, and return the exit code: 1 if a cell is red."""
    combinations = [Combination(*roles) for roles in product(_STACKS, _STACKS, _STACKS) if selection(roles)]
    asyncio.run(run_all(combinations))
    print_table(combinations)
    print_pairs(combinations)
    if output is not None:
        output.write_text(json.dumps([asdict(combination) for combination in combinations], indent=1) + "\n")
    return int(any(cell.status == "RED" for combination in combinations for cell in combination.cells.values()))


async def run_all(combinations: Sequence[Combination]) -> None:
    """Two at a time: three processes each are enough for a small machine."""
    programs, missing = find_programs({name for combination in combinations for name in combination.roles})
    left = iter(combinations)

    async def worker() -> None:
        for combination in left:
            if absent := [missing[name] for name in combination.roles if name in missing]:
                combination.cells = dict.fromkeys(OPERATIONS, Cell("not run", absent[0]))
            else:
                await run_combination(combination, programs)
            told = ", ".join(f"{name} {cell.status}" for name, cell in combination.cells.items())
            print(f"{' x '.join(combination.roles)}: {told} ({combination.seconds} s)", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(worker())


def find_programs(names: set[str]) -> tuple[dict[str, Program], dict[str, str]]:
    """The programs of the stacks named, and why some are missing."""
    programs, missing = {OURS.name: OURS}, dict[str, str]()
    for name in sorted(names.intersection(NAMES)):
        built = build(name)
        if isinstance(built, NotRun):
            missing[name] = f"{name}: {built.reason}"
        else:
            programs[name] = Program(name, tuple(built.argv), built.version)
    return programs, missing


async def run_combination(combination: Combination, programs: Mapping[str, Program]) -> None:
    """Run one combination, and once more if anything in it is red."""
    begun = time.monotonic()
    for _ in range(2):
        combination.tries += 1
        cells, log = await run_once(combination, programs)
        for name, cell in cells.items():
            before = combination.cells.get(name)
            if before is None or (before.status == "RED" and cell.status != "green"):
                combination.cells[name] = cell
            elif before.status == "RED":
                combination.cells[name] = Cell("green (2nd try)", before.reason)
        if all(cell.status != "RED" for cell in combination.cells.values()):
            break
        combination.log = log
    combination.seconds = round(time.monotonic() - begun, 1)


async def run_once(combination: Combination, programs: Mapping[str, Program]) -> tuple[dict[str, Cell], str]:
    """One try, with a key and a multihash of its own: the cells, and the logs."""
    key = f"/example/data/{secrets.token_hex(8)}".encode().hex()
    multihash = (_SHA2_256 + secrets.token_bytes(32)).hex()
    bootstrap_program, provider_program, querier_program = (programs[name] for name in combination.roles)
    role = "bootstrap"
    try:
        async with serving(bootstrap_program, "kad", role, timeout_s=_ROLE_TIMEOUT_S) as bootstrap:
            target, role = (bootstrap.addr, key, multihash), "provider"
            async with serving(provider_program, "kad", role, *target, event="provided", timeout_s=_ROLE_TIMEOUT_S) as provider:
                role = "querier"
                with_provider = await finished(querier_program, "kad", role, *target, timeout_s=_ROLE_TIMEOUT_S)
            without_provider = await finished(querier_program, "kad", role, *target, timeout_s=_ROLE_TIMEOUT_S)
            tried = Try(bootstrap, provider, with_provider, without_provider)
            return {operation: tried.judge(operation) for operation in OPERATIONS}, tried.text()
    except PeerFailed as failure:
        told = ": ".join(str(failure).splitlines()[:2])
        return dict.fromkeys(OPERATIONS, red(combination.roles, f"{role}: {told}")), str(failure)


@dataclass(frozen=True, slots=True)
class Try:
    """What all roles said."""

    bootstrap: Listening
    provider: Listening
    querier: Finished
    late_querier: Finished
    """After the provider ended."""

    def judge(self, operation: str) -> Cell:
        """What became of one operation, the writer's part first."""
        asked = "value" if operation == "stored" else operation
        querier = (self.late_querier if operation == "stored" else self.querier).said
        written = {"providers": "provide", "value": "put"}.get(asked, "connect")
        roles = (("bootstrap", self.bootstrap.said, written), ("provider", self.provider.said, written), ("querier", querier, asked))
        for role, said, name in roles:
            if reason := said.get("unsupported", {}).get(name):
                return Cell("unsupported", f"{role}: {reason}")
        if querier.get("event") == "error":
            return self._red(f"querier: {querier.get('message')}")
        causes = {f"querier, {name}": querier["errors"].get(name) for name in ("connect", asked)}
        causes |= {f"provider, {name}": self.provider.said["errors"].get(name) for name in ("connect", written)}
        if told := [f"{where}: {error}" for where, error in causes.items() if error]:
            return self._red("; ".join(told))
        peer_id, language = self.provider.addr.rpartition("/")[2], self.provider.program.name
        holds = {
            "find_node": querier["find_node"] >= 1,
            "providers": peer_id in querier["providers"],
            "value": querier["value"] == f"hello from {language}",
        }[asked]
        return Cell("green") if holds else self._red(f"querier: {asked} is {querier[asked]!r}")

    def _red(self, reason: str) -> Cell:
        return red((self.bootstrap.program.name, self.provider.program.name, ""), reason)

    def text(self) -> str:
        """Everything said and logged."""
        ends = {"querier": self.querier, "late querier": self.late_querier}
        said = {"provider": self.provider.said} | {role: end.said for role, end in ends.items()}
        logs = {"bootstrap": self.bootstrap.log.tail(), "provider": self.provider.log.tail()} | {
            role: end.log for role, end in ends.items()
        }
        return "".join(f"{role}: {json.dumps(event)}\n" for role, event in said.items()) + "".join(
            f"--- the {role}'s log ---\n{log}\n" for role, log in logs.items() if log
        )


def red(roles: Roles, reason: str) -> Cell:
    """Red, unless it is known and not ours."""
    for defect in _DEFECTS:
        if roles[:2] == (defect.bootstrap, defect.provider) and defect.sign in reason:
            return Cell("known defect", defect.reason)
    return Cell("RED", reason)


def print_table(combinations: Sequence[Combination]) -> None:
    """One line per combination, and the reasons of what is not green, each once."""
    print(f"\n{'bootstrap':<10} {'provider':<10} {'querier':<10} " + " ".join(f"{name:<16}" for name in OPERATIONS) + " tries     s")
    reasons: dict[str, int] = {}
    for combination in combinations:
        texts = []
        for cell in combination.cells.values():
            note = f" [{reasons.setdefault(cell.reason, len(reasons) + 1)}]" if cell.reason else ""
            texts.append(f"{cell.status + note:<16}")
        roles = " ".join(f"{name:<10}" for name in combination.roles)
        print(f"{roles} {' '.join(texts)} {combination.tries:>5} {combination.seconds:>5}")
    for reason, number in reasons.items():
        print(f"[{number}] {reason}")
    cells = [cell.status.partition(" (")[0] for combination in combinations for cell in combination.cells.values()]
    counts = ", ".join(f"{cells.count(status)} {status}" for status in sorted(set(cells)))
    print(f"\n{len(combinations)} combinations, {len(cells)} cells: {counts}")


def print_pairs(combinations: Sequence[Combination]) -> None:
    """Green cells of each provider and querier, over all bootstraps."""
    present = [name for name in _STACKS if any(name in combination.roles for combination in combinations)]
    print(f"\n{'provider, querier':<18}" + "".join(f"{name:>12}" for name in present))
    for provider in present:
        texts = []
        for querier in present:
            pair = [combination for combination in combinations if combination.roles[1:] == (provider, querier)]
            cells = [cell for combination in pair for cell in combination.cells.values()]
            texts.append(f"{sum(cell.status.startswith('green') for cell in cells)}/{len(cells)}" if cells else "")
        print(f"{provider:<18}" + "".join(f"{text:>12}" for text in texts))
