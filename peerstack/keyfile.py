"""Key files: one libp2p PrivateKey message, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from peerstack.errors import InvalidKey, KeyFileError
from peerstack.identity import PrivateKey

__all__ = ["load", "load_or_create", "save"]

_MODE = 0o600
_MAX_SIZE = 8192  # bytes; the longest key we accept is an RSA key of about 4700
_FORBIDDEN = 0o077  # any right of group or others


def load(path: str | os.PathLike[str]) -> PrivateKey:
    """Read a private key. A symbolic link is followed; the rules hold for the file it leads to.

    Raises:
        KeyFileError: There is no such file, it cannot be read, it is no key, or somebody else could read or replace its content.
    """
    key = _load(Path(path))
    if key is None:
        raise KeyFileError(f"there is no key file {path}")
    return key


def save(path: str | os.PathLike[str], key: PrivateKey) -> None:
    """Write a private key to a new file of mode 0600. The file appears whole or not at all, and never replaces another.

    Raises:
        KeyFileError: Something of that name exists (a dangling symbolic link counts), or the folder is missing or not writable.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            _write(draft, key.to_protobuf())
            os.link(draft, target, follow_symlinks=False)  # unlike a rename, fails where the name is taken
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError as error:
        raise KeyFileError(f"{target} exists and is not overwritten: move it away or choose another name") from error
    except OSError as error:
        raise KeyFileError(f"key file {target} cannot be written: {error.strerror or error}") from error


def load_or_create(path: str | os.PathLike[str], entropy: Callable[[int], bytes] = secrets.token_bytes) -> PrivateKey:
    """Read a private key, or make an Ed25519 key and write it where there is no file yet.

    Of several processes that do so at the same time, one writes and all get its key.

    Args:
        path: The key file; its folder exists.
        entropy: ``entropy(n)`` gives n secret random bytes.

    Raises:
        KeyFileError: As `load` and `save` do.
    """
    target = Path(path)
    key = _load(target)
    if key is not None:
        return key
    key = PrivateKey.generate(entropy)
    try:
        save(target, key)
    except KeyFileError as error:
        if isinstance(error.__cause__, FileExistsError):
            return load(target)
        raise
    return key


def _load(path: Path) -> PrivateKey | None:
    try:
        # Without O_NONBLOCK a named pipe would hold us up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be read: {error.strerror or error}") from error
    try:
        _check_status(path, os.fstat(descriptor))
        data = os.read(descriptor, _MAX_SIZE + 1)
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be read: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
    try:
        return PrivateKey.from_protobuf(data)
    except InvalidKey as error:
        raise KeyFileError(f"{path} holds no libp2p private key, or a damaged one: {error}") from error


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"key file {path} is no regular file")
    if status.st_uid != os.geteuid():
        raise KeyFileError(f"key file {path} belongs to user {status.st_uid}, not to us (user {os.geteuid()}): chown {os.geteuid()} {path}")
    if status.st_mode & _FORBIDDEN:
        raise KeyFileError(f"key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 {path}")


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "wb") as file:
        os.fchmod(file.fileno(), _MODE)  # whatever the umask took away
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
