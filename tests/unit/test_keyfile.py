from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peerstack import keyfile
from peerstack.errors import ConfigError, KeyFileError
from peerstack.identity import PrivateKey

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.key"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of our own while we are nobody in particular: root may read and write everything."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_a_saved_key_is_loaded_as_the_same_peer(path: Path) -> None:
    key = PrivateKey.generate()
    keyfile.save(path, key)
    assert keyfile.load(path).to_protobuf() == key.to_protobuf() == path.read_bytes()
    assert keyfile.load(str(path)).peer_id == key.peer_id


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_saved_key_is_for_its_owner_alone_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        keyfile.save(path, PrivateKey.generate())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_saving_never_overwrites(path: Path) -> None:
    keyfile.save(path, PrivateKey.generate())
    content = path.read_bytes()
    with pytest.raises(KeyFileError, match="not overwritten"):
        keyfile.save(path, PrivateKey.generate())
    assert path.read_bytes() == content


def test_saving_leaves_nothing_else_behind(path: Path) -> None:
    keyfile.save(path, PrivateKey.generate())
    with pytest.raises(KeyFileError):
        keyfile.save(path, PrivateKey.generate())
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_open_to_others_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    keyfile.save(path, PrivateKey.generate())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        keyfile.load(path)
    path.chmod(0o600)
    keyfile.load(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_only_its_owner_can_use_is_accepted(path: Path, mode: int) -> None:
    keyfile.save(path, PrivateKey.generate())
    path.chmod(mode)
    keyfile.load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    keyfile.save(path, PrivateKey.generate())
    os.chown(path, NOBODY, -1)
    with pytest.raises(KeyFileError, match="belongs to user 65534"):
        keyfile.load(path)


def test_an_unreadable_file_is_refused(unprivileged: Path) -> None:
    path = unprivileged / "identity.key"
    keyfile.save(path, PrivateKey.generate())
    path.chmod(0)
    with pytest.raises(KeyFileError, match="Permission denied"):
        keyfile.load(path)
    with pytest.raises(KeyFileError, match="Permission denied"):
        keyfile.load_or_create(path)


def test_a_folder_that_cannot_be_written_is_refused(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    for write in (keyfile.load_or_create, lambda path: keyfile.save(path, PrivateKey.generate())):
        with pytest.raises(KeyFileError, match="cannot be written: Permission denied"):
            write(unprivileged / "identity.key")


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(KeyFileError, match=str(path)):
        keyfile.load(path)


def test_a_missing_folder_is_refused(path: Path) -> None:
    with pytest.raises(KeyFileError):
        keyfile.load_or_create(path / "deeper")
    with pytest.raises(KeyFileError):
        keyfile.save(path / "deeper", PrivateKey.generate())


@pytest.mark.parametrize("keep", [0, 1, 4, 35, 67])
def test_a_truncated_file_is_refused(path: Path, keep: int) -> None:
    keyfile.save(path, PrivateKey.generate())
    os.truncate(path, keep)
    with pytest.raises(KeyFileError, match="damaged"):
        keyfile.load(path)
    with pytest.raises(KeyFileError, match="damaged"):
        keyfile.load_or_create(path)
    assert path.stat().st_size == keep


@pytest.mark.parametrize("content", [b"hello\n", b"-----BEGIN PRIVATE KEY-----\n", bytes(68), b"\xff" * 20_000])
def test_a_file_of_other_bytes_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no libp2p private key"):
        keyfile.load(path)


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir(mode=0o700)
    with pytest.raises(KeyFileError, match="no regular file"):
        keyfile.load(path)
    with pytest.raises(KeyFileError, match="not overwritten"):
        keyfile.save(path, PrivateKey.generate())


def test_a_named_pipe_is_refused_and_does_not_hang(path: Path) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="no regular file"):
        keyfile.load(path)


def test_a_link_is_followed_and_the_rules_hold_for_its_target(path: Path) -> None:
    target = path.with_name("target")
    keyfile.save(target, PrivateKey.generate())
    path.symlink_to(target)
    assert keyfile.load(path).peer_id == keyfile.load(target).peer_id
    target.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keyfile.load(path)


def test_a_dangling_link_is_neither_followed_nor_replaced(path: Path) -> None:
    target = path.with_name("target")
    path.symlink_to(target)
    with pytest.raises(KeyFileError):
        keyfile.save(path, PrivateKey.generate())
    with pytest.raises(KeyFileError):
        keyfile.load_or_create(path)
    assert path.is_symlink()
    assert not target.exists()


def test_load_or_create_makes_a_key_once(path: Path) -> None:
    first = keyfile.load_or_create(path, lambda size: b"\x07" * size)
    assert first.peer_id == PrivateKey.from_seed(b"\x07" * 32).peer_id
    assert keyfile.load_or_create(path).peer_id == first.peer_id


def test_creating_at_the_same_time_gives_everybody_the_same_key(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(keyfile.load_or_create, [path] * 16))
    assert len({key.peer_id for key in keys}) == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_error_is_a_configuration_error_and_keeps_the_secret(path: Path) -> None:
    keyfile.save(path, PrivateKey.from_seed(b"s" * 32))
    os.truncate(path, 60)
    with pytest.raises(ConfigError) as caught:
        keyfile.load(path)
    assert "ssss" not in str(caught.value) + repr(caught.value.__cause__)
