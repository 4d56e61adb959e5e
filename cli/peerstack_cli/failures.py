"""Errors as people and programs see them: a stable code, a message, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from peerstack.errors import PeerstackError, QuorumNotMet

__all__ = ["CommandError", "Failure", "failure_of"]


class CommandError(Exception):
    """A command cannot go on; also an error that the daemon answered with.

    Attributes:
        code: As in `peerstack.errors`, or one of ours: ``usage``, ``not_running``, ``already_running``, ``missing_extra``, ``interrupted``.
        hint: What to do about it, or "".
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said of an error."""

    code: str
    message: str
    hint: str = ""

    def document(self) -> dict[str, object]:
        """The JSON document, the same on stderr and from the HTTP API."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


_GONE: Final = "; if nodes are gone for good: `peerstack dht forget` on each that is left"
_HINTS: Final = {
    "identity_mismatch": "ask the peer's owner for its address, and use it with the /p2p/ part it has now",
    "listen_failed": "choose another address, or port 0 for any free port",
    "protocol_not_supported": "ask a peer that serves it, or enable the protocol there",
    "quorum_not_met": "the write is undecided: it may be read later, or not; put it again",
    "timeout": "try again, or give it longer with --timeout",
    "unavailable": "too few responsible nodes answered: look at `peerstack peers`, and try again" + _GONE,
    "unreachable": "check the address, and that the peer is running",
    "value_too_large": "a key has at most 128 bytes, a value at most 65536",
}
_SILENT: Final = ("timeout", "unreachable")  # of `peerstack.dht.RefusalReason`, which takes too long to import for every command


def failure_of(error: BaseException) -> Failure:
    """Say what an error means. One that nobody foresaw has the code ``internal``."""
    if isinstance(error, CommandError):
        return Failure(error.code, str(error), error.hint or _HINTS.get(error.code, ""))
    if isinstance(error, PeerstackError):
        hint = _HINTS.get(error.code, "")
        return Failure(error.code, str(error) or error.code, hint + _GONE if _lacks_answers(error) else hint)
    if isinstance(error, TimeoutError):
        return Failure("timeout", str(error) or "it took too long", _HINTS["timeout"])
    return Failure("internal", f"{type(error).__name__}: {error}", "this is a fault of peerstack's: please report it")


def _lacks_answers(error: PeerstackError) -> bool:
    """Whether a write is undecided because responsible nodes are not there."""
    if not isinstance(error, QuorumNotMet) or error.result is None:
        return False
    return any(refusal.reason in _SILENT for refusal in error.result.refused.values())
