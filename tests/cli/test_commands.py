"""Commands against two real daemons, each document as ``docs/reference/json.md`` has it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peerstack_cli.client import Client
from peerstack_cli.home import Home
from peerstack_cli.main import main

from peerstack.identity import PrivateKey
from tests.cli.daemons import Daemon, daemon, peerstack, until
from tests.cli.documents import check

Command = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    folder = tmp_path_factory.mktemp("network")
    with daemon(folder / "a") as first, daemon(folder / "b", "--bootstrap", first.address) as second:
        for each in (first, second):
            until(lambda each=each: bool(Client(Home(each.home)).get("/v1/peers")["peers"]))  # type: ignore[misc]
        yield first, second


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command with ``--json``; gives the exit code and the document, of stdout or of stderr."""

    def command(*arguments: object) -> tuple[int, dict[str, Any]]:
        code = main(["--json", *map(str, arguments)])
        out, err = capsys.readouterr()
        if code:
            check("error", json.loads(err))
            assert out == ""
            return code, json.loads(err)["error"]
        assert err == ""
        return code, json.loads(out)

    return command


def test_a_value_put_through_one_is_read_through_the_other(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = network
    code, put = run("put", "greeting", "grüße", "--ttl", "1h", "--home", a.home)
    assert code == 0
    check("put", put)
    assert put["promised"]
    assert set(put["acknowledged"]) == {a.ready["peer_id"], b.ready["peer_id"]}
    code, get = run("get", "greeting", "--home", b.home)
    assert code == 0
    check("get", get)
    assert (get["value"], get["writer"], get["confirmed"]) == ("grüße", a.ready["peer_id"], True)
    assert get["expires_at"] == put["expires_at"]


def test_a_deleted_value_is_not_found(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = network
    assert run("put", "short", "lived", "--home", a.home)[0] == 0
    code, deleted = run("delete", "short", "--home", b.home)
    assert code == 0
    check("put", deleted)
    assert deleted["expires_at"] is None
    code, error = run("get", "short", "--home", a.home)
    assert (code, error["code"]) == (4, "not_found")


def test_values_are_bytes(network: tuple[Daemon, Daemon], run: Command, tmp_path: Path) -> None:
    a, b = network
    value = bytes(range(256)) * 4
    (tmp_path / "value").write_bytes(value)
    assert run("put", "binary", f"@{tmp_path / 'value'}", "--home", a.home)[0] == 0
    _, document = run("get", "binary", "--home", b.home)
    check("get", document)
    assert base64.b64decode(document["value_base64"]) == value
    assert peerstack("get", "binary", "--home", b.home).stdout == value


def test_a_value_goes_through_pipes_unchanged(network: tuple[Daemon, Daemon]) -> None:
    a, b = network
    value = b"\x00\xff no line break at the end"
    assert peerstack("put", "piped", "-", "--home", a.home, stdin=value).returncode == 0
    result = peerstack("get", "piped", "--home", b.home)
    assert (result.returncode, result.stdout, result.stderr) == (0, value, b"")


def test_dashes_need_two_dashes(network: tuple[Daemon, Daemon], run: Command) -> None:
    assert run("put", "--home", network[0].home, "--", "-k", "-5")[0] == 0
    assert run("get", "--home", network[1].home, "--", "-k")[1]["value"] == "-5"


def test_subkeys_are_records_of_their_own(network: tuple[Daemon, Daemon], run: Command) -> None:
    home = network[0].home
    for subkey in ("one", "two"):
        assert run("put", "set", subkey, "--subkey", subkey, "--home", home)[0] == 0
    assert run("get", "set", "--subkey", "two", "--home", home)[1]["value"] == "two"
    assert run("get", "set", "--home", home)[0] == 4


def test_own_keys_are_written_by_their_owner_only(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = network
    key = f"{a.ready['peer_id']}/name"
    code, document = run("put", key, "a", "--namespace", "own", "--home", a.home)
    assert (code, document["key"]) == (0, key)
    check("put", document)
    assert run("get", key, "--namespace", "own", "--home", b.home)[1]["value"] == "a"
    code, error = run("put", key, "b", "--namespace", "own", "--home", b.home)
    assert (code, error["code"]) == (1, "invalid_record")


def test_hash_keys_are_hexadecimal(network: tuple[Daemon, Daemon], run: Command) -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    assert run("put", digest, "content", "--namespace", "hash", "--home", network[0].home)[0] == 0
    code, document = run("get", digest, "--namespace", "hash", "--home", network[1].home)
    assert (code, document["value"], document["key"]) == (0, "content", digest)
    assert run("get", "content", "--namespace", "hash", "--home", network[1].home)[0] == 2


def test_more_acknowledgements_than_there_are_nodes_is_an_undecided_write(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, error = run("put", "many", "x", "--ack", 5, "--timeout", 5, "--home", network[0].home)
    assert (code, error["code"]) == (1, "quorum_not_met")
    code, error = run("get", "many", "--quorum", 5, "--timeout", 5, "--home", network[0].home)
    assert (code, error["code"]) == (1, "unavailable")


def test_limits_are_exit_code_10(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, error = run("put", "k" * 129, "x", "--home", network[0].home)
    assert (code, error["code"]) == (10, "value_too_large")


def test_a_dht_that_is_not_enabled_is_said(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, error = run("get", "x", "--dht", "nope", "--home", network[0].home)
    assert (code, error["code"]) == (9, "bad_config")
    assert "'nope'" in error["message"]


def test_one_shot_commands_need_no_daemon_of_their_own(network: tuple[Daemon, Daemon], run: Command) -> None:
    code, put = run("put", "visitor", "was here", "--bootstrap", network[0].address)
    assert code == 0
    check("put", put)
    assert set(put["acknowledged"]) == {each.ready["peer_id"] for each in network}
    code, get = run("get", "visitor", "--bootstrap", network[1].address, "--dht", "kad")
    assert code == 0
    check("get", get)
    assert (get["value"], get["local"]) == ("was here", False)
    assert run("delete", "visitor", "--bootstrap", network[1].address)[0] == 0
    assert run("get", "visitor", "--bootstrap", network[0].address)[0] == 4


def test_a_one_shot_command_whose_peer_is_gone_is_unreachable(run: Command) -> None:
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{PrivateKey.generate().peer_id}"
    code, error = run("get", "x", "--bootstrap", nobody)
    assert (code, error["code"]) == (6, "unreachable")


def test_ping_measures_each_round_trip(network: tuple[Daemon, Daemon], run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = network
    code, document = run("ping", b.address, "--home", a.home, "-c", 3, "-i", "1ms")
    assert code == 0
    check("ping", document)
    assert document["sent"] == len(document["rtts_ms"]) == 3
    assert 0 < document["min_ms"] <= document["avg_ms"] <= document["max_ms"]
    assert main(["ping", b.ready["peer_id"], "--home", str(a.home), "-c", "2", "-i", "1ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("=")[0] for line in lines] == ["seq", "seq", "min/avg/max "]


def test_pongs_are_lines_as_documented(network: tuple[Daemon, Daemon]) -> None:
    pongs = list(Client(Home(network[0].home)).stream("/v1/ping", {"target": network[1].address, "count": 2}))
    for pong in pongs:
        check("pong", dict(pong))
    assert [pong["seq"] for pong in pongs] == [1, 2]


def test_ping_tells_apart_what_went_wrong(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = network
    stranger = PrivateKey.generate().peer_id
    elsewhere = b.address.replace(b.ready["peer_id"], str(stranger))
    assert run("ping", elsewhere, "--home", a.home)[0] == 7
    assert run("ping", f"/ip4/127.0.0.1/tcp/1/p2p/{PrivateKey.generate().peer_id}", "--home", a.home)[0] == 6
    assert run("ping", "nonsense", "--home", a.home)[0] == 2
    assert run("ping", b.address, "-c", 1000, "-i", "20ms", "--timeout", "100ms", "--home", a.home)[0] == 5


def test_peers_shows_who_is_connected(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, b = network
    code, document = run("peers", "--home", b.home)
    assert code == 0
    check("peers", document)
    peer = next(peer for peer in document["peers"] if peer["peer_id"] == a.ready["peer_id"])
    assert peer["agent"].startswith("peerstack")
    assert "/ipfs/ping/1.0.0" in peer["protocols"]
    assert peer["connections"]


def test_status_and_id_know_the_addresses(network: tuple[Daemon, Daemon], run: Command) -> None:
    a, _ = network
    code, status = run("status", "--home", a.home)
    assert code == 0
    check("status", status)
    assert (status["peer_id"], status["pid"], status["dhts"][0]) == (a.ready["peer_id"], a.process.pid, "kad")
    code, identity = run("id", "--home", a.home)
    check("id", identity)
    assert (code, identity["running"], identity["addrs"]) == (0, True, a.ready["addrs"])


def test_texts_for_people_name_the_peers(network: tuple[Daemon, Daemon], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = network
    for command in (["status"], ["peers"], ["id"]):
        assert main([*command, "--home", str(a.home)]) == 0
        assert (b if command == ["peers"] else a).ready["peer_id"] in capsys.readouterr().out


def test_connect_and_disconnect(network: tuple[Daemon, Daemon], tmp_path: Path, run: Command) -> None:
    a, _ = network
    with daemon(tmp_path / "c") as third:
        code, document = run("connect", a.address, "--home", third.home)
        assert code == 0
        check("connect", document)
        assert document["peer_id"] == a.ready["peer_id"]
        assert run("peers", "--home", third.home)[1]["peers"][0]["peer_id"] == a.ready["peer_id"]
        code, document = run("disconnect", a.ready["peer_id"], "--home", third.home)
        assert code == 0
        check("disconnect", document)
        stranger = PrivateKey.generate().peer_id
        assert run("disconnect", stranger, "--home", third.home)[0] == 4
        assert run("connect", stranger, "--home", third.home)[0] == 6
