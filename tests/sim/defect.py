"""What a defect is: a patch of ours, by which code is replaced and put back.

Everything patched is named by its import path in one table, so that code that moves is followed in one line, and code that is gone is
noticed: a patch that finds nothing to replace raises `Outdated`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

__all__ = ["PLACES", "Defect", "Outdated", "Patch"]

PLACES: Final[dict[str, str]] = {
    "covered": "peerstack.dht.replica.offers:OfferBook.covered",
    "decide": "peerstack.dht.store.memory:decide",
    "current": "peerstack.dht.store.memory:current",
    "draft_renewal": "peerstack.dht.replica.renewal:draft_renewal",
    "forget_at": "peerstack.dht.namespaces:LatestVersion.forget_at",
    "Get": "peerstack.dht.replica.getting:Get.__init__",
    "Get.start": "peerstack.dht.replica.getting:Get.start",
    "GetTally.answer": "peerstack.dht.quorum:GetTally.answer",
    "GetTally.live": "peerstack.dht.quorum:GetTally._live",
    "PutTally.answer": "peerstack.dht.quorum:PutTally.answer",
    "PutTally.conclude": "peerstack.dht.quorum:PutTally.conclude",
    "PutTally.superseded_by": "peerstack.dht.quorum:PutTally.superseded_by",
    "Tally.majority": "peerstack.dht.quorum:Tally.majority",
    "Tally.read_quorum": "peerstack.dht.quorum:Tally.read_quorum",
    "hand_to": "peerstack.dht.replica.replication:Replication.hand_to",
    "Holder.page": "peerstack.dht.replica.holder:Holder._page",
    "Holder.put": "peerstack.dht.replica.holder:Holder._put",
    "keep": "peerstack.dht.replica.acquaintances:Acquaintances.keep",
    "is_authoritative": "peerstack.dht.replica.neighbourhood:Neighbourhood.is_authoritative",
    "reaches_majority": "peerstack.dht.replica.neighbourhood:Neighbourhood.reaches_majority",
    "watch_silence": "peerstack.dht.replica.membership:Membership.watch_silence",
    "Leaving.plan": "peerstack.dht.replica.leaving:Leaving._plan",
    "awaited": "peerstack.dht.replica.neighbourhood:Neighbourhood.awaited",
    "lookup.done": "peerstack_kad.lookup:LookupProgress.done",
    "lookup.on_failure": "peerstack_kad.lookup:LookupProgress.on_failure",
    "MemoryStore.get_all": "peerstack.dht.store.memory:MemoryStore.get_all",
    "MemoryStore.merge": "peerstack.dht.store.memory:MemoryStore.merge",
    "MemoryStore.sweep": "peerstack.dht.store.memory:MemoryStore.sweep",
    "note": "peerstack.dht.replica.offers:OfferBook.answer",
    "Reading.read": "peerstack.dht.replica.reading:Reading._read",
    "refresh.spread": "peerstack_kad.maintenance:spread",
    "repair": "peerstack.dht.replica.replication:Replication.repair",
    "reprovide_s": "peerstack_kad.content:_REPROVIDE_S",
    "Round.drop": "peerstack.dht.replica.repair_round:Round._drop_displaced",
    "serve": "peerstack.dht.replica.node:DhtNode.serve",
    "take_over": "peerstack.dht.replica.membership:Membership.take_over",
    "PullFrom.doubt": "peerstack.dht.replica.takeover:PullFrom._doubt",
    "ChordNode.serve": "peerstack_chord.node:ChordNode.serve",
    "FingerTable.failed": "peerstack_chord.fingers:FingerTable.failed",
    "Place.enter": "peerstack_chord.place:Place.enter",
    "Rectifier.check": "peerstack_chord.stabilising:Rectifier._check",
    "Ring.stabilise": "peerstack_chord.maintenance:Ring.stabilise",
    "RingLookup": "peerstack_chord.lookup:RingLookup.__init__",
    "RingLookup.done": "peerstack_chord.lookup:RingLookup.done",
    "RingLookup.on_failure": "peerstack_chord.lookup:RingLookup.on_failure",
    "Server.serve": "peerstack_chord.serving:Server.serve",
    "Stabiliser.first_answered": "peerstack_chord.stabilising:Stabiliser._first_answered",
}


class Outdated(LookupError):
    """What a defect replaces is not there any more: it has moved, and the table of places has to follow."""


class Patch:
    """Replaces attributes, and puts them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def real(self, place: str) -> Any:
        """What is replaced: functions and properties as their class holds them.

        Raises:
            Outdated: There is none.
        """
        owner, name = _find(place)
        return vars(owner)[name]

    def set(self, place: str, value: Any) -> None:
        """Replace it.

        Raises:
            Outdated: There is none.
        """
        owner, name = _find(place)
        self._before.append((owner, name, vars(owner)[name]))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put everything back."""
        while self._before:
            setattr(*self._before.pop())


Defect = Callable[[Patch], None]


def _find(place: str) -> tuple[Any, str]:
    where = PLACES[place]
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = vars(owner)[each]
        vars(owner)[name]
    except (ImportError, KeyError) as error:
        raise Outdated(f"there is no {where} any more: look where it went, and say so in the table of places") from error
    return owner, name
