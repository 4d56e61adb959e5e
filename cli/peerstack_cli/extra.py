"""The daemon needs the extra ``peerstack[daemon]``."""

from __future__ import annotations

from importlib.util import find_spec

from peerstack_cli.failures import CommandError

__all__ = ["require_extra"]


def require_extra() -> None:
    """Make sure that the daemon can run here.

    Raises:
        CommandError: The extra is not installed (``missing_extra``).
    """
    if find_spec("aiohttp") is None:
        raise CommandError("missing_extra", "the daemon needs aiohttp, which is not installed", "pip install 'peerstack[daemon]'")
