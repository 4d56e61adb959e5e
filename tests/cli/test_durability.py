"""Values outlive the processes that hold them: real daemons, real disks, SIGKILL."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.cli.daemons import LOOPBACK, Daemon, daemon, peerstack, until


def kill(running: Daemon) -> None:
    running.process.kill()
    running.process.wait()


def put(home: Path, key: str, value: str, *options: str) -> None:
    result = peerstack("put", key, value, "--home", home, *options)
    assert result.returncode == 0, result.stderr.decode()


def get(home: Path, key: str) -> bytes:
    result = peerstack("get", key, "--home", home)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def test_what_the_only_node_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with daemon(home) as first:
        for number in range(3):
            put(home, f"key {number}", f"value {number}")
        kill(first)
    with daemon(home):
        assert [get(home, f"key {number}") for number in range(3)] == [b"value 0", b"value 1", b"value 2"]
        put(home, "key 0", "newer")
        assert get(home, "key 0") == b"newer"


def test_what_was_acknowledged_is_there_after_all_nodes_are_killed_and_nobody_is_told_of_the_others(tmp_path: Path) -> None:
    homes = [tmp_path / f"home{number}" for number in range(3)]
    with ExitStack() as stack:
        nodes: list[Daemon] = []
        for home in homes:
            bootstrap = ["--bootstrap", nodes[0].address] if nodes else []
            nodes.append(stack.enter_context(daemon(home, "--listen", LOOPBACK, *bootstrap)))
        until(lambda: all(peerstack("put", "probe", "value", "--home", home).returncode == 0 for home in homes))
        for number, home in enumerate(homes):
            put(home, f"key {number}", f"value {number}")
        for node in nodes:
            kill(node)
    listens = [node.address.partition("/p2p/")[0] for node in nodes]  # where the others remember them
    with ExitStack() as stack:
        for home, listen in zip(homes, listens, strict=True):
            stack.enter_context(daemon(home, "--listen", listen))
        for home in homes:
            for number in range(3):
                until(lambda: peerstack("get", f"key {number}", "--home", home).returncode == 0)  # noqa: B023  (called at once)
                assert get(home, f"key {number}") == f"value {number}".encode()
        put(homes[2], "key 0", "newer")
        assert get(homes[0], "key 0") == b"newer"
