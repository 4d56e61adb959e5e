"""Whom a server counts, and when its word counts: taking over, meeting strangers, watching who falls silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from peerstack.dht.replica.acquaintances import Acquaintances
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.messages import Leave, Ping, PullReply, Reply
from peerstack.dht.replica.replication import Replication
from peerstack.dht.replica.settings import NodeSettings
from peerstack.dht.replica.takeover import PullFrom, PullParts, TakeOver
from peerstack.errors import PeerstackError

__all__ = ["Membership"]

_MIN_PULL_TIMEOUT_S: Final = 5.0
_MAX_MEETINGS: Final = 1024
_MAX_DISTRUSTED: Final = 1024


class Membership:
    """A node's way into the sets around it, and theirs into its own.

    Args:
        engine: Whose node.
        acquaintances: Told of who falls silent.
        replication: Hands over to who is newly counted.
        settings: The node's.
        changed: Called when a take-over ends.
    """

    def __init__(
        self,
        engine: Engine,
        acquaintances: Acquaintances,
        replication: Replication,
        settings: NodeSettings,
        changed: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.acquaintances = acquaintances
        self.replication = replication
        self._settings = settings
        self._changed = changed
        self._outside = engine.outside
        self._takeover: TakeOver | None = None
        self._cut_off_at = self._outside.time()  # when the majority was last out of sight
        self._distrusted: set[int] = set()  # whom the log has told of already
        self._met: dict[int, float] = {}  # when we last pulled from a server that was not counted, by position

    def found(self) -> None:
        """Be the first server of a network."""
        self.engine.hood.begin_takeover(settled=True)
        self.engine.hood.end_takeover()

    def enter(self, others: Iterable[Contact]) -> None:
        """Count those around this node, and take over from them."""
        now = self._outside.time()
        for contact in others:
            self.engine.hood.count_in(contact, now, hearsay=True)  # who answered the look-up may have left since
        self.take_over(settled=False)

    def stop(self) -> None:
        """End what is under way."""
        if self._takeover is not None:
            self._takeover.stop()

    def take_over(self, *, settled: bool) -> None:
        """Collect from everybody counted what this node has to hold; `settled`: whether its word keeps its weight meanwhile."""
        if self.engine.holder.leaving:
            return
        if self._takeover is not None:
            self._takeover.stop()
        parameters = self.engine.parameters
        self._takeover = TakeOver(
            self._pull_parts(),
            settled=settled,
            retry=max(1.0, parameters.stabilise_s),
            forget=parameters.forget_s,
            meet=self.consider,
            done=self._took_over,
        )
        self._takeover.proceed()

    @property
    def hopeful(self) -> bool:
        """Whether a take-over is under way that may end soon: it does not only wait for servers that are silent."""
        return self._takeover is not None and self._takeover.hopeful

    def consider(self, contact: Contact, heard_at: float | None = None) -> None:
        """See what a server near us that is not counted has: it is new, or from beyond a partition that healed.

        Args:
            contact: The server.
            heard_at: When it was last heard of; None is now.
        """
        hood = self.engine.hood
        if not self._settings.serving or contact.key in hood.members or not hood.is_near(contact.key):
            return
        if not hood.settled:
            # Who left in order may still be heard of, until it is gone; should it come back, it pulls from us.
            at = self._outside.time() if heard_at is None else heard_at
            if self._takeover is not None and hood.count_in(contact, at, hearsay=True):
                self._takeover.proceed()
            return
        self._pull_once(contact)

    def pulled_from(self, sender: Contact, settled: bool) -> None:
        """Somebody began to pull from this node."""
        if self._takeover is not None:
            self._takeover.proceed()
        elif settled and self.engine.hood.settled:
            self._pull_once(sender)

    def left(self, sender: Contact, leave: Leave) -> None:
        """Somebody left for good."""
        hood, now = self.engine.hood, self._outside.time()
        self.engine.routing.remove(sender.key)
        self.engine.callers.pop(sender.key, None)
        self.acquaintances.heard(sender.key)
        member = hood.members.get(sender.key)
        if member is None or leave.handed:
            hood.count_out(sender.key, now)
            if self._takeover is not None:
                self._takeover.proceed()
        else:
            member.gone = True
            hood.depart(sender.key, now)
            self._exchange()
        if member is not None:
            for contact in leave.remaining:
                self.consider(contact)
            self.meet_strangers()  # who was too far away may be near now

    def watch_silence(self, now: float) -> None:
        """Count nobody any more who was silent for too long, and claim nothing while the majority is out of sight.

        While this node was down or cut off, the silence was its own: once it is back, everybody has some time to be heard of.
        """
        parameters, hood = self.engine.parameters, self.engine.hood
        if not hood.reaches_majority(now - parameters.authority_loss_s):
            self._cut_off_at = now
            if hood.settled:
                self._settings.warn(
                    "cut off from the majority of the servers known: this node's word counts no more until it has taken over again"
                )
                self.take_over(settled=False)
            elif self._takeover is not None and not self._takeover.hopeful and hood.unlearn(now - parameters.forget_s):
                self.take_over(settled=False)  # most of those named to it when it came have died: it asks who is counted by now
            return
        back_for_long = now - self._cut_off_at >= parameters.forget_s - parameters.authority_loss_s
        gone = hood.silent_since(now - parameters.forget_s) if back_for_long else []
        for member in gone:
            member.gone = True
            self.acquaintances.lost(member.contact)
        self.engine.routing.forget_silent(now - parameters.forget_s)
        if any(member.gone for member in hood.members.values()) and (gone or self._takeover is None):
            self._exchange()

    def meet_strangers(self) -> None:
        """Look again at everybody near that is not counted."""
        for entry in [entry for entry in self.engine.routing if not entry.stale]:
            self.consider(entry.contact, entry.last_heard)
        for caller in list(self.engine.callers.values()):
            if self.engine.hood.settled:
                self.consider(caller)
            else:
                self._consider_if_there(caller)

    def _consider_if_there(self, contact: Contact) -> None:
        """Whoever is counted while we take over is waited for: so ask those first of whom nothing may have been heard for long."""
        if contact.key in self.engine.hood.members:
            return

        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            if not isinstance(reply, PeerstackError):
                self.consider(contact)

        self.engine.ask(contact, Ping(), answered)

    def _took_over(self, certain: bool) -> None:
        self._takeover = None
        self.acquaintances.save()
        self._changed()
        if not certain:
            self._settings.uncertain()

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
                self._met.pop(contact.key, None)  # should it be let go as too far away, it may be needed again soon
                hood.count_in(contact, now)
                self.replication.hand_to(contact)

        PullFrom(contact, self._pull_parts(), pulled).start()

    def _pull_parts(self) -> PullParts:
        engine = self.engine
        return PullParts(
            hood=engine.hood,
            store=engine.store,
            namespaces=engine.namespaces,
            rpc=engine,
            outside=self._outside,
            timeout=max(_MIN_PULL_TIMEOUT_S, engine.parameters.rpc_timeout_s),
            distrust=self._distrust,
        )

    def _distrust(self, source: Contact, why: str) -> None:
        """Note a source that hands over what cannot be verified: each time it is counted, in the log it stands once."""
        self._settings.count("takeover_sources_unverified", 1)
        if source.key in self._distrusted:
            return
        if len(self._distrusted) >= _MAX_DISTRUSTED:
            self._distrusted.clear()
        self._distrusted.add(source.key)
        self._settings.warn(f"what {source.peer_id} hands over cannot be verified and counts for nothing: {why}")

    def _exchange(self) -> None:
        """Somebody counted is gone: hear from all the others once before the sets close over the gap."""
        if self._takeover is None:
            self.take_over(settled=self.engine.hood.settled)
        else:
            self._takeover.proceed()
