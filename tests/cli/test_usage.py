"""What can be wrong before anything runs, and commands that need no daemon."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from peerstack_cli.main import main

from peerstack import keyfile
from tests.cli.documents import check


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert err == ""
    made: dict[str, Any] = json.loads(out)
    return made


def error(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    out, err = capsys.readouterr()
    assert out == ""
    made = json.loads(err)
    check("error", made)
    told: dict[str, str] = made["error"]
    return told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "nope"),
        (["put", "key"], "VALUE"),
        (["put", "key", "value", "more"], "more"),
        (["get", "key", "--nope"], "--nope"),
        (["get", "key", "--quorum", "x"], "--quorum"),
        (["get", "key", "--quorum", "0"], "--quorum"),
        (["put", "key", "-5"], "-5"),
        (["put", "key", "value", "--ttl", "soon"], "--ttl"),
        (["put", "key", "value", "--ack", "most"], "--ack"),
        (["get", "key", "--timeout", "0"], "--timeout"),
        (["ping", "x", "-c", "0"], "-c"),
        (["get", "key", "--home", "/nonexistent", "--bootstrap", "/ip4/127.0.0.1/tcp/1"], "--bootstrap"),
        (["get", "key", "--bootstrap", "nonsense"], "nonsense"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_with_and_without_json(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert main([*arguments, "--json"]) == 2
    assert message in error(capsys)["message"]


def test_a_value_may_look_like_an_option_after_two_dashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["put", "--home", str(tmp_path), "--", "key", "--json"]) == 3
    assert capsys.readouterr().err.startswith("error: no daemon")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert "Usage: peerstack" in out + err


def test_init_makes_a_home_and_prints_the_peer_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "new" / "home"
    assert main(["init", "--home", str(home)]) == 0
    peer_id = capsys.readouterr().out.strip()
    assert str(keyfile.load(home / "identity.key").peer_id) == peer_id
    assert {path.name for path in home.iterdir()} == {"config.toml", "identity.key"}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "identity.key").stat().st_mode) == 0o600


def test_init_answers_with_its_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--home", str(tmp_path / "home"), "--json"]) == 0
    made = document(capsys)
    check("init", made)
    assert Path(made["identity"]).is_file()
    assert Path(made["config"]).is_file()


@pytest.mark.parametrize("present", ["identity.key", "config.toml"])
def test_init_overwrites_nothing(tmp_path: Path, present: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / present).write_text("mine")
    assert main(["init", "--home", str(tmp_path), "--json"]) == 9
    assert present in error(capsys)["message"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {present: "mine"}


def test_id_needs_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--home", str(tmp_path)]) == 0
    peer_id = capsys.readouterr().out.strip()
    assert main(["id", "--home", str(tmp_path), "--json"]) == 0
    made = document(capsys)
    check("id", made)
    assert made == {"peer_id": peer_id, "key_type": "ed25519", "running": False, "addrs": []}


def test_options_may_stand_before_the_command_and_those_after_it_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--home", str(tmp_path / "a"), "init"]) == 0
    assert document(capsys)["home"] == str(tmp_path / "a")
    assert main(["--json", "--home", str(tmp_path / "a"), "init", "--home", str(tmp_path / "b")]) == 0
    assert document(capsys)["home"] == str(tmp_path / "b")


def test_the_home_comes_from_the_environment_unless_a_flag_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PEERSTACK_HOME", str(tmp_path / "env"))
    assert main(["init", "--json"]) == 0
    assert document(capsys)["home"] == str(tmp_path / "env")
    assert main(["--home", str(tmp_path / "flag"), "init", "--json"]) == 0
    assert document(capsys)["home"] == str(tmp_path / "flag")


@pytest.mark.parametrize("line", ["status", "peers", "connect x", "disconnect x", "ping x", "put k v", "get k", "delete k"])
def test_without_a_daemon_commands_say_how_to_start_one(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line.split(), "--home", str(tmp_path), "--json"]) == 3
    assert f"peerstack daemon --home {tmp_path}" in error(capsys)["hint"]
