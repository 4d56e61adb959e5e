"""``peerstack demo``: seven nodes on this machine, and values that outlive a crash and a leave."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import typer

from peerstack_cli.demo_nodes import Interrupts, Node, Nodes
from peerstack_cli.exit_codes import ExitCode
from peerstack_cli.extra import require_extra
from peerstack_cli.failures import CommandError
from peerstack_cli.output import Output
from peerstack_cli.session import Session

__all__ = ["run"]

_NODES: Final = 7
_VALUES: Final = 8
_WRITER: Final = "2"
_MEETING_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05


def run(session: Session, dht: str) -> None:
    """Run it all; exits with a failure unless every read gave the right bytes."""
    require_extra()
    demo = _Demo(session.output, dht)
    began = time.monotonic()
    with Interrupts() as interrupts, Nodes(interrupts) as nodes:
        demo.play(nodes)
    summary = demo.summary(time.monotonic() - began)
    verdict = "every read gave the right bytes" if summary["ok"] else f"{summary['wrong']} of {summary['reads']} reads went WRONG"
    session.output.document(summary, f"done in {summary['seconds']:.1f} s: {summary['reads']} reads, {verdict}")
    if not summary["ok"]:
        raise typer.Exit(ExitCode.FAILURE)


@dataclass(slots=True)
class _Step:
    name: str
    detail: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Demo:
    """The story, and what came of it."""

    output: Output
    dht: str
    values: dict[str, bytes] = field(default_factory=lambda: {f"demo-{number}": os.urandom(32) for number in range(1, _VALUES + 1)})
    holders: dict[str, set[str]] = field(default_factory=dict)
    steps: list[_Step] = field(default_factory=list)
    reads: int = 0
    wrong: int = 0
    killed: str = ""
    left: str = ""

    def play(self, nodes: Nodes) -> None:
        """Play all steps."""
        with self._step("start", f"starting {_NODES} nodes") as step:
            [first] = nodes.start(1, dht=self.dht)
            everybody = [first, *nodes.start(_NODES - 1, dht=self.dht, bootstrap=first.addrs)]
            step.detail = f"as {_NODES} processes, all bootstrapped from node 1"
        with self._step("meet", "finding each other") as step:
            _wait_until_met(everybody)
            step.detail = f"each is connected to the other {_NODES - 1}"
        with self._step("put", f"putting {_VALUES} values through node {_WRITER}") as step:
            self._put_all(next(node for node in everybody if node.name == _WRITER))
            step.detail = f"stored by {', '.join(self._names(nodes))}"
        self._read_all("read", self._emptiest(nodes))
        with self._step("kill", "killing the node that holds most (SIGKILL)") as step:
            victim = self._fullest(nodes)
            victim.kill()
            self.killed = victim.peer_id
            step.detail = f"node {victim.name}, with {self._held(victim)} of the {_VALUES} values"
        self._read_all("read-after-kill", self._emptiest(nodes))
        with self._step("leave", "letting the next one leave in order (SIGTERM)") as step:
            leaver = self._fullest(nodes)
            code = leaver.leave()
            self.left = leaver.peer_id
            step.detail = f"node {leaver.name}, with {self._held(leaver)} values, exit code {code}"
        if code:
            raise CommandError("failure", f"node {leaver.name} left with exit code {code}")
        self._read_all("read-after-leave", self._emptiest(nodes))
        with self._step("stop", "stopping the rest") as step:
            step.detail = f"{len(nodes.alive())} nodes"
            nodes.stop()

    def summary(self, seconds: float) -> Mapping[str, Any]:
        """The JSON document."""
        return {
            "ok": self.reads > 0 and self.wrong == 0,
            "dht": self.dht,
            "nodes": _NODES,
            "values": _VALUES,
            "reads": self.reads,
            "wrong": self.wrong,
            "killed": self.killed,
            "left": self.left,
            "seconds": round(seconds, 3),
            "steps": [{"name": step.name, "detail": step.detail, "seconds": round(step.seconds, 3)} for step in self.steps],
        }

    @contextmanager
    def _step(self, name: str, title: str) -> Iterator[_Step]:
        step, began = _Step(name), time.monotonic()
        self.output.progress(f"{title} ...")
        yield step
        step.seconds = time.monotonic() - began
        self.steps.append(step)
        if not self.output.json:
            self.output.line(f"{title}: {step.detail} ({step.seconds:.1f} s)")

    def _put_all(self, node: Node) -> None:
        for key, value in self.values.items():
            request = {"dht": self.dht, "key": key, "value_base64": base64.b64encode(value).decode("ascii"), "ttl_s": 600}
            self.holders[key] = set(node.client.post("/v1/put", request)["stored"])

    def _read_all(self, name: str, node: Node) -> None:
        with self._step(name, f"reading them through node {node.name}") as step:
            right = [key for key, value in self.values.items() if _read(node, self.dht, key) == value]
            self.reads += len(self.values)
            self.wrong += len(self.values) - len(right)
            step.detail = f"{len(right)} of {len(self.values)} right"

    def _held(self, node: Node) -> int:
        return sum(node.peer_id in holders for holders in self.holders.values())

    def _fullest(self, nodes: Nodes) -> Node:
        """The running node that stored most of the values when they were put."""
        return max(nodes.alive(), key=self._held)

    def _emptiest(self, nodes: Nodes) -> Node:
        """The running node that stored fewest of them, and did not put them: it has to ask the others."""
        return min(nodes.alive(), key=lambda node: (node.name == _WRITER, self._held(node)))

    def _names(self, nodes: Nodes) -> Sequence[str]:
        counts = Counter({node.name: self._held(node) for node in nodes.alive()})
        return [f"node {name} ({count})" for name, count in sorted(counts.items()) if count]


def _read(node: Node, dht: str, key: str) -> bytes | None:
    """A value, or None where it cannot be read."""
    try:
        document = node.client.post("/v1/get", {"dht": dht, "key": key})
    except CommandError:
        return None
    text = document.get("value")
    return base64.b64decode(document["value_base64"]) if text is None else str(text).encode()


def _wait_until_met(nodes: Sequence[Node]) -> None:
    """Wait until every node is connected to all others."""
    deadline = time.monotonic() + _MEETING_TIMEOUT_S
    missing = list(nodes)
    while missing:
        missing = [node for node in missing if len(node.client.get("/v1/peers")["peers"]) < len(nodes) - 1]
        if missing and time.monotonic() > deadline:
            names = ", ".join(node.name for node in missing)
            raise CommandError("timeout", f"after {_MEETING_TIMEOUT_S:g} s these nodes are not connected to all others: {names}")
        time.sleep(_POLL_S if missing else 0)
