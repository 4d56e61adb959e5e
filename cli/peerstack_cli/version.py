"""The version of the distribution."""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """What is installed, or ``unknown`` in a bare checkout."""
    import importlib.metadata

    try:
        return importlib.metadata.version("peerstack")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
