"""Errors that are kept, to be raised to everybody who asks."""

from __future__ import annotations

from typing import TypeVar

from peerstack.errors import PeerstackError

__all__ = ["fresh"]

ErrorT = TypeVar("ErrorT", bound=PeerstackError)


def fresh(error: ErrorT) -> ErrorT:
    """Copy a kept error, to be raised in its place.

    The kept object itself is never raised: its traceback would grow with each raise, and keep the frames of whoever caught it alive, with
    the buffers in them.
    """
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy
