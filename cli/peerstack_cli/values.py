"""What people type: keys, values, durations, acknowledgements."""

from __future__ import annotations

import base64
import math
import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from peerstack_cli.failures import CommandError

__all__ = ["MAX_VALUE_BYTES", "as_document", "parse_ack", "parse_duration", "read_value", "text_argument"]

MAX_VALUE_BYTES: Final = 64 * 1024
_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h|d|)")


def parse_duration(text: str | None, option: str) -> float | None:
    """Seconds: a number, or one with the unit ms, s, m, h or d (``90``, ``1.5h``, ``7d``).

    Raises:
        CommandError: It is neither, or not above zero (``usage``).
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not (seconds > 0 and math.isfinite(seconds)):
        raise CommandError("usage", f"{option}: {text!r} is no duration", "write seconds, or a number with ms, s, m, h or d, such as 1h")
    return seconds


def parse_ack(text: str | None) -> str | int | None:
    """``majority``, ``one``, ``all``, or a number from 1.

    Raises:
        CommandError: It is neither (``usage``).
    """
    if text is None or text in ("majority", "one", "all"):
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise CommandError("usage", f"--ack: {text!r} is neither majority, one, all nor a number from 1")


def read_value(argument: str) -> bytes:
    """The bytes of a value: the argument itself, ``@file``, ``-`` for stdin, ``@@...`` for a text that starts with ``@``.

    Raises:
        CommandError: The file cannot be read (``failure``), or there is more than a value may hold (``value_too_large``).
    """
    if argument.startswith("@@"):
        return os.fsencode(argument[1:])
    try:
        if argument == "-":
            value = sys.stdin.buffer.read(MAX_VALUE_BYTES + 1)
        elif argument.startswith("@"):
            with Path(argument[1:]).open("rb") as file:
                value = file.read(MAX_VALUE_BYTES + 1)
        else:
            return os.fsencode(argument)
    except OSError as error:
        raise CommandError("failure", f"{argument[1:] or 'stdin'} cannot be read: {error.strerror or error}") from error
    if len(value) > MAX_VALUE_BYTES:
        raise CommandError("value_too_large", f"a value has at most {MAX_VALUE_BYTES} bytes, this one more")
    return value


def text_argument(name: str, argument: str) -> dict[str, str]:
    """An argument as a field of a request: its bytes as they were typed."""
    return as_document(name, os.fsencode(argument))


def as_document(name: str, data: bytes) -> dict[str, Any]:
    """Bytes as a field of a document: ``name`` as text, or ``name_base64`` where they are no UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode("ascii")}
