"""The periodic rounds of repair, and handing over to servers newly met.

One round per period and key is enough: a record is skipped if another of its holders offered an equal copy within the period, to the same
set (Maymounkov and Mazieres, IPTPS 2002, 2.5, without its assumption that a copy received equals the one held).
"""

from __future__ import annotations

from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.offers import members_digest
from peerstack.dht.replica.repair_round import Count, Round

__all__ = ["Replication"]


class Replication:
    """The periodic rounds of one node, and handing over to servers newly met.

    Args:
        engine: Whose node.
        count: Counts what was done.
    """

    def __init__(self, engine: Engine, count: Count) -> None:
        self._engine = engine
        self._count = count
        self._round: Round | None = None
        self._handing: dict[int, Round] = {}
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether a round is under way."""
        return self._round is not None

    def repair(self) -> None:
        """Begin a round, unless the one before still runs, or this node leaves."""
        if self._round is not None or self._stopped or self._engine.holder.leaving or not self._engine.hood.members:
            return
        self._round = Round(self._engine, self._owed, self._count, self._repaired)
        self._round.start()

    def hand_to(self, contact: Contact) -> None:
        """Give a server that is newly counted what it has to hold: of all holders the closest does, so that it gets everything once."""
        if contact.key in self._handing or self._stopped or self._engine.holder.leaving:
            return
        own = self._engine.own.key

        def plan(record: Record) -> tuple[list[Contact], bool] | None:
            members = self._engine.hood.responsible(int.from_bytes(record.position, "big"))
            keys = [member.key for member in members]
            before = [key for key in keys if key != contact.key]
            return ([contact], False) if contact.key in keys and before and before[0] == own else None

        def done(_complete: bool) -> None:
            self._handing.pop(contact.key, None)

        handing = self._handing[contact.key] = Round(self._engine, plan, self._count, done)
        handing.start()

    def stop(self) -> None:
        """End what is under way."""
        self._stopped = True
        for each in (self._round, *self._handing.values()):
            if each is not None:
                each.stop()
        self._handing.clear()

    def _owed(self, record: Record) -> tuple[list[Contact], bool] | None:
        engine = self._engine
        members = engine.hood.responsible(int.from_bytes(record.position, "big"))
        others = [member for member in members if member.key != engine.own.key]
        displaced = len(others) == len(members)
        since = engine.outside.time() - engine.parameters.repair_s
        if not displaced and engine.offers.covered(record, members_digest(members), since):
            return None
        return others, displaced

    def _repaired(self, complete: bool) -> None:
        self._round = None
        if complete:
            self._count("replication_rounds", 1)
