"""Deadlines that end in our own error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from peerstack.errors import DeadlineExceeded

__all__ = ["deadline"]


@asynccontextmanager
async def deadline(seconds: float | None, what: str) -> AsyncIterator[None]:
    """Bound a block in time; None sets no bound beyond those of the operations inside.

    Args:
        seconds: From now.
        what: What the block does, for people.

    Raises:
        DeadlineExceeded: The block took longer.
    """
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise DeadlineExceeded(f"{what} took longer than {seconds:g} seconds") from error
