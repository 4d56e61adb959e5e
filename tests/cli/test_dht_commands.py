"""The commands under ``peerstack dht`` against two real daemons, each document as ``docs/reference/json.md`` has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peerstack_cli.client import Client
from peerstack_cli.dht_operations import DHT_OPERATIONS
from peerstack_cli.home import Home
from peerstack_cli.main import main

from peerstack import PeerId, PrivateKey
from tests.cli.daemons import Daemon, daemon, peerstack, until
from tests.cli.documents import DOCS, check

Command = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    folder = tmp_path_factory.mktemp("network")
    with daemon(folder / "a") as first, daemon(folder / "b", "--bootstrap", first.address) as second:
        for each in (first, second):
            client = Client(Home(each.home))
            until(lambda client=client: client.post("/v1/dht/table", {})["authoritative"])  # type: ignore[misc]
            until(lambda client=client: client.post("/v1/dht/table", {})["peers"] == 1)  # type: ignore[misc]
            until(lambda client=client: client.post("/v1/dht/ring", {"dht": "chord"})["authoritative"])  # type: ignore[misc]
            until(lambda client=client: client.post("/v1/dht/ring", {"dht": "chord"})["predecessor"])  # type: ignore[misc]
        yield first, second


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command with ``--json``; gives the exit code and the document, of stdout or of stderr."""

    def command(*arguments: object) -> tuple[int, dict[str, Any]]:
        code = main(["--json", "dht", *map(str, arguments)])
        out, err = capsys.readouterr()
        if code:
            check("error", json.loads(err))
            assert out == ""
            return code, json.loads(err)["error"]
        assert err == ""
        document = json.loads(out)
        check(f"dht-{arguments[0]}", document)
        return code, document

    return command


def ids(network: tuple[Daemon, Daemon]) -> list[str]:
    return [each.ready["peer_id"] for each in network]


def position(peer: str) -> int:
    return int.from_bytes(hashlib.sha256(PeerId.parse(peer).to_bytes()).digest(), "big")


