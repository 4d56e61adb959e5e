"""Garbage collection for simulations: little of what comes and goes by the million hangs together in cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["few_collections"]

_GARBAGE: Final = 100_000  # objects made and not yet let go before they are looked through


@contextmanager
def few_collections() -> Iterator[None]:
    """Look for cycles seldom, and never through what is there already."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GARBAGE, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
