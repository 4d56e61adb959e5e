"""One node above the `rpc` seam: operations, taking over, upkeep. No loop and no I/O: simulations run this very class.

How a node finds its place among the others is its DHT's: see `DhtNode._join`, `DhtNode._attend` and `DhtNode._set_timers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from peerstack.dht.contract import LeaveReport, Lookup, PutResult
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.acquaintances import Acquaintances
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.forgetting import Forgetting
from peerstack.dht.replica.geometry import Geometry
from peerstack.dht.replica.getting import Get, GetAll
from peerstack.dht.replica.holder import HolderEvents
from peerstack.dht.replica.leaving import Leaving
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.membership import Membership
from peerstack.dht.replica.messages import Leave, Offer, Ping, Pull, Request
from peerstack.dht.replica.putting import Put, PutOrder
from peerstack.dht.replica.readiness import Readiness
from peerstack.dht.replica.renewal import Renewals
from peerstack.dht.replica.replication import Replication
from peerstack.dht.replica.routing import Routing
from peerstack.dht.replica.seam import Finished, Respond
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht.replica.timers import Timers
from peerstack.errors import Closed, PeerstackError
from peerstack.identity import PeerId

__all__ = ["DhtNode"]

_PINGS_IN_TIME: Final = 5  # of a silent member, before this node would lose its authority
_PINGS_AT_ONCE: Final = 3
_LOOKS_IN_TIME: Final = 50  # at all members, likewise


class DhtNode(ABC):
    """A server or client of one network.

    Attributes:
        engine: Its parts.
        membership: Whom it counts.
        renewals: Its own records.
        readiness: Operations that wait for it to join.
        acquaintances: Servers known that are not at hand.
        replication: Its repair rounds.
    """

    def __init__(self, parts: NodeParts, *, geometry: Geometry, routing: Routing) -> None:
        """Make a node; it does nothing before `start`."""
        settings, outside = parts.settings, parts.outside
        events = HolderEvents(
            pulled=lambda who, settled: self.membership.pulled_from(who, settled),
            keep=lambda who, done: self.acquaintances.keep(who, done),
            left=lambda who, leave: self.membership.left(who, leave),
        )
        self.engine = Engine(parts, geometry=geometry, routing=routing, events=events)
        self.renewals = Renewals(self.engine, self._not_remembered)
        self.acquaintances = Acquaintances(self.engine, self.meet, settings.warn)
        self.replication = Replication(self.engine, settings.count)
        self.readiness = Readiness(outside, ready=lambda: self.ready, known=lambda: len(routing) > 0, awaited=self._awaited)
        self.membership = Membership(self.engine, self.acquaintances, self.replication, settings, self.readiness.review)
        self._timers = Timers(outside)
        self._settings = settings
        self._outside = outside
        self._joining = False
        self._joined = False
        self._watched_at = float("-inf")
        self._stopped = False

    # -- what a DHT adds

    @abstractmethod
    def _join(self) -> None:
        """Find this node's place among the others; ends with `_found_surroundings`."""

    @abstractmethod
    def _attend(self) -> None:
        """See to what the routing table has noted: called after every sign of life, and at each upkeep."""

    @abstractmethod
    def _set_timers(self) -> None:
        """Begin periodic work of the DHT's own."""

    @abstractmethod
    def topology(self) -> dict[str, Any]:
        """Its surroundings as plain data."""

    def _depart(self, done: Callable[[], None]) -> None:
        """Give up this node's place among the others: everything is handed over, and the node stops next."""
        done()

    # -- life

    @property
    def ready(self) -> bool:
        """Whether it has joined, and, as a server, its word counts."""
        return self.engine.hood.settled if self._settings.serving else self._joined

    def start(self, contacts: Iterable[Contact] = ()) -> None:
        """Begin: found a network or join one.

        Args:
            contacts: Servers that are at hand.

        Raises:
            StoreError: What an earlier run remembered cannot be read.
        """
        parameters = self.engine.parameters
        known = list(contacts)
        self.renewals.restore()
        remembered = self.acquaintances.restore()
        if self._settings.serving and self._settings.founder and not known and not remembered:
            self.membership.found()
            self._joined = True
        self._timers.every("upkeep", parameters.stabilise_s, self._upkeep)
        self._timers.every("meet", parameters.repair_s, self.membership.meet_strangers)
        self._set_timers()
        if self._settings.serving:
            self._timers.every("repair", parameters.repair_s, self.replication.repair)
        self._timers.every("sweep", max(1.0, min(60.0, parameters.repair_s)), self._sweep)
        for contact in known:
            self.meet(contact)
        self.acquaintances.knock()

    def stop(self) -> None:
        """End all timers; nothing is asked any more."""
        self._stopped = True
        self.readiness.close(Closed("the DHT is stopping"))
        self.membership.stop()
        self._timers.stop()
        self.replication.stop()
        self.acquaintances.stop()

    def meet(self, server: Contact) -> None:
        """Learn of a server that is reachable: it identified itself as one, or is a contact from before."""
        if self._stopped or server.key == self.engine.own.key:
            return
        self.engine.heard(server, self._outside.time())
        self._attend()
        if not self._joined and not self._joining:
            self._begin_to_join()

    def lose(self, server: Contact) -> None:
        """Learn that a peer serves this network no more."""
        self.engine.routing.remove(server.key)
        self.acquaintances.heard(server.key)
        self.readiness.review()

    def serve(self, sender: Contact, request: Request, respond: Respond, *, is_server: bool, ip_group: bytes = b"") -> None:
        """Answer a request.

        Args:
            sender: Who asks.
            request: What.
            respond: Called once with the answer.
            is_server: Whether the sender is known to serve this network.
            ip_group: The network it sends from; empty where that is private or not known.
        """
        now = self._outside.time()
        if is_server and not isinstance(request, Leave):
            self.engine.heard(sender, now)
            self._attend()
            if isinstance(request, Ping | Pull | Offer):
                self.engine.called(sender)
        self.engine.holder.serve(sender, request, respond, now=now, wall_us=self._outside.wall_us(), ip_group=ip_group)

    def put(self, order: PutOrder, finished: Finished[PutResult]) -> None:
        """Write; a renewable record is renewed from then on."""

        def done(result: tuple[PutResult, Record] | PeerstackError) -> None:
            if isinstance(result, PeerstackError):
                finished(result)
                return
            put, record = result
            self.renewals.keep(record, acknowledged=put.promised, saved=lambda: finished(put))

        def begin(left: float) -> None:
            Put(self.engine, replace(order, timeout=left), done).start()

        self.readiness.when(begin, finished, order.timeout)

    def get(self, slot: Slot, *, quorum: int | None, timeout: float, finished: Finished[Any]) -> None:
        """Read one record."""

        def begin(left: float) -> None:
            Get(self.engine, slot, quorum=quorum, timeout=left, finished=finished).start()

        self.readiness.when(begin, finished, timeout)

    def get_all(self, namespace: str, key: bytes, *, since: int | None, timeout: float, finished: Finished[list[Record]]) -> None:
        """Read every subkey."""

        def begin(left: float) -> None:
            GetAll(self.engine, namespace, key, since=since, timeout=left, finished=finished).start()

        self.readiness.when(begin, finished, timeout)

    def lookup(self, namespace: str, key: bytes, *, trace: bool, timeout: float, finished: Finished[Lookup]) -> None:
        """Find who is responsible."""

        def begin(left: float) -> None:
            Locate.of_key(self.engine, namespace, key, trace=trace, timeout=left, finished=finished).start()

        self.readiness.when(begin, finished, timeout)

    def leave(self, *, timeout: float, finished: Callable[[LeaveReport], None]) -> None:
        """Hand everything over and go; the node answers nobody's writes from now on."""

        def handed_over(report: LeaveReport) -> None:
            self._depart(lambda: leaving.see_off(lambda: gone(report)))

        def gone(report: LeaveReport) -> None:
            self.stop()
            finished(report)

        leaving = Leaving(self.engine, timeout=timeout, finished=handed_over)
        leaving.start()

    def forget(self, finished: Callable[[tuple[PeerId, ...]], None]) -> None:
        """Count nobody any more who does not answer now: the operator says that they do not come back.

        What they alone held is lost. It gives a network that lost its majority its voice back.

        Args:
            finished: Gets who was forgotten.
        """
        engine = self.engine

        def found(silent: list[Contact]) -> None:
            if self._stopped:
                finished(())
                return
            for contact in silent:
                self.acquaintances.forget(contact)
                if (member := engine.hood.members.get(contact.key)) is not None:
                    member.gone = True
            if self._settings.serving and (self._joined or not len(engine.routing)):
                self._joined = True
                self.membership.take_over(settled=engine.hood.settled)
            self.acquaintances.save_now()
            finished(tuple(contact.peer_id for contact in silent))

        known = [*(member.contact for member in engine.hood.members.values()), *self.acquaintances.silent]
        Forgetting(engine, known, found).start()

    # -- joining

    def _begin_to_join(self) -> None:
        self._joining = True
        self._join()

    def _found_surroundings(self, others: Sequence[Contact]) -> bool:
        """Count the servers around this node, and take over from them; whether there are any."""
        self._joining = False
        if self._stopped:
            return False
        if others:
            self._joined = True
            if self._settings.serving and not self.engine.hood.settled:
                self.membership.enter(others)
        self.readiness.review()
        return bool(others)  # where there are none it is tried again by the upkeep

    # -- upkeep

    def _upkeep(self) -> None:
        now = self._outside.time()
        parameters, hood = self.engine.parameters, self.engine.hood
        if now - self._watched_at >= parameters.authority_loss_s / _LOOKS_IN_TIME:
            self._watched_at = now
            self._watch(now)
        if not self._joined and not self._joining and len(self.engine.routing):
            self._begin_to_join()
        if self._settings.serving:
            silence = parameters.authority_loss_s / _PINGS_IN_TIME
            for contact in hood.to_ping(now, silence=silence, first_pause=parameters.stabilise_s, limit=_PINGS_AT_ONCE):
                self.engine.ask(contact, Ping(), lambda _reply, _now: None)
        elif (stale := self.engine.routing.forget_silent(now - parameters.forget_s)) and not len(self.engine.routing):
            self._joined = False
            self._settings.warn(f"lost all {len(stale)} servers known")
        self._attend()
        self.acquaintances.knock()
        self.renewals.tick()

    def _watch(self, now: float) -> None:
        """Look through everybody known: there may be hundreds, so less often than the rest."""
        if self._settings.serving:
            self.membership.watch_silence(now)
        for contact in self.engine.routing.stale():  # named to nobody, but asked again: it may be our own network that was down
            self.acquaintances.lost(contact)
        self.acquaintances.save()

    def _sweep(self) -> None:
        self.engine.store.sweep(self._outside.wall_us(), done=lambda _swept: None)

    def _not_remembered(self, slot: Slot) -> None:
        self._settings.warn(f"the renewal of /{slot.namespace}/{slot.key!r} could not be saved: it ends with this process")

    def _awaited(self) -> str | None:
        if self._joining or (not self._joined and len(self.engine.routing)):
            return "this node is joining the network"
        if self.membership.hopeful:
            return "this node is taking over from others"
        if not self._joined and self.acquaintances.searching:
            return "this node looks for the servers it knew"
        return self._settings.awaited()
