"""Exit codes, by the stable code of an error. They are listed in ``docs/reference/cli.md``."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(enum.IntEnum):
    """What the process ends with."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 4
    TIMEOUT = 5
    UNREACHABLE = 6
    IDENTITY_MISMATCH = 7
    NOT_SUPPORTED = 8
    BAD_CONFIG = 9
    LIMIT = 10
    INTERRUPTED = 130


_BY_CODE: Final = {
    "usage": ExitCode.USAGE,
    "invalid_address": ExitCode.USAGE,
    "invalid_peer_id": ExitCode.USAGE,
    "not_running": ExitCode.NOT_RUNNING,
    "not_found": ExitCode.NOT_FOUND,
    "timeout": ExitCode.TIMEOUT,
    "unreachable": ExitCode.UNREACHABLE,
    "handshake_failed": ExitCode.UNREACHABLE,
    "security": ExitCode.UNREACHABLE,
    "identity_mismatch": ExitCode.IDENTITY_MISMATCH,
    "negotiation_failed": ExitCode.NOT_SUPPORTED,
    "protocol_not_supported": ExitCode.NOT_SUPPORTED,
    "already_running": ExitCode.BAD_CONFIG,
    "bad_config": ExitCode.BAD_CONFIG,
    "invalid_key": ExitCode.BAD_CONFIG,
    "listen_failed": ExitCode.BAD_CONFIG,
    "limit": ExitCode.LIMIT,
    "message_too_large": ExitCode.LIMIT,
    "value_too_large": ExitCode.LIMIT,
    "interrupted": ExitCode.INTERRUPTED,
}


def exit_code_of(code: str) -> ExitCode:
    """The exit code for an error's code; what has none of its own is a plain failure."""
    return _BY_CODE.get(code, ExitCode.FAILURE)
