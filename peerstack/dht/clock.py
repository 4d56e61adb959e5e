"""The hybrid logical clock that versions are taken from.

Source: Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed Databases" (2014), with the logical part
folded into the microseconds: a reading is the wall clock's, or one microsecond past the greatest reading seen, whichever is later.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_AHEAD_US", "MICROSECONDS", "HybridClock", "to_microseconds"]

MICROSECONDS: Final = 1_000_000
"""In a second."""
MAX_AHEAD_US: Final = 15 * 60 * MICROSECONDS
"""How far ahead of a node's own clock a version may be: nobody owns the future."""


def to_microseconds(seconds: float) -> int:
    """Seconds, as clocks and callers give them, in whole microseconds."""
    return round(seconds * MICROSECONDS)


class HybridClock:
    """A clock that never repeats a reading and moves past every version it observes.

    Args:
        state: The `state` of an earlier run, or 0.
    """

    __slots__ = ("_last",)

    def __init__(self, state: int = 0) -> None:
        self._last = state

    @property
    def state(self) -> int:
        """The greatest reading given or observed, to be persisted before a version made from it is sent."""
        return self._last

    def observe(self, version_time: int, wall_us: int) -> bool:
        """Move past a version somebody else wrote.

        Args:
            version_time: The version's time, microseconds.
            wall_us: Our own wall clock, microseconds.

        Returns:
            False where the version is too far ahead of our clock and was not followed.
        """
        if version_time > wall_us + MAX_AHEAD_US:
            return False
        self._last = max(self._last, version_time)
        return True

    def next(self, wall_us: int) -> int:
        """Give the time of a new version: later than all given or observed before.

        After the wall clock was set back by more than holders tolerate, what was given before would make every version refused: it is left
        behind, and only `observe` says what has to be passed.
        """
        if self._last > wall_us + MAX_AHEAD_US:
            self._last = 0
        self._last = max(self._last + 1, wall_us)
        return self._last
