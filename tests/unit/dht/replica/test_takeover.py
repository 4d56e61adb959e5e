"""Pulling what one source holds, message by message: what is verified counts, and nothing else."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence

from peerstack_kad.geometry import XorGeometry

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Pull, PullReply, Request, Standing
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.replica.pages import cut_page
from peerstack.dht.replica.seam import RpcDone
from peerstack.dht.replica.takeover import PullFrom, PullParts, TakeOver
from peerstack.dht.store import MemoryStore, Rules
from peerstack.dht.store.contract import Outcome, Source, SourceKind, StoreLimits
from peerstack.errors import PeerstackError
from peerstack.testing.store_conformance import NOW, RecordMaker, source_of

NAMESPACES = Namespaces()
WRITER = RecordMaker.from_number(1)
RECORDS = tuple(WRITER.put(Slot("kv", b"key %d" % number), bytes(30_000)) for number in range(30))

Mangle = Callable[[int, PullReply], PullReply]
"""``(how many were answered before, the true answer)`` -> the answer sent."""


def server(number: int) -> Contact:
    return Contact(RecordMaker.from_number(number).signer.peer_id, number << 248)


class Forgetful(MemoryStore):
    """Says that it stored, and for the first so many records did not."""

    def __init__(self, drops: int) -> None:
        super().__init__(rules())
        self.drops = drops

    def merge(self, records: Sequence[Record], *, source: Source, now: int, done: Callable[[list[Outcome]], None]) -> None:
        def merged(outcomes: list[Outcome]) -> None:
            dropped, self.drops = list(records[: self.drops]), max(0, self.drops - len(records))
            self.drop(dropped, done=lambda _count: None)
            done(outcomes)

        super().merge(records, source=source, now=now, done=merged)


def rules(max_records: int = 1000) -> Rules:
    return Rules(namespaces=NAMESPACES, parameters=KADEMLIA_PRESETS["wan"], limits=StoreLimits(max_records=max_records))


class Pulled:
    """One source with all records, and who pulls from it, without a network: time stands still, requests are answered in turn."""

    def __init__(self, mangle: Mangle = lambda _before, reply: reply, store: MemoryStore | None = None) -> None:
        self.source = server(1)
        self.taker = server(2)
        self.store = store or MemoryStore(rules())
        self.hood = Neighbourhood(self.taker, XorGeometry(), replicas=3, size=15)
        self.asked: list[Pull] = []
        self.distrusted: list[str] = []
        self.results: list[PullReply | PeerstackError] = []
        self.timers: deque[tuple[float, Callable[[], None]]] = deque()
        self._mangle = mangle
        self._around = Neighbourhood(self.source, XorGeometry(), replicas=3, size=15)
        self._full = MemoryStore(rules())
        self._full.merge(RECORDS, source=source_of(SourceKind.PULL), now=NOW, done=lambda _outcomes: None)
        self._waiting: deque[tuple[Pull, RpcDone]] = deque()
        self.parts = PullParts(
            hood=self.hood,
            store=self.store,
            namespaces=NAMESPACES,
            rpc=self,
            outside=self,
            timeout=1.0,
            distrust=lambda _source, why: self.distrusted.append(why),
        )

    def request(self, _peer: Contact, message: Request, _timeout: float, done: RpcDone) -> None:
        assert isinstance(message, Pull)
        self.asked.append(message)
        self._waiting.append((message, done))

    def time(self) -> float:
        return 0.0

    def wall_us(self) -> int:
        return NOW

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        self.timers.append((delay, callback))
        return lambda: None

    def random_bits(self, _count: int) -> int:
        return 0

    def answer_all(self) -> None:
        while self._waiting:
            request, done = self._waiting.popleft()
            page = cut_page(self._around, self._full, self.taker.key, request, NOW)
            reply = PullReply(page.records, Standing(True, (self.source,)), False, page.next, (0.0,), digest=page.digest)
            done(self._mangle(len(self.asked) - 1, reply), 0.0)

    def pull(self) -> PullReply | PeerstackError:
        PullFrom(self.source, self.parts, self.results.append).start()
        self.answer_all()
        (result,) = self.results
        return result

    def lacking(self) -> int:
        return sum(self.store.get(record.slot, now=NOW) is None for record in RECORDS)


def leave_one_out(reply: PullReply) -> PullReply:
    return dataclasses.replace(reply, records=reply.records[1:])


def pages() -> int:
    """How many a true pull takes."""
    pulled = Pulled()
    assert isinstance(pulled.pull(), PullReply)
    return len(pulled.asked)


def test_a_true_source_is_asked_for_every_page_once() -> None:
    pulled = Pulled()
    assert isinstance(pulled.pull(), PullReply)
    assert (pulled.lacking(), pulled.distrusted) == (0, [])
    cursors = [request.after for request in pulled.asked]
    assert len(cursors) == 4
    assert len(set(cursors)) == len(cursors)


def test_a_page_that_lacks_a_record_is_asked_for_again() -> None:
    pulled = Pulled(lambda before, reply: leave_one_out(reply) if before in (1, 2) else reply)
    assert isinstance(pulled.pull(), PullReply)
    assert (pulled.lacking(), pulled.distrusted) == (0, [])
    assert len(pulled.asked) == pages() + 2


def test_a_source_that_always_leaves_out_a_record_has_not_answered() -> None:
    pulled = Pulled(lambda _before, reply: leave_one_out(reply))
    assert isinstance(pulled.pull(), PeerstackError)
    assert len(pulled.asked) == 3
    assert len(pulled.distrusted) == 1


def test_a_page_that_passes_for_the_last_one_has_not_the_digest_of_one() -> None:
    pulled = Pulled(lambda _before, reply: dataclasses.replace(reply, next=None))
    assert isinstance(pulled.pull(), PeerstackError)
    assert len(pulled.asked) == 3


def test_without_a_digest_nothing_is_verified() -> None:
    pulled = Pulled(lambda _before, reply: dataclasses.replace(reply, digest=b""))
    assert isinstance(pulled.pull(), PeerstackError)


def test_what_our_store_lost_is_asked_for_again() -> None:
    pulled = Pulled(store=Forgetful(drops=12))
    assert isinstance(pulled.pull(), PullReply)
    assert (pulled.lacking(), pulled.distrusted) == (0, [])


def test_a_store_that_keeps_losing_records_makes_no_source_count() -> None:
    pulled = Pulled(store=Forgetful(drops=1000))
    assert isinstance(pulled.pull(), PeerstackError)
    assert len(pulled.asked) == 3


def test_a_full_store_has_not_taken_over() -> None:
    pulled = Pulled(store=MemoryStore(rules(max_records=20)))
    assert isinstance(pulled.pull(), PeerstackError)
    assert "full" in pulled.distrusted[0]


def test_a_greater_record_held_already_does_for_the_sources() -> None:
    pulled = Pulled()
    greater = [WRITER.put(record.slot, b"greater", at=NOW + 1) for record in RECORDS[::2]]
    pulled.store.merge(greater, source=source_of(SourceKind.CLIENT), now=NOW, done=lambda _outcomes: None)
    assert isinstance(pulled.pull(), PullReply)
    assert (len(pulled.asked), pulled.distrusted) == (pages(), [])


def test_a_source_that_cannot_be_verified_is_waited_for_and_asked_anew_after_pauses_that_grow() -> None:
    truthful = False
    pulled = Pulled(lambda _before, reply: reply if truthful else leave_one_out(reply))
    pulled.hood.count_in(pulled.source, 0.0)
    ended: list[bool] = []
    takeover = TakeOver(pulled.parts, settled=False, retry=1.0, forget=60.0, meet=lambda _contact: None, done=ended.append)
    takeover.proceed()
    for pause_s in (1.0, 2.0, 4.0, 4.0):
        pulled.answer_all()
        assert not ended
        assert not any(pulled.hood.is_authoritative(int.from_bytes(record.position, "big")) for record in RECORDS)
        delay, rested = pulled.timers.popleft()
        assert delay == pause_s
        rested()
    truthful = True
    pulled.answer_all()
    assert ended == [True]
    assert pulled.lacking() == 0
