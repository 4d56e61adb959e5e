"""``python -m tests.model [--quick] [--show RUN]``: have the spin model checker look for what breaks the ring, or loses what was written.

The models are ``chord.pml`` and ``takeover/takeover.pml``, whose headers say what they leave out. Spin is taken from the PATH, or
Debian's package is unpacked into the user's cache; ``SPIN`` names another one. Each run is compiled there as well, under a hash of its
sources and settings.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.model.run import Run
from tests.model.takeover_runs import TAKEOVER_RUNS

_FOLDERS = {"chord": Path(__file__).parent, "takeover": Path(__file__).parent / "takeover"}
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "peerstack"
_AT_ONCE = 2
_PACKAGE = "spin_*.deb"

_ANY = "any number of failures and rejoins"
_SAVING = "-DSYMMETRY -DQUIET"
_FORMING = f"{_SAVING} -DFORMING -DLEAVES"
_FAILING = f"{_SAVING} -DFORMING"
_BRISK = f"{_FAILING} -DCOARSE -DTOGETHER -DAT_ONCE"
_SAMPLED = "-DBITSTATE -DT_RAND"
_SAMPLE = "-m1000000 -w32 -k3 -Q1 -RS20011"


def _events(count: int) -> str:
    return f"at most {count} failures, leaves or rejoins"


def _breaks(name: str, bounds: str, defines: str, nodes: int = 4) -> Run:
    """What is to break, found by the shortest way."""
    return Run(name=name, bounds=bounds, nodes=nodes, defines=defines, search="-DBFS", breaks=True, quick=True)


def _with(run: Run, *defects: str) -> list[Run]:
    """A search, and the same with each of these defects, which it has to find: else that it finds nothing says nothing."""
    search = run.search or "-DBFS"
    return [
        run,
        *(
            replace(
                run,
                name=f"{run.name}:{defect.lower().replace('_', '-')}",
                bounds=_DEFECTS[defect],
                defines=f"{run.defines} -D{defect}",
                search=search,
                breaks=True,
            )
            for defect in defects
        ),
    ]


_DEFECTS = {
    "ADOPT_UNASKED": "a node is adopted that was not asked",
    "COUNT_JOINERS": "joiners are counted as members when the ring forms",
    "COUNT_LEAVERS": "who leaves is counted when the ring forms",
    "FORM_EARLY": "the ring has formed before anybody confirmed the map",
    "JOIN_UNHEARD": "who joins does not wait to be confirmed",
    "LEAVE_UNHEARD": "who leaves does not wait until all have heard it",
    "BACK_TO_RING": "who confirmed a leave goes back to the ring of before",
    "CONFIRMED_FOR_EVER": "confirmations outlive their era",
    "FORGETFUL": "who goes to the ring forgets whom it confirmed",
    "LET_IN_EARLY": "who comes over from a ring lets others in at once",
    "ADOPT_NOTIFIER": "who forms takes up who notifies it, and does not ask around",
    "FORMED_ANYHOW": "that the ring has formed is believed though the map has changed",
}

RUNS = [
    *_with(
        Run(
            name="forming-4",
            bounds=f"a founder, three join; {_events(2)}",
            nodes=4,
            defines=f"{_FORMING} -DBUDGET=2",
            options="-m4000000 -w25",
            quick=True,
        ),
        "COUNT_JOINERS",
        "COUNT_LEAVERS",
        "FORM_EARLY",
        "JOIN_UNHEARD",
        "LEAVE_UNHEARD",
        "BACK_TO_RING",
        "CONFIRMED_FOR_EVER",
        "ADOPT_UNASKED",
    ),
    Run(
        name="forming-4-fails",
        bounds="a founder, three join; at most 5 failures or rejoins",
        nodes=4,
        defines=f"{_FAILING} -DBUDGET=5",
        options="-m100000 -w26",
    ),
    *_with(
        Run(
            name="forming-4-any",
            bounds=f"a founder, three join; {_ANY}; news is known at once",
            nodes=4,
            defines=f"{_BRISK} -DBUDGET=255",
            quick=True,
        ),
        "COUNT_JOINERS",
        "FORM_EARLY",
        "ADOPT_UNASKED",
    ),
    *_with(
        Run(
            name="forming-5-three",
            bounds="a founder, four join; at most 3 failures or rejoins; news is known at once",
            nodes=5,
            defines=f"{_BRISK} -DBUDGET=3",
            options="-m100000 -w25",
        ),
        "COUNT_JOINERS",
        "FORM_EARLY",
    ),
    *_with(
        Run(
            name="forming-6-sample",
            bounds="a founder, five join; at most 3 failures or rejoins; news is known at once",
            nodes=6,
            defines=f"{_BRISK} -DBUDGET=3",
            search=_SAMPLED,
            options=_SAMPLE,
        ),
        "COUNT_JOINERS",
    ),
    Run(
        name="forming-4-leaves",
        bounds=f"a founder, three join; {_events(3)}",
        nodes=4,
        defines=f"{_FORMING} -DBUDGET=3",
        options="-m100000 -w25",
    ),
    *_with(
        Run(
            name="forming-4-many",
            bounds="a founder, three join; at most 8 failures or rejoins; a round of upkeep in one step",
            nodes=4,
            defines=f"{_FAILING} -DCOARSE -DBUDGET=8",
            options="-m100000 -w25",
        ),
        "FORGETFUL",
        "LET_IN_EARLY",
        "ADOPT_NOTIFIER",
    ),
    *_with(
        Run(
            name="slow-4-leaves",
            bounds=f"a founder, three join; {_events(2)}; maps take time; hash compaction",
            nodes=4,
            defines=f"{_FORMING} -DSLOW_MAPS -DBUDGET=2",
            search="-DHC4",
            options="-m100000 -w27",
        ),
        "FORMED_ANYHOW",
    ),
    Run(
        name="forming-5",
        bounds="three form, two join; at most 1 failure or rejoin",
        nodes=5,
        defines=f"{_FAILING} -DSTART=7 -DBUDGET=1",
        options="-m100000 -w26",
    ),
    *_with(
        Run(
            name="slow-4",
            bounds=f"three form, the fourth joins; {_events(1)}; maps take time",
            nodes=4,
            defines=f"{_FORMING} -DSTART=7 -DSLOW_MAPS -DBUDGET=1",
            quick=True,
        ),
        "FORM_EARLY",
    ),
    *_with(
        Run(name="joins-5", bounds="three form, two join; nobody fails", nodes=5, defines=f"{_FORMING} -DSTART=7 -DBUDGET=0", quick=True),
        "COUNT_JOINERS",
    ),
    *_with(Run(name="ring-4", bounds=_ANY, nodes=4, defines=_SAVING, quick=True), "ADOPT_UNASKED"),
    *_with(Run(name="ring-4-whole", bounds=f"{_ANY}; idle queries too", nodes=4, defines="-DSYMMETRY"), "ADOPT_UNASKED"),
    *_with(
        Run(name="ring-5", bounds="at most 3 failures or rejoins", nodes=5, defines=f"{_SAVING} -DBUDGET=3", options="-m4000000 -w26"),
        "ADOPT_UNASKED",
    ),
    *_with(
        Run(name="leaving-5", bounds=_events(2), nodes=5, defines=f"{_SAVING} -DLEAVES -DBUDGET=2", options="-m4000000 -w26"),
        "ADOPT_UNASKED",
    ),
    *_with(
        Run(
            name="slow-4-sample",
            bounds=f"a founder, three join; {_events(3)}; maps take time",
            nodes=4,
            defines=f"{_FORMING} -DSLOW_MAPS -DBUDGET=3",
            search=_SAMPLED,
            options=_SAMPLE,
        ),
        "FORM_EARLY",
    ),
    *_with(
        Run(
            name="forming-5-sample",
            bounds=f"three form, two join; {_events(3)}",
            nodes=5,
            defines=f"{_FORMING} -DSTART=7 -DBUDGET=3",
            search=_SAMPLED,
            options=_SAMPLE,
        ),
        "FORM_EARLY",
    ),
    *_with(
        Run(
            name="ring-6-sample",
            bounds=_events(3),
            nodes=6,
            defines=f"{_SAVING} -DLEAVES -DBUDGET=3",
            search=_SAMPLED,
            options=_SAMPLE,
        ),
        "ADOPT_UNASKED",
    ),
    _breaks(
        "forming-5:without-joiners",
        "the ring forms though who joins has not confirmed the map",
        f"{_FORMING} -DSTART=7 -DBUDGET=1 -DWITHOUT_JOINERS",
        nodes=5,
    ),
    _breaks("original", "the original's operations, until the invariant breaks", "-DORIGINAL"),
    _breaks("original-lost", "the same, until nothing repairs it", "-DORIGINAL -DDAMAGE"),
    _breaks("in-flight", "failures that do not wait for answers on their way", "-DMEAN_FAILURES -DDAMAGE"),
    *TAKEOVER_RUNS,
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    run: Run
    found: str
    """What broke; empty if nothing did."""
    complete: bool
    """Whether every state within the bounds was seen."""
    states: float
    seconds: float
    """Of a processor."""
    memory_mib: float
    depth: int
    """Steps of the longest way that was searched."""
    trace: str

    @property
    def as_expected(self) -> bool:
        """Whether the defects, and only they, broke."""
        return bool(self.found) == self.run.breaks and (self.complete or self.run.breaks or "-DBITSTATE" in self.run.search)


def find_spin() -> str:
    """Return the spin to run: the one named, else the one on the PATH, else Debian's, from the cache or from Debian.

    Raises:
        SystemExit: There is none, and none can be had.
    """
    if named := os.environ.get("SPIN"):
        if shutil.which(named) is None:
            raise SystemExit(f"SPIN={named} is no program that can be run")
        return named
    if (installed := shutil.which("spin")) is not None:
        return installed
    folder = _CACHE / "spin"
    binary = folder / "usr" / "bin" / "spin"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        why = "" if any(folder.glob(_PACKAGE)) else _download(folder)
        why = why or _run(folder, "dpkg-deb", "-x", *map(str, sorted(folder.glob(_PACKAGE))[-1:]), ".")
        if why:
            raise SystemExit(
                f"the model needs spin 6.5 (https://spinroot.com), and Debian's package could not be had: {why}\n"
                f"install spin, name it by SPIN=/path/to/spin, or put Debian's {_PACKAGE} into {folder}"
            )
    return str(binary)


def _download(folder: Path) -> str:
    """Fetch Debian's package; returns why not."""
    if not _run(folder, "apt-get", "download", "spin"):
        return ""
    return _run(folder, "apt-get", "update", "-qq") or _run(folder, "apt-get", "download", "spin")


