"""One Kademlia node above the `rpc` seam: operations, joining, taking over, upkeep. No loop and no I/O: simulations run this very class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from peerstack.dht.contract import LeaveReport, Lookup, PutResult
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Record, Signer, Slot
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import FindNode, Leave, Ping, PullReply, Request
from peerstack.dht.replica.readiness import Readiness
from peerstack.dht.replica.seam import Finished, Outside, Respond, Rpc
from peerstack.dht.replica.timers import Timers
from peerstack.dht.store.contract import RecordStore
from peerstack.errors import Closed, PeerstackError
from peerstack.identity import PeerId
from peerstack_kad.acquaintances import Acquaintances
from peerstack_kad.buckets import Admission, ContactAdded, ContactRemoved, PingContact
from peerstack_kad.engine import Engine
from peerstack_kad.forgetting import Forgetting
from peerstack_kad.getting import Get, GetAll
from peerstack_kad.holder import HolderEvents
from peerstack_kad.leaving import Leaving
from peerstack_kad.locating import Locate
from peerstack_kad.maintenance import Refresher
from peerstack_kad.persistence import NodeState
from peerstack_kad.putting import Put, PutOrder
from peerstack_kad.renewal import Renewals
from peerstack_kad.replication import Replication
from peerstack_kad.takeover import PullFrom, TakeOver
from peerstack_kad.topology import topology

__all__ = ["KademliaNode", "NodeSettings"]

_JOIN_TIMEOUT_S: Final = 60.0
_MIN_PULL_TIMEOUT_S: Final = 5.0
_MAX_MEETINGS: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSettings:
    """What a node is, beside its surroundings."""

    parameters: NetworkParameters
    namespaces: Namespaces = field(default_factory=Namespaces)
    serving: bool = True
    """Whether it is a server."""
    founder: bool = False
    """Whether it may be a network of one: it knows of nobody, and never did."""
    parallelism: int = 10
    disjoint_paths: int = 1
    admission: Admission | None = None
    positions: bool = True
    """Whether others can be asked for a point of the key space without a key there: on our own protocol ids."""
    warn: Callable[[str], None] = lambda _text: None
    """Told what an operator has to know."""
    uncertain: Callable[[], None] = lambda: None
    """Told when this node took over from everybody who answered, without a majority of every set."""
    state: NodeState = field(default_factory=NodeState)
    """What it remembers over a restart, beside its records."""
    count: Callable[[str, int], None] = lambda _name, _amount: None
    """Adds to a counter."""
    awaited: Callable[[], str | None] = lambda: None
    """What this node is about to learn of other servers from, in words; None: nothing. Operations wait for it."""


class KademliaNode:
    """A server or client of one Kademlia network.

    Attributes:
        engine: Its parts.
        renewals: Its own records.
        readiness: Operations that wait for it to join.
        acquaintances: Servers known that are not at hand.
        replication: Its repair rounds.
    """

    def __init__(self, own: Contact, *, signer: Signer, store: RecordStore, rpc: Rpc, outside: Outside, settings: NodeSettings) -> None:
        """Make a node; it does nothing before `start`."""
        self.engine = Engine(
            own,
            signer=signer,
            store=store,
            namespaces=settings.namespaces,
            parameters=settings.parameters,
            rpc=rpc,
            outside=outside,
            events=HolderEvents(self._pulled_from, self._left),
            serving=settings.serving,
            parallelism=settings.parallelism,
            paths=settings.disjoint_paths,
            admission=settings.admission,
            state=settings.state,
        )
        self.renewals = Renewals(self.engine, self._not_remembered)
        self.acquaintances = Acquaintances(self.engine, self.meet, settings.warn)
        self.replication = Replication(self.engine, settings.count)
        self._refresher = Refresher(self.engine, self._attend_to_table)
        self._timers = Timers(outside)
        self._settings = settings
        self._outside = outside
        self._takeover: TakeOver | None = None
        self._joining = False
        self._joined = False
        self._met: dict[int, float] = {}  # when we last pulled from a server that was not counted, by position
        self._stopped = False
        self.readiness = Readiness(outside, ready=lambda: self.ready, known=lambda: len(self.engine.table) > 0, awaited=self._awaited)

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
        hood, parameters = self.engine.hood, self.engine.parameters
        known = list(contacts)
        self.renewals.restore()
        remembered = self.acquaintances.restore()
        if self._settings.serving and self._settings.founder and not known and not remembered:
            hood.begin_takeover(settled=True)
            hood.end_takeover()
            self._joined = True
        self._timers.every("upkeep", parameters.stabilise_s, self._upkeep)
        self._timers.every("meet", parameters.repair_s, self._meet_strangers)
        self._timers.every("refresh", parameters.forget_s, self._refresh_stale)
        if self._settings.serving and self._settings.positions:
            self._timers.every("repair", parameters.repair_s, self.replication.repair)
        self._timers.every("sweep", max(1.0, min(60.0, parameters.repair_s)), self._sweep)
        for contact in known:
            self.meet(contact)
        self.acquaintances.knock()

    def stop(self) -> None:
        """End all timers; nothing is asked any more."""
        self._stopped = True
        self.readiness.close(Closed("the DHT is stopping"))
        if self._takeover is not None:
            self._takeover.stop()
        self._timers.stop()
        self._refresher.stop()
        self.replication.stop()
        self.acquaintances.stop()

    def meet(self, server: Contact) -> None:
        """Learn of a server that is reachable: it identified itself as one, or is a contact from before."""
        if self._stopped or server.key == self.engine.own.key:
            return
        self.engine.heard(server, self._outside.time())
        self._attend_to_table()
        if not self._joined and not self._joining:
            self._join()

    def lose(self, server: Contact) -> None:
        """Learn that a peer serves this network no more."""
        self.engine.table.remove(server.key)
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
            self._attend_to_table()
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

        def done(report: LeaveReport) -> None:
            self.stop()
            finished(report)

        Leaving(self.engine, timeout=timeout, finished=done).start()

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
            if self._settings.serving and (self._joined or not len(engine.table)):
                self._joined = True
                self._take_over(settled=engine.hood.settled)
            self.acquaintances.save_now()
            finished(tuple(contact.peer_id for contact in silent))

        known = [*(member.contact for member in engine.hood.members.values()), *self.acquaintances.silent]
        Forgetting(engine, known, found).start()

    # -- joining and taking over

    def _join(self) -> None:
        self._joining = True
        own = self.engine.own
        request = FindNode(own.peer_id.to_bytes(), own.key)
        count = max(self.engine.parameters.k, 2 * self.engine.parameters.replicas)
        Locate(self.engine, request, count=count, trace=False, timeout=_JOIN_TIMEOUT_S, finished=self._found_surroundings).start()

    def _found_surroundings(self, locate: Locate) -> None:
        self._joining = False
        if self._stopped:
            return
        others = [contact for contact in locate.contacts if contact.key != self.engine.own.key]
        if not others:
            self.readiness.review()
            return  # tried again by the upkeep
        self._joined = True
        if self._settings.serving and not self.engine.hood.settled:
            now = self._outside.time()
            for contact in others:
                self.engine.hood.count_in(contact, now)
            self._take_over(settled=False)
        self.readiness.review()
        if self._settings.positions:
            self._refresher.thin()

    def _take_over(self, *, settled: bool) -> None:
        if self.engine.holder.leaving:
            return
        if self._takeover is not None:
            self._takeover.stop()
        engine = self.engine
        timeout = max(_MIN_PULL_TIMEOUT_S, engine.parameters.rpc_timeout_s)
        retry = max(1.0, engine.parameters.stabilise_s)
        self._takeover = TakeOver(
            engine.hood,
            engine.store,
            engine,
            self._outside,
            settled=settled,
            timeout=timeout,
            retry=retry,
            forget=engine.parameters.forget_s,
            done=self._took_over,
        )
        self._takeover.proceed()

    def _took_over(self, certain: bool) -> None:
        self._takeover = None
        self.readiness.review()
        if not certain:
            self._settings.uncertain()

    def _attend_to_table(self) -> None:
        for event in self.engine.table.take_events():
            if isinstance(event, PingContact):
                self.engine.ask(event.contact, Ping(), lambda _reply, _now: None)
            elif isinstance(event, ContactAdded):
                self.acquaintances.heard(event.contact.key)
                self._consider(event.contact)
            elif isinstance(event, ContactRemoved) and event.silent:
                self.acquaintances.lost(event.contact)

    def _consider(self, contact: Contact) -> None:
        """See what a server near us that is not counted has: it is new, or from beyond a partition that healed."""
        hood = self.engine.hood
        if not self._settings.serving or contact.key in hood.members or not hood.is_near(contact.key):
            return
        if not hood.settled:
            if self._takeover is not None and hood.count_in(contact, self._outside.time()):
                self._takeover.proceed()
            return
        self._pull_once(contact)

    def _pull_once(self, contact: Contact) -> None:
        """Merge what a stranger holds; count it if its word counts elsewhere (a newcomer is counted when it pulls from us)."""
        hood, now = self.engine.hood, self._outside.time()
        pause = self.engine.parameters.repair_s
        if self.engine.holder.leaving:
            return  # whoever is asked would count this node anew
        if now - self._met.get(contact.key, float("-inf")) < pause:
            return
        self._met = {key: at for key, at in self._met.items() if now - at < pause}
        if len(self._met) >= _MAX_MEETINGS:
            return
        self._met[contact.key] = now

        def pulled(result: PullReply | PeerstackError) -> None:
            if isinstance(result, PullReply) and result.standing.authoritative:
                hood.count_in(contact, self._outside.time())
                self.replication.hand_to(contact)

        timeout = max(_MIN_PULL_TIMEOUT_S, self.engine.parameters.rpc_timeout_s)
        PullFrom(contact, hood, self.engine.store, self.engine, self._outside, timeout, pulled).start()

    def _pulled_from(self, sender: Contact, settled: bool) -> None:
        if self._takeover is not None:
            self._takeover.proceed()
        elif settled and self.engine.hood.settled:
            self._pull_once(sender)

    def _left(self, sender: Contact, handed: bool) -> None:
        self.engine.table.remove(sender.key)
        self.acquaintances.heard(sender.key)
        member = self.engine.hood.members.get(sender.key)
        if member is None:
            return
        if handed:
            self.engine.hood.count_out(sender.key)
            if self._takeover is not None:
                self._takeover.proceed()
        else:
            member.gone = True
            self._exchange()

    def _exchange(self) -> None:
        """Somebody counted is gone: hear from all the others once before the sets close over the gap."""
        if self._takeover is None:
            self._take_over(settled=self.engine.hood.settled)
        else:
            self._takeover.proceed()

    # -- upkeep

    def _upkeep(self) -> None:
        now = self._outside.time()
        parameters, hood = self.engine.parameters, self.engine.hood
        if not self._joined and not self._joining and len(self.engine.table):
            self._join()
        if self._settings.serving:
            for member in hood.silent_since(now - parameters.authority_loss_s / 5)[:3]:
                self.engine.ask(member.contact, Ping(), lambda _reply, _now: None)
            self._watch_silence(now)
        elif (stale := self.engine.table.forget_silent(now - parameters.forget_s)) and not len(self.engine.table):
            self._joined = False
            self._settings.warn(f"lost all {len(stale)} servers known")
        self._attend_to_table()
        for entry in self.engine.table:
            if entry.stale:  # named to nobody, but asked again: it may be our own network that was down
                self.acquaintances.lost(entry.contact)
        self.acquaintances.knock()
        self.acquaintances.save()
        self.renewals.tick()

    def _watch_silence(self, now: float) -> None:
        parameters, hood = self.engine.parameters, self.engine.hood
        if not hood.reaches_majority(now - parameters.authority_loss_s):
            if hood.settled:
                self._settings.warn(
                    "cut off from the majority of the servers known: this node's word counts no more until it has taken over again"
                )
                self._take_over(settled=False)
            return
        gone = hood.silent_since(now - parameters.forget_s)
        for member in gone:
            member.gone = True
            self.acquaintances.lost(member.contact)
        self.engine.table.forget_silent(now - parameters.forget_s)
        if any(member.gone for member in hood.members.values()) and (gone or self._takeover is None):
            self._exchange()

    def _meet_strangers(self) -> None:
        for entry in list(self.engine.table):
            if not entry.stale:
                self._consider(entry.contact)

    def _sweep(self) -> None:
        self.engine.store.sweep(self._outside.wall_us(), done=lambda _swept: None)

    def _refresh_stale(self) -> None:
        if self._settings.positions:
            self._refresher.due(self._outside.time() - self.engine.parameters.forget_s)

    def _not_remembered(self, slot: Slot) -> None:
        self._settings.warn(f"the renewal of /{slot.namespace}/{slot.key!r} could not be saved: it ends with this process")

    def _awaited(self) -> str | None:
        if self._joining or (not self._joined and len(self.engine.table)):
            return "this node is joining the network"
        if self.engine.hood.taking_over:
            return "this node is taking over from others"
        if not self._joined and self.acquaintances.searching:
            return "this node looks for the servers it knew"
        return self._settings.awaited()

    def topology(self) -> dict[str, Any]:
        """The routing table and the neighbourhood as plain data."""
        return topology(self.engine)
