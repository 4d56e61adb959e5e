"""The home folder: modes, the lock, the API's socket."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from peerstack_cli.failures import CommandError
from peerstack_cli.home import Home, default_home

from peerstack.errors import ConfigError

HOLD_THE_LOCK = """
import sys, pathlib
from peerstack_cli.home import Home

with Home(pathlib.Path(sys.argv[1])).locked():
    print("held", flush=True)
    input()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_the_default_home_follows_the_environment() -> None:
    assert default_home({"HOME": "/u"}) == Path("/u/.local/share/peerstack")
    assert default_home({"HOME": "/u", "XDG_DATA_HOME": "/data"}) == Path("/data/peerstack")
    assert default_home({"HOME": "/u", "XDG_DATA_HOME": "relative"}) == Path("/u/.local/share/peerstack")
    assert default_home({"HOME": "/u", "XDG_DATA_HOME": "/data", "PEERSTACK_HOME": "/mine"}) == Path("/mine")


def test_a_new_home_is_for_us_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Home(tmp_path / "deep" / "home").create()
    finally:
        os.umask(before)
    assert mode(tmp_path / "deep" / "home") == 0o700


def test_an_empty_folder_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    Home(tmp_path).create()
    assert mode(tmp_path) == 0o700


def test_a_folder_with_content_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigError, match="0770"):
        Home(tmp_path).create()
    tmp_path.chmod(0o755)
    Home(tmp_path).create()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        Home(tmp_path / "file").create()


def test_only_one_may_hold_the_lock_and_it_ends_with_its_holder(home: Home) -> None:
    with home.locked():
        with pytest.raises(CommandError, match="running") as caught, home.locked():
            pass
        assert caught.value.code == "already_running"
    with home.locked():
        pass


def test_the_lock_of_a_killed_process_is_free(home: Home) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD_THE_LOCK, str(home.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with pytest.raises(CommandError), home.locked():
            pass
        holder.kill()
    with home.locked():
        pass


def test_the_socket_is_ours_alone_and_goes_at_the_end(home: Home) -> None:
    with home.bound_socket({}):
        path = home.find_socket()
        assert path == home.folder / "api.sock"
        assert mode(path) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_stale_socket_is_replaced(home: Home) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.folder / "api.sock"))
    with home.bound_socket({}):
        assert mode(home.find_socket()) == 0o600


def test_a_socket_that_answers_is_left_alone(home: Home) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(home.folder / "api.sock"))
        live.listen()
        with pytest.raises(CommandError) as caught, home.bound_socket({}):
            pass
        assert caught.value.code == "already_running"
        assert (home.folder / "api.sock").exists()


def test_a_path_too_long_for_a_socket_falls_back_to_the_runtime_folder(tmp_path: Path) -> None:
    home = Home(tmp_path / ("x" * 120))
    home.create()
    with tempfile.TemporaryDirectory(prefix="ps-") as runtime, home.bound_socket({"XDG_RUNTIME_DIR": runtime}):
        path = home.find_socket()
        assert path.parent == Path(runtime) / "peerstack"
        assert mode(path.parent) == 0o700
        assert mode(path) == 0o600
    assert not path.exists()
    assert not (home.folder / "api.path").exists()


def test_a_runtime_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / ("x" * 120))
    home.create()
    runtime = tmp_path / "r"
    (runtime / "peerstack").mkdir(parents=True)
    (runtime / "peerstack").chmod(0o755)
    with pytest.raises(ConfigError, match="ours alone"), home.bound_socket({"XDG_RUNTIME_DIR": str(runtime)}):
        pass


def test_a_pointer_left_behind_does_not_lead_clients_astray(home: Home) -> None:
    (home.folder / "api.path").write_text("/nowhere/x.sock\n")
    with home.bound_socket({}):
        assert home.find_socket() == home.folder / "api.sock"
