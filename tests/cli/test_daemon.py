"""The daemon as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from peerstack_cli.client import Client
from peerstack_cli.home import Home
from peerstack_cli.main import main

from peerstack import keyfile
from peerstack.identity import PrivateKey
from tests.cli.daemons import COMMAND, LOOPBACK, Daemon, daemon, environment, peerstack, until
from tests.cli.documents import DOCS, check, table_rows

NOBODY = 65534


def failure(result: subprocess.CompletedProcess[bytes]) -> tuple[str, str]:
    error = json.loads(result.stderr.splitlines()[-1])
    check("error", error)
    return error["error"]["code"], error["error"]["message"]


def test_the_first_line_is_ready_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    with daemon(tmp_path / "home", "--listen", LOOPBACK, "--log-format", "json") as running:
        check("ready", running.ready)
        assert running.ready["event"] == "ready"
        assert running.address.endswith(f"/p2p/{running.ready['peer_id']}")
        assert "/tcp/0/" not in running.address
        code, stdout, stderr = running.stop()
    assert (code, stdout) == (0, b"")
    assert [set(json.loads(line)) for line in stderr.splitlines()] == [{"time", "level", "logger", "message"}] * len(stderr.splitlines())


def test_the_home_is_made_and_is_ours_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with daemon(home) as running:
        modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in ("", "identity.key", "api.sock")}
        assert modes == {"": 0o700, "identity.key": 0o600, "api.sock": 0o600}
        assert running.ready["api"] == str(home / "api.sock")
        assert str(keyfile.load(home / "identity.key").peer_id) == running.ready["peer_id"]


def test_without_json_it_talks_in_lines(tmp_path: Path) -> None:
    command = [*COMMAND, "daemon", "--home", str(tmp_path / "home"), "--preset", "local"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()
        assert process.wait(30) == 0
    assert [line.split(" ")[0] for line in lines] == ["Peer", "Listening:", "API:", "Ready\n"]


def test_sigint_ends_it_in_order_too(tmp_path: Path) -> None:
    with daemon(tmp_path / "home") as running:
        code, _, stderr = running.stop(signal.SIGINT)
    assert code == 0
    assert b"Traceback" not in stderr
    assert not (tmp_path / "home" / "api.sock").exists()


def test_after_a_kill_commands_say_so_and_the_next_daemon_is_the_same_peer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with daemon(home) as first:
        first.process.kill()
        first.process.wait()
    assert (home / "api.sock").exists()
    assert main(["peers", "--home", str(home)]) == 3
    with daemon(home) as second:
        assert second.ready["peer_id"] == first.ready["peer_id"]
        assert main(["peers", "--home", str(home)]) == 0


def test_a_second_daemon_in_the_same_home_is_refused(tmp_path: Path) -> None:
    with daemon(tmp_path / "home"):
        result = peerstack("daemon", "--home", tmp_path / "home", "--preset", "local", "--json")
    assert result.returncode == 9
    assert failure(result)[0] == "already_running"


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        result = peerstack("daemon", "--home", tmp_path / "home", "--preset", "local", "--listen", address, "--json")
    assert result.returncode == 9
    assert result.stdout == b""
    code, message = failure(result)
    assert code == "listen_failed"
    assert address in message


def test_an_address_that_is_none_is_a_usage_error_as_a_flag_and_a_config_error_in_the_file(tmp_path: Path) -> None:
    result = peerstack("daemon", "--home", tmp_path / "home", "--listen", "nonsense", "--json")
    assert (result.returncode, failure(result)[0]) == (2, "invalid_address")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text('listen = ["nonsense"]')
    result = peerstack("daemon", "--home", tmp_path / "home", "--json")
    assert (result.returncode, failure(result)[0]) == (9, "bad_config")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    assert main(["init", "--home", str(tmp_path / "home")]) == 0
    (tmp_path / "home" / "identity.key").chmod(0o640)
    result = peerstack("daemon", "--home", tmp_path / "home", "--preset", "local", "--json")
    assert result.returncode == 9
    assert "chmod 600" in failure(result)[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="has to become somebody else for a moment")
def test_a_key_file_that_we_cannot_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        key = Path(folder) / "identity.key"
        keyfile.save(key, PrivateKey.generate())
        os.chown(key, NOBODY, -1)
        key.chmod(0)
        Path(folder).chmod(0o755)
        os.seteuid(NOBODY)
        try:
            code = main(["id", "--home", folder, "--json"])
        finally:
            os.seteuid(0)
    assert code == 9
    assert "Permission denied" in capsys.readouterr().err


def test_an_unknown_key_of_the_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("lisen = []")
    result = peerstack("daemon", "--home", tmp_path, "--json")
    assert result.returncode == 9
    assert "lisen" in failure(result)[1]


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("[protocols.nope]", "nope"),
        ("[protocols.kad]\nbukkets = 3", "bukkets"),
        ("[protocols.kad]\nparallelism = 'many'", "protocols.kad.parallelism"),
    ],
)
def test_a_plugin_or_setting_that_does_not_exist_is_named(tmp_path: Path, table: str, named: str) -> None:
    (tmp_path / "config.toml").write_text(table)
    result = peerstack("daemon", "--home", tmp_path, "--preset", "local", "--json")
    assert result.returncode == 9
    assert named in failure(result)[1]


def test_a_bootstrap_peer_that_cannot_be_reached_is_reported_and_does_not_stop_it(tmp_path: Path) -> None:
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{PrivateKey.generate().peer_id}"
    with daemon(tmp_path / "home", "--bootstrap", nobody) as running:
        assert "WARNING" in running.stderr_until("bootstrap")
        assert running.stop()[0] == 0


def test_a_bootstrap_peer_that_comes_later_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        listen = f"/ip4/127.0.0.1/tcp/{reserved.getsockname()[1]}"
    assert main(["init", "--home", str(tmp_path / "late")]) == 0
    peer_id = keyfile.load(tmp_path / "late" / "identity.key").peer_id
    with daemon(tmp_path / "home", "--bootstrap", f"{listen}/p2p/{peer_id}") as running:
        running.stderr_until("bootstrap")
        with daemon(tmp_path / "late", "--listen", listen):
            until(lambda: peerstack("peers", "--home", tmp_path / "home").stdout.startswith(str(peer_id).encode()))


def test_the_environment_configures_it(tmp_path: Path) -> None:
    env = environment(PEERSTACK_HOME=str(tmp_path), PEERSTACK_PRESET="moon")
    result = peerstack("daemon", "--json", env=env)
    assert result.returncode == 9
    assert "moon" in failure(result)[1]


def test_a_table_disables_the_default_dht_and_commands_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("[protocols.kad]\nenabled = false\n[protocols.chord]\nenabled = false\n")
    with daemon(tmp_path):
        assert main(["get", "x", "--home", str(tmp_path), "--json"]) == 9
        assert main(["get", "x", "--home", str(tmp_path), "--dht", "kad"]) == 9
    said = capsys.readouterr().err
    assert "no DHT is enabled" in said
    assert "'kad' is not enabled" in said


def ask(running: Daemon, request: str, body: str = "") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("localhost")
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.connect(running.ready["api"])
        method, _, path = request.partition(" ")
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_the_api_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with daemon(tmp_path / "home") as running:

        def refusal(request: str, body: str = "") -> tuple[int, str]:
            status, document = ask(running, request, body)
            check("error", document)
            return status, document["error"]["code"]

        assert refusal("GET /v1/nope") == (404, "usage")
        assert refusal("PUT /v1/put") == (405, "usage")
        assert refusal("POST /v1/get", "{") == (400, "usage")
        assert refusal("POST /v1/get", "[]") == (400, "usage")
        assert refusal("POST /v1/ping", '{"target": "nobody"}') == (400, "invalid_peer_id")
        assert refusal("POST /v1/put", json.dumps({"key": "k", "value": "x" * (300 << 10)})) == (413, "usage")
        assert refusal("POST /v1/get", '{"key": "nope"}') == (404, "not_found")


def test_the_api_has_the_paths_and_fields_that_are_documented(tmp_path: Path) -> None:
    rows = [row for row in table_rows(DOCS / "json.md") if row[0].startswith(("`GET", "`POST"))]
    assert len(rows) == 19
    with daemon(tmp_path / "home") as running:
        for request, fields, answer in rows:
            status, document = ask(running, request.strip("`"), '{"nope": 1}' if fields else "")
            if fields:
                assert status == 400
                assert document["error"]["message"].endswith(f"choose from {fields.replace('`', '')}")
            else:
                check(answer, document)


def test_a_client_that_does_not_read_its_answer_does_not_hold_the_daemon_up(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as first, daemon(tmp_path / "b") as second:
        pongs = Client(Home(first.home)).stream("/v1/ping", {"target": second.address, "count": 100_000, "interval_s": 0.001})
        assert next(pongs)["seq"] == 1
        assert first.stop()[0] == 0
        pongs.close()


def test_a_ping_that_is_cut_off_says_so(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as first, daemon(tmp_path / "b") as second:
        command = [*COMMAND, "ping", second.address, "--home", str(first.home), "-c", "100000", "-i", "1ms"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as ping:
            assert ping.stdout is not None
            assert ping.stdout.readline().startswith(b"seq=1 ")
            assert first.stop()[0] == 0
            _, stderr = ping.communicate(timeout=30)
    assert ping.returncode == 3
    assert b"the daemon ended" in stderr
