"""Pages of what is handed over, beside a naive reference: one sorted list of everything that is owed."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_chord.geometry import RingGeometry
from peerstack_kad.geometry import XorGeometry

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.dht.replica.geometry import Geometry
from peerstack.dht.replica.messages import Pull
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.replica.pages import Page, cut_page, page_digest, shortfall
from peerstack.dht.store import MemoryStore, Rules
from peerstack.dht.store.contract import Cursor, Outcome, SourceKind, Status
from peerstack.identity import PeerId
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker, source_of

NAMESPACES = Namespaces()
RULES = Rules(namespaces=NAMESPACES, parameters=KADEMLIA_PRESETS["wan"])
WRITER = RecordMaker.from_number(1)
PULL = source_of(SourceKind.PULL)
WHOLE = {"kad": 0, "chord": (1 << KEY_BITS) - 1}
GEOMETRIES: dict[str, Geometry] = {"kad": XorGeometry(), "chord": RingGeometry()}


def store_of(*records: Record) -> MemoryStore:
    store = MemoryStore(RULES)
    store.merge(records, source=PULL, now=NOW, done=lambda _outcomes: None)
    return store


@cache
def many() -> tuple[MemoryStore, tuple[Record, ...]]:
    """700 records, of keys with one subkey and of keys with two hundred, a few of them large."""
    slots = [Slot("kv", b"key %d" % number) for number in range(100)]
    slots += [Slot("kv", b"set %d" % number, b"%d" % subkey) for number in range(3) for subkey in range(200)]
    records = [WRITER.put(slot, bytes(30_000 if number % 9 == 0 and number < 100 else 10)) for number, slot in enumerate(slots)]
    return store_of(*records), tuple(sorted(records, key=cursor_of))


def cursor_of(record: Record) -> Cursor:
    return record.position, record.subkey


def hood(dht: str, seed: int) -> Neighbourhood:
    made = Neighbourhood(server(seed), GEOMETRIES[dht], replicas=2, size=10)
    for number in range(8):
        made.count_in(server(seed + 1 + number), 0.0)
    return made


def server(number: int) -> Contact:
    digest = hashlib.sha256(b"%d" % number).digest()
    return Contact(PeerId(b"\x00\x02" + digest[:2]), int.from_bytes(digest, "big"))


def pages(around: Neighbourhood, asker: int, region: int) -> list[tuple[Pull, Page]]:
    """Page after page, to the end."""
    found: list[tuple[Pull, Page]] = []
    request = Pull(region, settled=False)
    while True:
        page = cut_page(around, many()[0], asker, request, NOW)
        found.append((request, page))
        if page.next is None:
            return found
        request = Pull(region, settled=False, after=page.next)


@given(dht=st.sampled_from(["kad", "chord"]), seed=st.integers(0, 50), narrow=st.integers(0, 2))
@settings(max_examples=40)
def test_pages_are_together_all_that_is_owed_and_each_has_the_digest_of_its_stretch(dht: str, seed: int, narrow: int) -> None:
    around, asker = hood(dht, seed), server(seed + 1).key
    region = narrow if dht == "kad" else WHOLE[dht] >> narrow
    ranges = around.geometry.ranges(asker, region)
    owed = [
        record
        for record in many()[1]
        if any(low <= record.position and (high is None or record.position < high) for low, high in ranges)
        and around.rank_of(asker, int.from_bytes(record.position, "big")) < 4
    ]
    cut = pages(around, asker, region)
    assert [record for _, page in cut for record in page.records] == owed
    for request, page in cut:
        between = [
            record
            for record in owed
            if (request.after is None or cursor_of(record) > request.after) and (page.next is None or cursor_of(record) <= page.next)
        ]
        assert page.digest == page_digest(request.after, page.next, between)


class Skips(MemoryStore):
    """A store whose pages leave something out at a cursor, as a mistake in walking would."""

    def scan(self, low: bytes, high: bytes | None, *, now: int, after: Cursor | None = None, limit: int = 256) -> list[Record]:
        found = super().scan(low, high, now=now, after=after, limit=limit)
        return found if after is None else found[1:]


def test_the_digest_shows_a_record_that_paging_passes_over() -> None:
    store = Skips(RULES)
    store.merge(many()[1], source=PULL, now=NOW, done=lambda _outcomes: None)
    alone = Neighbourhood(server(0), XorGeometry(), replicas=2, size=10)
    first = cut_page(alone, store, server(1).key, Pull(0, settled=False), NOW)
    assert first.digest == page_digest(None, first.next, first.records)
    second = cut_page(alone, store, server(1).key, Pull(0, settled=False, after=first.next), NOW)
    assert second.digest != page_digest(first.next, second.next, second.records)


def test_a_digest_is_of_one_stretch_and_its_records_in_order() -> None:
    one, two = many()[1][:2]
    variants = [
        page_digest(None, None, []),
        page_digest(cursor_of(one), None, []),
        page_digest(None, cursor_of(one), []),
        page_digest(None, None, [one]),
        page_digest(None, None, [one, two]),
        page_digest(None, None, [two, one]),
    ]
    assert len(set(variants)) == len(variants)


SLOT = Slot("kv", b"key")
OLD, NEW = WRITER.put(SLOT, b"old"), WRITER.put(SLOT, b"new", at=NOW + 1)


@pytest.mark.parametrize(
    ("held", "status", "now"),
    [
        (OLD, Status.STORED, NOW),
        (NEW, Status.STORED, NOW),
        (OLD, Status.EQUAL, NOW),
        (NEW, Status.SUPERSEDED, NOW),
        (None, Status.FORGOTTEN, NOW),
        (None, Status.INVALID, NOW),
        (OLD, Status.STORED, NOW + HOUR),
    ],
)
def test_what_is_held_equal_or_greater_is_no_shortfall(held: Record | None, status: Status, now: int) -> None:
    store = store_of(*([] if held is None else [held]))
    assert shortfall(store, NAMESPACES, [OLD], [Outcome(status)], now) is None


@pytest.mark.parametrize("status", [Status.FULL, Status.CLOCK, Status.STORED])
def test_what_the_store_did_not_keep_is_a_shortfall(status: Status) -> None:
    assert shortfall(store_of(), NAMESPACES, [OLD], [Outcome(status)], NOW) is not None


def test_a_lesser_record_or_a_value_that_is_gone_is_a_shortfall() -> None:
    assert shortfall(store_of(OLD), NAMESPACES, [NEW], [Outcome(Status.STORED)], NOW) is not None
    without = OLD.without_value()
    headers = store_of()
    headers.merge([without], source=PULL, now=NOW + HOUR, done=lambda _outcomes: None)
    assert headers.get(SLOT, now=NOW) == without
    assert shortfall(headers, NAMESPACES, [OLD], [Outcome(Status.STORED)], NOW) is not None
    assert shortfall(headers, NAMESPACES, [without], [Outcome(Status.INVALID)], NOW) is not None
