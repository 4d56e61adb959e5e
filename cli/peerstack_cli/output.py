"""stdout is data, stderr is talk; with ``--json`` stdout is one document and an error is a document on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from peerstack_cli.exit_codes import ExitCode, exit_code_of
from peerstack_cli.failures import failure_of

__all__ = ["Output"]


class Output:
    """Where a command's results and its talk go."""

    def __init__(self, *, json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.json = json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._progressing = False

    def document(self, document: Mapping[str, Any], text: str) -> None:
        """Give a result: the document, or its text for people."""
        self.line(json.dumps(document) if self.json else text)

    def line(self, text: str) -> None:
        """Write a line of data, at once."""
        self._clear()
        print(text, file=self._stdout, flush=True)

    def raw(self, data: bytes) -> None:
        """Write data byte for byte; on a terminal a line break follows where it has none."""
        if self._stdout.isatty() and not data.endswith(b"\n"):
            data += b"\n"
        self._stdout.flush()
        self._stdout.buffer.write(data)
        self._stdout.flush()

    def say(self, text: str) -> None:
        """Talk."""
        self._clear()
        print(text, file=self._stderr, flush=True)

    def progress(self, text: str) -> None:
        """Say on a terminal what is going on, where the next line of data will stand; elsewhere say nothing."""
        if self._stdout.isatty() and not self.json:
            self._clear()
            self._stdout.write(f"{text}\r")
            self._stdout.flush()
            self._progressing = True

    def fail(self, error: BaseException) -> ExitCode:
        """Say what went wrong; returns what to exit with."""
        failure = failure_of(error)
        if self.json:
            self.say(json.dumps(failure.document()))
        else:
            self.say(f"error: {failure.message}" + (f"\nhint: {failure.hint}" if failure.hint else ""))
        return exit_code_of(failure.code)

    def _clear(self) -> None:
        """Wipe what `progress` left on the terminal's line."""
        if self._progressing:
            self._progressing = False
            self._stdout.write("\x1b[K")
            self._stdout.flush()