def test_a_lookup_names_the_responsible_closest_first(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, document = run("lookup", "key", "--home", network[0].home)
    key = int(document["position"], 16)
    assert (code, document["complete"], document["hops"]) == (0, True, [])
    assert document["peers"] == sorted(ids(network), key=lambda peer: position(peer) ^ key)


def test_a_trace_has_every_request(network: tuple[Daemon, Daemon], run: Command) -> None:
    b = ids(network)[1]
    _, document = run("lookup", "key", "--trace", "--home", network[0].home)
    (hop,) = document["hops"]
    assert (hop["peer_id"], hop["outcome"], hop["depth"], hop["path"]) == (b, "answered", 1, 0)
    assert int(hop["distance"], 16) == position(b) ^ int(document["position"], 16)


def test_a_lookup_needs_no_daemon(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, document = run("lookup", "key", "--trace", "--bootstrap", network[0].address)
    assert code == 0
    assert set(document["peers"]) == set(ids(network)) == {hop["peer_id"] for hop in document["hops"]}


def test_closest_and_table_show_what_is_known_without_asking(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = ids(network)
    assert run("closest", "key", "--home", network[0].home)[1]["peers"] == [b]
    code, document = run("table", "--home", network[0].home)
    assert (code, document["peer"], document["serving"], document["counted"]) == (0, a, True, [b])
    ((bucket,),) = [[each for each in document["buckets"] if each["peers"]]]
    assert [peer["peer"] for peer in bucket["peers"]] == [b]
    shared = 256 - (position(a) ^ position(b)).bit_length()
    assert (bucket["prefix"], int(bucket["peers"][0]["position"], 16)) == (shared, position(b))


def test_the_ring_is_shown_of_the_dht_that_has_one(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = ids(network)
    for given in ((), ("--dht", "chord")):
        code, document = run("ring", *given, "--home", network[0].home)
        assert (code, document["dht"], document["peer"], document["serving"], document["counted"]) == (0, "chord", a, True, [b])
        assert (document["mode"], document["predecessor"], document["successors"]) == ("forming", b, [b])
        assert [(peer["peer"], int(peer["position"], 16)) for peer in document["known"]] == [(b, position(b))]
    code, error = run("ring", "--dht", "kad", "--home", network[0].home)
    assert (code, error["code"]) == (2, "usage")
    assert "dht table" in error["message"]
    code, error = run("table", "--dht", "chord", "--home", network[0].home)
    assert (code, error["code"]) == (2, "usage")
    assert "dht ring" in error["message"]


def test_every_command_takes_either_dht(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = ids(network)
    chord = ("--dht", "chord", "--home", network[0].home)
    code, document = run("lookup", "key", *chord, "--trace")
    key = int(document["position"], 16)
    assert (code, document["dht"], [hop["peer_id"] for hop in document["hops"]]) == (0, "chord", [b])
    assert document["peers"] == sorted((a, b), key=lambda peer: (position(peer) - key) % (1 << 256))
    assert run("closest", "key", *chord)[1]["peers"] == [b]
    assert run("ping", b, *chord)[1]["peer_id"] == b
    assert run("store", b, "ring", "value", *chord)[1]["stored"]
    assert run("find-value", b, "ring", *chord)[1]["records"][0]["value"] == "value"
    assert run("find-value", b, "ring", "--dht", "kad", "--home", network[0].home)[1]["records"] == []
    assert run("find-node", b, "key", *chord)[1]["peers"] == []
    assert run("provide", "content", *chord)[0] == 9


def test_one_peer_is_asked_by_its_id_and_by_its_address(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = ids(network)
    for peer in (b, network[1].address):
        code, document = run("ping", peer, "--home", network[0].home)
        assert (code, document["peer_id"]) == (0, b)
    assert run("ping", network[1].address, "--bootstrap", network[0].address)[1]["peer_id"] == b
    assert run("find-node", network[1].address, "key", "--bootstrap", network[0].address)[1]["peers"] == [a]
    assert run("find-node", b, "key", "--home", network[0].home)[1]["peers"] == []  # we are not told of ourselves


def test_what_one_peer_holds_and_stores(network: tuple[Daemon, Daemon], run: Command) -> None:
    _, b = ids(network)
    home = network[0].home
    assert run("find-value", b, "single", "--home", home)[1]["records"] == []
    code, document = run("store", b, "single", "grüße", "--ttl", "1h", "--subkey", "s", "--home", home)
    assert (code, document["stored"], document["reason"]) == (0, True, None)
    (record,) = run("find-value", b, "single", "--subkey", "s", "--home", home)[1]["records"]
    assert (record["value"], record["subkey"], record["writer"], record["has_value"]) == ("grüße", "s", ids(network)[0], True)
    result = peerstack("dht", "find-value", b, "single", "--subkey", "s", "--home", home)
    assert (result.returncode, result.stdout, result.stderr) == (0, "grüße".encode(), b"")


def test_a_refusal_is_an_error(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, error = run("store", ids(network)[1], "00" * 32, "x", "--namespace", "hash", "--home", network[0].home)
    assert (code, error["code"]) == (1, "failure")
    assert "refused it (invalid)" in error["message"]


def test_what_is_provided_is_found(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = ids(network)
    code, document = run("provide", "content", "--home", network[0].home)
    assert (code, document["key"]) == (0, "content")
    assert b in document["told"]
    for where in (("--home", network[1].home), ("--bootstrap", network[1].address)):
        code, document = run("providers", "content", *where)
        (provider,) = document["providers"]
        assert (code, provider["peer_id"]) == (0, a)
        assert network[0].address in provider["addrs"]
    assert run("providers", "nothing", "--home", network[1].home)[1]["providers"] == []


def test_peers_that_cannot_be_asked_are_said(network: tuple[Daemon, Daemon], run: Command) -> None:
    stranger = PrivateKey.from_seed(bytes(32)).peer_id
    assert run("ping", stranger, "--home", network[0].home)[0] == 6
    assert run("ping", "/ip4/127.0.0.1/tcp/1", "--home", network[0].home)[0] == 2
    assert run("ping", "nonsense", "--home", network[0].home)[0] == 2
    assert run("ping", ids(network)[1], "--dht", "nope", "--home", network[0].home)[0] == 9


@pytest.mark.parametrize("turn", range(5))
def test_one_shot_commands_work_the_first_time(network: tuple[Daemon, Daemon], turn: int) -> None:
    put = peerstack("put", f"first {turn}", "value", "--bootstrap", network[turn % 2].address)
    assert (put.returncode, put.stderr) == (0, b"")
    get = peerstack("get", f"first {turn}", "--bootstrap", network[(turn + 1) % 2].address)
    assert (get.returncode, get.stdout, get.stderr) == (0, b"value", b"")


def test_texts_for_people(network: tuple[Daemon, Daemon], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = ids(network)
    home = ["--home", str(network[0].home)]

    def said(*arguments: str) -> str:
        assert main(["dht", *arguments, *home]) == 0
        return capsys.readouterr().out

    trace = said("lookup", "key", "--trace").splitlines()
    assert trace[0].split() == ["peer", "distance", "sent", "took", "outcome", "new"]
    assert trace[1].split()[:2] == ["1", b]
    assert "answered" in trace[1]
    assert sorted(trace[3:]) == sorted([a, b])
    table = said("table").splitlines()
    assert table[0] == "1 servers known, 1 counted near this node; as a server, its word counts"
    assert table[1].split() == ["bits", "peer", "rtt", "heard"]
    assert table[2].split()[1] == b
    ring = [line.split() for line in said("ring").splitlines()]
    assert ring[0] == table[0].split()
    assert ring[1][:4] == ["the", "ring", "is", "forming:"]
    assert [ring[3][:2], ring[4], ring[5][:2]] == [["predecessor", b], ["this", "node", a, "-"], ["successor", b]]
    assert said("closest", "key") == f"{b}\n"
    assert said("ping", b).startswith(f"{b} time=")


def test_every_operation_is_in_the_reference() -> None:
    page = (DOCS / "json.md").read_text()
    for path in DHT_OPERATIONS:
        assert f"`POST /v1/{path}`" in page
    commands = (DOCS / "cli.md").read_text()
    for path in DHT_OPERATIONS:
        assert f"`{path.replace('/', ' ')} " in commands or f"`{path.replace('/', ' ')}`" in commands
