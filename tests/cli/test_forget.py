"""``peerstack dht forget`` where half of a network is killed: real daemons, SIGKILL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from peerstack_cli.client import Client
from peerstack_cli.home import Home

from tests.cli.daemons import Daemon, daemon, peerstack, until
from tests.cli.documents import check

DHTS = {"kad": "table", "chord": "ring"}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons that count each other in both DHTs."""
    with daemon(tmp_path / "a") as first, daemon(tmp_path / "b", "--bootstrap", first.address) as second:
        for own, other in ((first, second), (second, first)):
            for dht, view in DHTS.items():
                until(partial(counts, own, other, dht, view))
        yield first, second


def counts(own: Daemon, other: Daemon, dht: str, view: str) -> bool:
    document = Client(Home(own.home)).post(f"/v1/dht/{view}", {"dht": dht})
    return bool(document["authoritative"] and document["counted"] == [other.ready["peer_id"]])


def kill(running: Daemon) -> None:
    running.process.kill()
    running.process.wait()


def run(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run a command with ``--json``; gives the exit code and the document, of stdout or of stderr."""
    result = peerstack("--json", *arguments)
    document = json.loads(result.stderr if result.returncode else result.stdout)
    if result.returncode:
        check("error", document)
        return result.returncode, document["error"]
    return 0, document


@pytest.mark.parametrize("dht", DHTS)
def test_after_half_of_the_network_is_killed_writes_are_acknowledged_once_it_is_forgotten(pair: tuple[Daemon, Daemon], dht: str) -> None:
    left, lost = pair
    where = ("--dht", dht, "--home", left.home)
    assert run("put", "key", "old", *where)[0] == 0
    assert run("dht", "forget", *where) == (0, {"dht": dht, "forgotten": []})
    kill(lost)

    code, error = run("put", "key", "undecided", *where)
    assert (code, error["code"]) == (1, "quorum_not_met")
    assert "the write is undecided" in error["hint"]
    assert "`peerstack dht forget`" in error["hint"]
    code, put = run("put", "key", "unpromised", "--ack", "one", *where)
    assert (code, put["promised"], len(put["targets"])) == (0, False, 2)

    code, document = run("dht", "forget", *where)
    check("dht-forget", document)
    assert (code, document) == (0, {"dht": dht, "forgotten": [lost.ready["peer_id"]]})

    result = peerstack("put", "key", "new", *where)
    assert (result.returncode, result.stderr) == (0, b"")
    assert f"acknowledged by 1 of 1 nodes ({dht})" in result.stdout.decode()
    assert peerstack("get", "key", *where).stdout == b"new"


def test_people_are_told_who_was_forgotten_in_which_dht(pair: tuple[Daemon, Daemon]) -> None:
    left, lost = pair

    def said(*options: str) -> str:
        result = peerstack("dht", "forget", *options, "--home", left.home)
        assert (result.returncode, result.stderr) == (0, b"")
        return result.stdout.decode()

    assert said() == "every server known answered: nobody was forgotten (kad)\n"
    assert said("--dht", "chord") == "every server known answered: nobody was forgotten (chord)\n"
    kill(lost)
    assert said() == f"forgot {lost.ready['peer_id']} (kad)\n"
    assert said("--dht", "chord") == f"forgot {lost.ready['peer_id']} (chord)\n"


def test_only_where_nodes_do_not_answer_it_is_said_that_they_can_be_forgotten(pair: tuple[Daemon, Daemon]) -> None:
    code, error = run("put", "key", "value", "--ack", 5, "--timeout", 5, "--home", pair[0].home)
    assert (code, error["code"]) == (1, "quorum_not_met")
    assert "forget" not in error["hint"]
    code, error = run("get", "key", "--quorum", 5, "--timeout", 5, "--home", pair[0].home)
    assert (code, error["code"]) == (1, "unavailable")
    assert "`peerstack dht forget`" in error["hint"]


def test_forgetting_is_asked_of_a_daemon_only(tmp_path: Path, pair: tuple[Daemon, Daemon]) -> None:
    assert run("dht", "forget", "--home", tmp_path / "nobody")[1]["code"] == "not_running"
    code, error = run("dht", "forget", "--bootstrap", pair[0].address)
    assert (code, error["code"]) == (2, "usage")
    code, error = run("dht", "forget", "--dht", "nope", "--home", pair[0].home)
    assert (code, error["code"]) == (9, "bad_config")
