"""The client of the HTTP API: the standard library's, over the home folder's unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from peerstack_cli.failures import CommandError
from peerstack_cli.home import Home

__all__ = ["Client"]

_CONNECT_TIMEOUT_S: Final = 5.0
_ANSWER_TIMEOUT_S: Final = 120.0  # longer than any deadline of the daemon's own
_MAX_LINE: Final = 1 << 20

Document = Mapping[str, Any]


class Client:
    """Calls one daemon. Every method raises `CommandError`: ``not_running``, ``timeout``, or what the daemon answered."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def running(self) -> bool:
        """Whether a daemon answers in this home."""
        try:
            self._connect(_CONNECT_TIMEOUT_S).close()
        except CommandError:
            return False
        return True

    def get(self, path: str) -> Document:
        """Ask."""
        return self._call("GET", path, None, _ANSWER_TIMEOUT_S)

    def post(self, path: str, request: Mapping[str, Any], *, timeout_s: float | None = None) -> Document:
        """Have something done; `timeout_s` is the request's own deadline, where it has one."""
        return self._call("POST", path, request, _ANSWER_TIMEOUT_S + (timeout_s or 0.0))

    def stream(self, path: str, request: Mapping[str, Any], *, silence_s: float = 0.0) -> Generator[Document, None, None]:
        """Have something done that answers line by line, with pauses of up to `silence_s` of its own."""
        with closing(self._connect(_ANSWER_TIMEOUT_S + silence_s)) as connection:
            response = self._send(connection, "POST", path, request)
            if response.status != http.client.OK:
                yield _parse(self._read(response))
            while line := self._read_line(response):
                yield _parse(line)

    def _call(self, method: str, path: str, request: Mapping[str, Any] | None, timeout_s: float) -> Document:
        with closing(self._connect(timeout_s)) as connection:
            return _parse(self._read(self._send(connection, method, path, request)))

    def _connect(self, timeout_s: float) -> _UnixConnection:
        path = self._home.find_socket()
        connection = _UnixConnection(path, timeout_s)
        try:
            connection.connect()
        except PermissionError as error:
            raise CommandError("bad_config", f"{path} is not ours to use: {error.strerror}", "run as the daemon's user") from error
        except OSError as error:
            raise CommandError(
                "not_running", f"no daemon is running in {self._home.folder}", f"start one: peerstack daemon --home {self._home.folder}"
            ) from error
        return connection

    def _send(self, connection: _UnixConnection, method: str, path: str, request: Mapping[str, Any] | None) -> http.client.HTTPResponse:
        try:
            body = None if request is None else json.dumps({key: value for key, value in request.items() if value is not None})
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"} if body else {})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error) from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error) from error

    def _read_line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.readline(_MAX_LINE)
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error) from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._answer_timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(_CONNECT_TIMEOUT_S)
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise
        self.sock.settimeout(self._answer_timeout_s)


def _broken(error: Exception) -> CommandError:
    if isinstance(error, TimeoutError):
        return CommandError("timeout", "the daemon did not answer in time")
    return CommandError("not_running", f"the daemon ended while it was asked: {error!r}")


def _parse(data: bytes) -> Document:
    """An answer, or the error that it tells."""
    try:
        document = json.loads(data)
        error = document.get("error")
        failure = None if error is None else CommandError(error["code"], error["message"], error["hint"])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise CommandError("failure", f"the daemon's answer is not understood: {data[:100]!r}") from error
    if failure is not None:
        raise failure
    answer: Document = document
    return answer