def _run(folder: Path, *command: str) -> str:
    """Run a command; returns what was wrong with it."""
    if shutil.which(command[0]) is None:
        return f"there is no {command[0]} here"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    return f"{' '.join(command)}: {said[-1]}" if done.returncode else ""


def build(run: Run, spin: str) -> Path:
    """Compile a run's verifier, and return its folder."""
    sources = sorted(path for path in _FOLDERS[run.model].iterdir() if path.suffix in {".pml", ".c", ".h"})
    defines = [f"-DNODES={run.nodes}", *run.defines.split()]
    compiler = [
        "gcc",
        "-O2",
        "-w",
        "-DSAFETY",
        "-DNOREDUCE",
        f"-DMEMLIM={run.memory_mib}",
        *defines,
        *run.search.split(),
        "-o",
        "pan",
        "pan.c",
    ]
    digest = hashlib.sha256("\0".join([spin, *compiler]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    folder = _CACHE / "model" / f"{run.name}-{digest.hexdigest()[:16]}"
    if not (folder / "pan").exists():
        if shutil.which("gcc") is None:
            raise SystemExit("the model needs gcc, which compiles the verifier that spin writes")
        for old in folder.parent.glob(f"{run.name}-" + "?" * 16):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        for source in sources:
            shutil.copy(source, folder)
        for command in ([spin, *defines, "-a", f"{run.model}.pml"], compiler):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return folder


def search(run: Run, spin: str) -> Outcome:
    """Search, and read what the verifier says."""
    folder = build(run, spin)
    for trail in folder.glob("*.trail"):
        trail.unlink()
    with (folder / "log").open("w") as log:
        verifier = subprocess.Popen(["./pan", *run.options.split()], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, _, used = os.wait4(verifier.pid, 0)
    log_text = (folder / "log").read_text()

    def figure(pattern: str) -> float:
        match = re.search(pattern, log_text)
        if match is None:
            raise SystemExit(f"{run.name}: the verifier says nothing of {pattern!r}:\n{log_text[-4000:]}")
        return float(match[1])

    found = trace = ""
    if figure(r"errors: (\d+)"):
        replay = subprocess.run(["./pan", "-r"], cwd=folder, capture_output=True, text=True, check=False)
        steps = [line for line in replay.stdout.splitlines() if re.match(r"\d+ [a-z]|    \w", line, re.IGNORECASE)]
        trace = "\n".join(steps)
        match = re.search(r"^BROKEN: (.*)$", replay.stdout, re.MULTILINE)
        found = match[1] if match else "the search ended in an error that is none of the model's"
    cut = re.search(r"max search depth too small|Search not completed|memory limit|out of memory", log_text) is not None
    return Outcome(
        run=run,
        found=found,
        complete=not cut and not found and "-DBITSTATE" not in run.search,
        states=figure(r"([\d.e+]+) states, stored"),
        seconds=used.ru_utime + used.ru_stime,
        memory_mib=used.ru_maxrss / 1024,
        depth=int(figure(r"depth reached (\d+)")),
        trace=trace,
    )


def tell(outcome: Outcome) -> str:
    """One line of the table."""
    run = outcome.run
    held = "holds" if outcome.complete else "nothing found"
    verdict = f"breaks: {outcome.found}" if outcome.found else held
    mark = "ok  " if outcome.as_expected else "BAD "
    figures = f"{outcome.states:>12,.0f} states {outcome.depth:>7,} deep {outcome.seconds:6.1f} s {outcome.memory_mib:6.0f} MiB"
    return f"{mark} {run.name:30}{run.nodes} nodes, {run.copies} {figures}  {verdict} ({run.bounds})"


def main() -> int:
    """Run them all, two at a time."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model", description="Check the ring's operations and the rules of the data with spin."
    )
    parser.add_argument("--quick", action="store_true", help="what takes less than a minute")
    parser.add_argument("--show", choices=[run.name for run in RUNS], help="do this run alone and print what broke, step by step")
    arguments = parser.parse_args()
    spin = find_spin()
    if arguments.show:
        outcome = search(next(run for run in RUNS if run.name == arguments.show), spin)
        print(outcome.trace, tell(outcome), sep="\n")  # noqa: T201
        return 0 if outcome.as_expected else 1
    chosen = [run for run in RUNS if run.quick or not arguments.quick]
    as_expected = True
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for outcome in pool.map(lambda run: search(run, spin), chosen):
            print(tell(outcome), flush=True)  # noqa: T201
            as_expected = as_expected and outcome.as_expected
            if not outcome.as_expected:
                print(outcome.trace, flush=True)  # noqa: T201
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
