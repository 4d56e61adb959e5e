"""Servers that fell silent, and those known from an earlier run: pinged now and then, so that a healed partition finds itself. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from peerstack.dht.replica.contacts import Contact

__all__ = ["Graveyard"]

_CAPACITY: Final = 512
_AT_EASE: Final = 32  # this many are pinged within the longest pause


@dataclass(slots=True)
class _Grave:
    contact: Contact
    due_at: float
    pause_s: float
    buried_at: float


_DUE_AT: Final = attrgetter("due_at")


class Graveyard:
    """Bounded: the longest buried goes first.

    Args:
        first_pause_s: Between burying and the first ping; doubled after each ping.
        longest_pause_s: Between two pings at most, while few are buried. The more there are the longer it is: whoever has seen thousands
            come and go asks the dead no more often for it, and after a partition one of the many is enough to find the others.
        forget_s: How long anybody is kept: what is held is not remembered for longer either.
        capacity: How many are kept.
    """

    def __init__(self, *, first_pause_s: float, longest_pause_s: float, forget_s: float, capacity: int = _CAPACITY) -> None:
        self._first_pause_s = first_pause_s
        self._longest_pause_s = max(first_pause_s, longest_pause_s)
        self._forget_s = forget_s
        self._capacity = capacity
        self._graves: OrderedDict[int, _Grave] = OrderedDict()  # in the order of burying
        self._idle_until = float("inf")  # nobody is due before

    def __len__(self) -> int:
        return len(self._graves)

    def __contains__(self, key: object) -> bool:
        return key in self._graves

    @property
    def contacts(self) -> list[Contact]:
        """Everybody in it, the last buried first."""
        return [grave.contact for grave in reversed(self._graves.values())]

    def bury(self, contact: Contact, now: float, *, at_once: bool = False) -> None:
        """Take in who fell silent.

        Args:
            contact: Whom.
            now: The clock.
            at_once: Whether the first ping is due already.
        """
        if contact.key in self._graves:
            return
        due_at = now if at_once else now + self._first_pause_s
        self._graves[contact.key] = _Grave(contact, due_at, self._first_pause_s, now)
        self._idle_until = min(self._idle_until, due_at)
        if len(self._graves) > self._capacity:
            self._graves.popitem(last=False)

    def exhume(self, key: int) -> None:
        """Let go of somebody: it was heard of, or left for good."""
        self._graves.pop(key, None)

    def due(self, now: float, limit: int) -> list[Contact]:
        """Whom to ping now, the longest due first; each is due again after a pause twice as long."""
        self._forget(now)
        if now < self._idle_until:
            return []
        graves = self._graves
        due = sorted((grave for grave in graves.values() if grave.due_at <= now), key=_DUE_AT)[:limit]
        longest_pause_s = self._longest_pause_s * max(1.0, len(graves) / _AT_EASE)
        for grave in due:
            grave.due_at = now + grave.pause_s
            grave.pause_s = min(2 * grave.pause_s, longest_pause_s)
        self._idle_until = min(map(_DUE_AT, graves.values()), default=float("inf"))
        return [grave.contact for grave in due]

    def _forget(self, now: float) -> None:
        """Keep nobody for longer, whether or not anybody is due."""
        graves = self._graves
        while graves and now - next(iter(graves.values())).buried_at > self._forget_s:
            graves.popitem(last=False)
