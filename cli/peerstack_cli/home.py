"""The home folder: who we are, how we are configured, what we keep, and where the daemon listens for commands."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerstack.errors import ConfigError
from peerstack_cli.failures import CommandError

__all__ = ["Home", "default_home"]

_MAX_SOCKET_PATH: Final = 103  # bytes; 107 on Linux, 103 on macOS
_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022


def default_home(environ: Mapping[str, str]) -> Path:
    """``PEERSTACK_HOME``, or ``peerstack`` in the user's data folder (XDG base directories)."""
    given = environ.get("PEERSTACK_HOME")
    if given:
        return Path(given)
    data = environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / ".local" / "share") / "peerstack"


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder, which need not exist."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "config.toml"

    @property
    def identity(self) -> Path:
        """The key file."""
        return self.folder / "identity.key"

    @property
    def _pointer(self) -> Path:
        """Names the socket where the folder's own path is too long for one."""
        return self.folder / "api.path"

    def create(self) -> None:
        """Make the folder, for us alone.

        Raises:
            ConfigError: It cannot be made, belongs to somebody else, or others may write to it.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
            if status.st_uid == os.geteuid() and not any(self.folder.iterdir()):
                self.folder.chmod(0o700)
                return
        except OSError as error:
            raise ConfigError(f"home folder {self.folder} cannot be used: {error.strerror or error}") from error
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(
                f"home folder {self.folder} is not ours alone (user {status.st_uid}, mode {mode:04o}): chmod 700 {self.folder}"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only daemon of this home. The lock ends with the process, however that ends.

        Raises:
            CommandError: A daemon runs already (``already_running``).
            ConfigError: The lock file cannot be opened.
        """
        try:
            descriptor = os.open(self.folder / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"home folder {self.folder} cannot be used: {error.strerror or error}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                raise _already_running(self.folder) from error
            yield
        finally:
            os.close(descriptor)

    def find_socket(self) -> Path:
        """Where the daemon's API is, if it runs."""
        try:
            return Path(self._pointer.read_text().strip())
        except OSError:
            return self.folder / "api.sock"

    @contextmanager
    def bound_socket(self, environ: Mapping[str, str]) -> Iterator[socket.socket]:
        """A listening socket for the API, mode 0600, gone at the end. Only who holds the lock may ask for it.

        Raises:
            CommandError: Somebody answers on it (``already_running``).
            ConfigError: It cannot be made.
        """
        path = self.folder.absolute() / "api.sock"
        try:
            self._pointer.unlink(missing_ok=True)
            if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
                path = _runtime_folder(environ) / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
                self._pointer.write_text(f"{path}\n")
            if _answers(path):
                raise _already_running(self.folder)
            path.unlink(missing_ok=True)
            bound = _bind(path)
        except OSError as error:
            raise ConfigError(f"the API's socket {path} cannot be made: {error.strerror or error}") from error
        try:
            yield bound
        finally:
            bound.close()
            with suppress(OSError):
                path.unlink(missing_ok=True)
                self._pointer.unlink(missing_ok=True)


def _already_running(folder: Path) -> CommandError:
    return CommandError("already_running", f"a daemon is running in {folder} already", "stop it, or choose another --home")


def _runtime_folder(environ: Mapping[str, str]) -> Path:
    """A short folder of ours alone."""
    given = environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(given) / "peerstack" if given.startswith("/") else Path(tempfile.gettempdir()) / f"peerstack-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
        raise PermissionError(errno.EACCES, f"{folder} is not a folder of ours alone")
    return folder


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _bind(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound
