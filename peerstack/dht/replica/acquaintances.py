"""Servers known that are not at hand: those of an earlier run, remembered on disk, and those that fell silent, pinged now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.graveyard import Graveyard
from peerstack.dht.replica.messages import Ping, Reply
from peerstack.dht.replica.neighbourhood import Member
from peerstack.dht.store.storage import ignore
from peerstack.errors import PeerstackError

__all__ = ["Acquaintances"]

_FIRST_PAUSE: Final = 4  # times the period of upkeep
_PARALLEL: Final = 8
_SAVES_IN_TIME: Final = 12  # of when others were heard of, before they would be forgotten


class Acquaintances:
    """Saves whom this node knows, meets them again after a restart, and after a partition.

    Args:
        engine: Whose node.
        meet: Told of a server that answered again.
        warn: Told what an operator has to know.
    """

    def __init__(self, engine: Engine, meet: Callable[[Contact], None], warn: Callable[[str], None]) -> None:
        parameters = engine.parameters
        self._engine = engine
        self._meet = meet
        self._warn = warn
        self._graveyard = Graveyard(
            first_pause_s=_FIRST_PAUSE * parameters.stabilise_s,
            longest_pause_s=parameters.repair_s,
            forget_s=parameters.max_ttl_s,
        )
        self._asking: set[int] = set()
        self._untried: set[int] = set()
        self._saved = 0  # stands for who was counted then; for a client, which counts nobody, for who was known
        self._saved_at = float("-inf")
        self._saves = 0
        self._certain: frozenset[int] = frozenset()  # by their positions: counted in whatever the disk may hold by now
        self._stopped = False

    @property
    def searching(self) -> bool:
        """Whether a server of an earlier run was not even asked yet whether it is there."""
        return bool(self._untried)

    def restore(self) -> int:
        """Take up whom an earlier run knew: they are asked, and whom it counted is counted.

        Returns:
            How many there are.

        Raises:
            StoreError: They cannot be read.
        """
        engine = self._engine
        now, wall = engine.outside.time(), engine.outside.wall_us()
        remembered = engine.state.servers()
        for each in remembered:
            self._graveyard.bury(each.contact, now, at_once=True)
            self._untried.add(each.contact.key)
            if each.heard_at_us is not None and engine.serving:
                silent_s = max(0, wall - each.heard_at_us) / MICROSECONDS
                engine.hood.remember(each.contact, now - silent_s)
        self._certain = frozenset(each.contact.key for each in remembered if each.heard_at_us is not None)
        return len(remembered)

    @property
    def silent(self) -> list[Contact]:
        """Those that are not at hand."""
        return self._graveyard.contacts

    def lost(self, contact: Contact) -> None:
        """A server fell silent and is known no more."""
        self._graveyard.bury(contact, self._engine.outside.time())

    def heard(self, key: int) -> None:
        """A server is at hand, or left for good."""
        self._graveyard.exhume(key)
        self._untried.discard(key)

    def knock(self) -> None:
        """Ping who is due."""
        room = _PARALLEL - len(self._asking)
        if self._stopped or room <= 0:
            return
        for contact in self._graveyard.due(self._engine.outside.time(), room):
            self._ping(contact)

    def save(self) -> None:
        """Save whom this node knows, if others are counted than the last time, or that is long ago.

        What is counted has to outlive this run; of the rest, which comes and goes all the time, many are enough to find the others again.
        """
        engine = self._engine
        period = min(engine.parameters.forget_s / _SAVES_IN_TIME, engine.parameters.repair_s)
        if self._known() != self._saved or engine.outside.time() - self._saved_at >= period:
            self.save_now()

    def keep(self, contact: Contact, done: Callable[[bool], None]) -> None:
        """Make sure that a server which is counted is counted by the next run too, whenever this one ends.

        Args:
            contact: The server. One that is not counted need not be kept.
            done: Called with whether that is sure: at once where it is already, else once it is committed or failed.
        """
        if contact.key in self._certain or contact.key not in self._engine.hood.members:
            done(True)
        else:
            self.save_now(done)

    def save_now(self, done: Callable[[bool], None] = ignore) -> None:
        """Save whom this node knows; `done` is called with whether it is committed."""
        engine = self._engine
        now = engine.outside.time()
        self._saved, self._saved_at = self._known(), now
        members = [member for member in engine.hood.members.values() if not member.gone]
        counted = [(member.contact, now - member.last_heard) for member in members]
        keys = {member.contact.key for member in members}
        entries = sorted((entry for entry in engine.routing if entry.contact.key not in keys), key=lambda entry: entry.failures)
        keys.update(entry.contact.key for entry in entries)
        buried = [contact for contact in self._graveyard.contacts if contact.key not in keys]
        others = [*(entry.contact for entry in entries), *buried]
        try:
            engine.state.save_servers(counted, others, engine.outside.wall_us(), self._saving(members, done))
        except PeerstackError as error:
            self._warn(f"the routing table could not be saved: {error}")
            done(False)

    def forget(self, contact: Contact) -> None:
        """Know a server no more: the operator says so."""
        self._engine.routing.remove(contact.key)
        self.heard(contact.key)

    def stop(self) -> None:
        """Save, and ask nobody any more."""
        if not self._stopped:
            self._stopped = True
            self.save_now()

    def _known(self) -> int:
        engine = self._engine
        return hash(frozenset(engine.hood.members)) if engine.serving else engine.routing.revision

    def _saving(self, members: Iterable[Member], done: Callable[[bool], None]) -> Callable[[bool], None]:
        """Until a snapshot is committed the disk may hold it or the one before, and the next run count whoever is in that."""
        counted = frozenset(member.contact.key for member in members)
        self._certain &= counted
        self._saves = number = self._saves + 1

        def committed(kept: bool) -> None:
            if kept and number == self._saves:
                self._certain = counted
            done(kept)

        return committed

    def _ping(self, contact: Contact) -> None:
        self._asking.add(contact.key)

        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            self._asking.discard(contact.key)
            self._untried.discard(contact.key)
            if self._stopped:
                return
            if not isinstance(reply, PeerstackError):
                self._graveyard.exhume(contact.key)
                self._meet(contact)
            elif self._untried:
                self.knock()

        self._engine.ask(contact, Ping(), answered)
