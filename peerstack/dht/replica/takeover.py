"""Taking over: collecting from every server counted what this node has to hold. Driven by callbacks over the `rpc` seam.

A round asks everybody counted, a few at a time, page after page, merges each page into the store and verifies it before it asks for the
next, counts in whoever the sources name, asks them too, and comes back to those who failed. It ends when nobody is left to wait for.

A source counts once all its pages are verified: each has the digest it is said to have, and the store holds all of it, equal or greater.
One whose pages cannot be verified has not answered. Decision 16 says why W such sources have every acknowledged write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Pull, PullReply, Reply
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.replica.pages import page_digest, shortfall
from peerstack.dht.replica.seam import Outside, Rpc
from peerstack.dht.store.contract import Cursor, Outcome, RecordStore, Source, SourceKind, Status
from peerstack.errors import InvalidMessage, PeerstackError, Unavailable

__all__ = ["PullFrom", "PullParts", "TakeOver"]

_PARALLEL: Final = 8
_LONGEST_PAUSE: Final = 4  # times the shortest
_HOPELESS: Final = 3
_MAX_PAGES: Final = 10_000  # from one source, of 256 records each
_ATTEMPTS: Final = 3  # for each page: what is asked for again is merged too, so what was lost on the way is there then

Merged = Callable[[PullReply | PeerstackError], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PullParts:
    """What pulling needs, whoever the source is."""

    hood: Neighbourhood
    """Around whom."""
    store: RecordStore
    """Where to."""
    namespaces: Namespaces
    """Say which of two records is greater."""
    rpc: Rpc
    outside: Outside
    timeout: float
    """Seconds per page."""
    distrust: Callable[[Contact, str], None]
    """Told of a source whose pages could not be verified, and why."""


class PullFrom:
    """Pull all pages of one source, and merge and verify each.

    Args:
        source: Whom to ask.
        parts: Around whom, where to, and how.
        done: Called once with the first page's reply (its standing and `known`), or with why it failed.
    """

    def __init__(self, source: Contact, parts: PullParts, done: Merged) -> None:
        self._source = source
        self._parts = parts
        self._done = done
        self._first: PullReply | None = None
        self._authoritative = True
        self._pages = 0
        self._after: Cursor | None = None
        self._attempt = 1
        self._region = parts.hood.region()

    def start(self) -> None:
        """Ask for the first page."""
        self._ask()

    def _ask(self) -> None:
        parts = self._parts
        parts.rpc.request(self._source, Pull(self._region, parts.hood.settled, self._after), parts.timeout, self._on_reply)

    def _on_reply(self, reply: Reply | PeerstackError, now: float) -> None:
        if isinstance(reply, PeerstackError):
            self._done(reply)
            return
        self._pages += 1
        if not isinstance(reply, PullReply) or self._pages > _MAX_PAGES:
            self._done(InvalidMessage("an answer that is no page, or a page too many"))
            return
        if reply.refusal is not None:
            self._done(Unavailable(f"{self._source.peer_id} cannot hand over: {reply.refusal.message}"))
            return
        self._parts.hood.heard(self._source.key, now)
        self._first = self._first or reply
        self._authoritative &= reply.standing.authoritative
        self._merge(reply)

    def _merge(self, page: PullReply) -> None:
        wall_us = self._parts.outside.wall_us()

        def merged(outcomes: list[Outcome]) -> None:
            if any(outcome.status is Status.FAILED for outcome in outcomes):
                self._done(PeerstackError("our own store could not commit what was pulled"))
                return
            try:
                doubt = self._doubt(page, outcomes, wall_us)
            except PeerstackError as error:
                self._done(error)
            else:
                self._go_on(page, doubt)

        source = Source(SourceKind.PULL, self._source.peer_id)
        try:
            self._parts.store.merge(page.records, source=source, now=wall_us, done=merged)
        except PeerstackError as error:
            self._done(error)

    def _doubt(self, page: PullReply, outcomes: list[Outcome], wall_us: int) -> str | None:
        """Why a page cannot be taken for all that the source holds there; None: it can."""
        if page.digest != page_digest(self._after, page.next, page.records):
            return "a page does not have the digest that it is said to have"
        return shortfall(self._parts.store, self._parts.namespaces, page.records, outcomes, wall_us)

    def _go_on(self, page: PullReply, doubt: str | None) -> None:
        if doubt is not None and self._attempt == _ATTEMPTS:
            self._parts.distrust(self._source, doubt)
            self._done(Unavailable(f"what {self._source.peer_id} hands over cannot be verified: {doubt}"))
        elif doubt is not None:
            self._attempt += 1
            self._ask()
        elif page.next is not None:
            self._after, self._attempt = page.next, 1
            self._ask()
        elif self._first is not None:
            self._first.standing.authoritative = self._authoritative
            self._done(self._first)


class TakeOver:
    """One round.

    Args:
        parts: Around whom, where to, and how; the neighbourhood's `begin_takeover` is called here.
        settled: Whether this node's word keeps its weight meanwhile.
        retry: Seconds until a source that failed is asked again; twice as long each time.
        forget: Seconds of silence after which a server is no more counted.
        meet: Told of servers that a settled node hears of.
        done: Called once, with whether majorities were certain everywhere.
    """

    def __init__(
        self,
        parts: PullParts,
        *,
        settled: bool,
        retry: float,
        forget: float,
        meet: Callable[[Contact], None],
        done: Callable[[bool], None],
    ) -> None:
        self._hood = hood = parts.hood
        self._parts = parts
        self._retry = retry
        self._forget_s = forget
        self._meet = meet
        self._done = done
        self._asking: set[int] = set()
        self._resting: set[int] = set()  # failed, asked again later
        self._failures: Counter[int] = Counter()
        self._gone = [key for key, member in hood.members.items() if member.gone]
        self._over = False
        hood.begin_takeover(settled=settled)

    def proceed(self) -> None:
        """Ask whom there is to ask; call again whenever somebody was counted in or is gone."""
        if self._over:
            return
        awaited = self._hood.awaited()
        if not awaited:
            self._over = True
            self._done(self._hood.end_takeover(self._gone))
            return
        for contact in awaited:
            if len(self._asking) >= _PARALLEL:
                break
            if contact.key not in self._asking and contact.key not in self._resting:
                self._pull(contact)

    @property
    def hopeful(self) -> bool:
        """Whether any of those waited for has not failed twice yet: who is silent may take until it is forgotten."""
        return any(self._failures[contact.key] < _HOPELESS for contact in self._hood.awaited())

    def stop(self) -> None:
        """Give up; nothing is called any more."""
        self._over = True

    def _pull(self, contact: Contact) -> None:
        self._asking.add(contact.key)
        PullFrom(contact, self._parts, lambda result: self._pulled(contact, result)).start()

    def _pulled(self, source: Contact, result: PullReply | PeerstackError) -> None:
        if self._over:
            return
        self._asking.discard(source.key)
        if isinstance(result, PeerstackError):
            self._hood.miss(source.key)
            self._resting.add(source.key)
            pause_s = self._retry * min(2 ** self._failures[source.key], _LONGEST_PAUSE)
            self._failures[source.key] += 1
            self._parts.outside.call_later(pause_s, lambda: self._rested(source.key))
        else:
            now = self._parts.outside.time()
            if result.known:
                self._hood.counted = True
            for contact, silent_s in zip_longest(result.standing.responsible, result.silent_s[: len(result.standing.responsible)]):
                # Who was silent for so long is still in the sets a newcomer enters; for who stood in them it was gone, and stays away.
                forgotten = self._hood.settled and (silent_s or 0.0) > self._forget_s
                if contact.key in self._hood.members or forgotten:
                    continue
                if self._hood.settled:
                    self._meet(contact)  # it did without: whoever is named has to answer for itself, it may have left just now
                else:
                    self._hood.count_in(contact, now - (silent_s or 0.0), hearsay=True)
            self._hood.handed_over(source.key, authoritative=result.standing.authoritative)
            if result.standing.authoritative:
                self._hood.compare(source.key, {source.key, *(contact.key for contact in result.standing.responsible)})
        self.proceed()

    def _rested(self, key: int) -> None:
        self._resting.discard(key)
        self.proceed()
