"""The oracle sees every broken promise, and no kept one: on histories made up for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.sim.history import (
    Absence,
    Back,
    Copy,
    Crash,
    Cut,
    Event,
    Found,
    Healed,
    History,
    Left,
    Load,
    Operation,
    Outcome,
    Quiet,
    Read,
    Snapshot,
    Stand,
    Table,
    Write,
)
from tests.sim.oracle import Bounds, Oracle, Violation, availability

SLOT = (b"key", b"")


def oracle(**options: Any) -> Oracle:
    """Lower numbers are closer to every key."""
    return Oracle(
        lambda _slot, servers, count: sorted(servers)[:count], replicas=3, remember_s=1000, bounds=Bounds(accuracy=1.0), **options
    )


def write(number: int, *, at: float, value: bytes | None = None, **changes: object) -> Write:
    made = Write(
        slot=SLOT,
        node=9,
        start=at,
        end=at + 1,
        value=value or b"%d" % number,
        outcome=Outcome.OK,
        version=(number, b"w"),
        acked=(0, 1),
        held=(0, 1),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def found(number: int, *, at: float, confirmed: bool = True, expires_at: float = math.inf, **changes: object) -> Read:
    result = Found(b"%d" % number, (number, b"w"), expires_at, confirmed)
    return replace(Read(slot=SLOT, node=8, start=at, end=at + 1, result=result), **changes)  # type: ignore[arg-type]


def nothing(*, at: float, why: Absence = Absence.NOT_FOUND, **changes: object) -> Read:
    return replace(Read(slot=SLOT, node=8, start=at, end=at + 1, result=why), **changes)  # type: ignore[arg-type]


def broken(*operations: Write | Read | Event | Snapshot, **options: float) -> list[str]:
    history = History()
    for each in operations:
        if isinstance(each, Write):
            history.writes.append(each)
        elif isinstance(each, Read):
            history.reads.append(each)
        elif isinstance(each, Snapshot):
            history.snapshots.append(each)
        else:
            history.events.append(each)
    return [violation.invariant for violation in oracle(**options).judge(history)]


DELETED = write(2, at=10)
DELETED.value = None
W1, W2 = write(1, at=0), write(2, at=10)
UNDECIDED = write(2, at=10, outcome=Outcome.UNDECIDED, acked=(0,))

VIOLATIONS: list[tuple[str, str, list[Write | Read | Event | Snapshot]]] = [
    ("a value nobody wrote", "no_phantom", [W1, found(7, at=5)]),
    ("a value before it was written", "no_phantom", [found(1, at=-5), W1]),
    ("another version's value", "no_phantom", [W1, W2, found(2, at=20, result=Found(b"1", (2, b"w"), math.inf, True))]),
    ("a write that was refused", "no_phantom", [write(1, at=0, outcome=Outcome.NOT_WRITTEN), found(1, at=5)]),
    ("a lost value", "durable", [W1, nothing(at=5)]),
    ("a lost value after one of two crashed", "durable", [W1, Crash(2, 0), nothing(at=5)]),
    ("unreadable although quiet", "durable", [W1, nothing(at=5, why=Absence.UNAVAILABLE, quiescent=True)]),
    ("unsure although quiet", "durable", [W1, found(1, at=5, confirmed=False, quiescent=True)]),
    ("lost though repaired before", "durable", [W1, Crash(2, 0), Quiet(5, (1, 2, 3)), Crash(6, 1), Crash(6, 2), nothing(at=8)]),
    ("lost by a graceful leave", "durable", [W1, Left(2, 0, True, (1, 2, 3)), Crash(3, 1), nothing(at=8)]),
    ("lost with a disk that came back", "durable", [W1, Crash(2, 0, False), Crash(2, 1), Back(4, 0), nothing(at=8)]),
    ("lost on the guardians' side", "durable", [W1, Cut(2, frozenset({1, 8})), nothing(at=5)]),
    ("lost after all healed", "durable", [W1, Cut(2, frozenset({0, 1})), Healed(4), Quiet(6, (0, 1, 2)), nothing(at=8)]),
    ("a rolled back value", "monotone", [W1, W2, found(1, at=20)]),
    ("rolled back after another reader saw it", "monotone", [W1, W2, found(2, at=20, quiescent=True), found(1, at=30, quiescent=True)]),
    ("a deleted value came back", "no_return", [W1, DELETED, found(1, at=20)]),
    ("what an expired value replaced came back", "no_return", [W1, write(2, at=10, expires_at=15), found(1, at=20)]),
    ("a dead value was read", "expiry", [write(1, at=0, expires_at=10), found(1, at=20, expires_at=10)]),
    ("a value's end moved", "expiry", [write(1, at=0, expires_at=10), found(1, at=5, expires_at=99)]),
    ("a value's end moved closer", "expiry", [write(1, at=0, expires_at=90), found(1, at=5, expires_at=50)]),
    ("an acknowledgement without the record", "truthful", [write(1, at=0, held=(0,))]),
    ("denied by its holders", "truthful", [W1, nothing(at=5, holders=(0,))]),
    (
        "a dead value in a store",
        "expiry",
        [write(1, at=0, expires_at=10), Snapshot(time=99, servers={}, copies=[Copy(0, SLOT, (1, b"w"), 10, True)])],
    ),
    ("a phantom in a store", "no_phantom", [Snapshot(time=99, servers={}, copies=[Copy(0, SLOT, (1, b"w"), math.inf, True)])]),
    (
        "an empty bucket",
        "tables",
        [Snapshot(time=9, servers={0: 0, 1: 1 << 255, 2: 1, 3: 2, 4: 3}, tables=[Table(0, 0, {254: (3, 4), 255: (2,)})])],
    ),
    ("a stranger nearby", "tables", [Snapshot(time=9, servers={0: 0, 2: 2, 3: 3}, tables=[Table(0, 0, {254: (3,)})])]),
    ("a client in a table", "tables", [Snapshot(time=9, servers={0: 0}, clients=frozenset({7}), tables=[Table(0, 0, {0: (7,)})])]),
    ("too many requests", "bounded", [Snapshot(time=9, servers={}, loads=[Load(0, 1000, 0, 0, 0)])]),
    ("too many timers", "bounded", [Snapshot(time=9, servers={}, loads=[Load(0, 0, 5000, 0, 0)])]),
]


@pytest.mark.parametrize(("invariant", "history"), [case[1:] for case in VIOLATIONS], ids=[case[0] for case in VIOLATIONS])
def test_a_broken_promise_is_seen(invariant: str, history: list[Write | Read | Event | Snapshot]) -> None:
    assert invariant in broken(*history)


KEPT: list[tuple[str, list[Write | Read | Event | Snapshot]]] = [
    ("what was written is read", [W1, found(1, at=5), W2, found(2, at=20)]),
    ("a read during a write sees either", [W1, replace(W2, end=30.0), found(1, at=20), found(2, at=20)]),
    ("an undecided write is seen or not", [W1, UNDECIDED, found(1, at=20), found(2, at=25)]),
    ("a vanished write is seen", [W1, write(3, at=10, outcome=Outcome.VANISHED, version=None), found(3, at=20)]),
    ("a vanished delete hides", [W1, replace(DELETED, outcome=Outcome.VANISHED, version=None), nothing(at=20)]),
    ("more crashed than promised", [W1, Crash(2, 0), Crash(3, 1), nothing(at=5)]),
    (
        "what the lost one replaced is lost with it",
        [W1, write(2, at=10, acked=(3, 4), held=(3, 4)), Crash(15, 3), Crash(15, 4), nothing(at=20)],
    ),
    ("a holder that crashed in between need not hold it", [write(1, at=0, held=(0,)), Crash(0.5, 1)]),
    ("an unsure read may be old", [W1, W2, found(1, at=20, confirmed=False)]),
    ("an unavailable read says nothing", [W1, nothing(at=5, why=Absence.UNAVAILABLE)]),
    ("the deleted is not found", [W1, DELETED, nothing(at=20, quiescent=True)]),
    ("the expired is not found", [write(1, at=0, expires_at=10), nothing(at=20, quiescent=True)]),
    ("a renewed value's end moves", [write(1, at=0, expires_at=10, renewable=True), found(1, at=20, expires_at=99)]),
    ("the other side knows nothing", [W1, Cut(2, frozenset({0, 1})), nothing(at=5), Healed(10), nothing(at=12)]),
    ("what is forgotten may come back", [W1, DELETED, found(1, at=5000)]),
    ("a whole table", [Snapshot(time=9, servers={0: 0, 1: 1 << 255, 2: 1}, tables=[Table(0, 0, {0: (1,), 255: (2,)})])]),
]


@pytest.mark.parametrize("history", [case[1] for case in KEPT], ids=[case[0] for case in KEPT])
def test_a_kept_promise_is_no_violation(history: list[Write | Read | Event | Snapshot]) -> None:
    assert broken(*history) == []


def test_clocks_that_differ_are_allowed_for() -> None:
    early = nothing(at=8, skew_s=5)
    mortal = write(1, at=0, expires_at=12)
    assert broken(mortal, early) == ["durable"]
    assert broken(mortal, early, skew_s=5.0) == []


def copies_of(*holders: int, version: int = 1) -> list[str]:
    copies = [Copy(holder, SLOT, (version, b"w"), math.inf, True) for holder in holders]
    history = History(writes=[W1], snapshots=[Snapshot(time=50, servers=dict.fromkeys(range(5), 0), copies=copies)])
    return [violation.text for violation in oracle().missing_copies(history)]


@pytest.mark.parametrize(
    ("see", "holders"),
    [
        (lambda texts: not texts, (0, 1, 2)),
        (lambda texts: "missing on [2]" in texts[0], (0, 1)),
        (lambda texts: "missing on [2]" in texts[0], (0, 1, 3)),
        (lambda texts: "outside its set by [4]" in texts[0], (0, 1, 2, 4)),
    ],
)
def test_copies_are_counted_in_the_true_set(see: Callable[[list[str]], bool], holders: tuple[int, ...]) -> None:
    assert see(copies_of(*holders))


def test_where_an_undecided_write_stands_instead_its_copies_are_counted() -> None:
    def misplaced(*copies: Copy) -> list[Violation]:
        history = History(writes=[W1, UNDECIDED], snapshots=[Snapshot(time=50, servers=dict.fromkeys(range(5), 0), copies=list(copies))])
        return oracle().missing_copies(history)

    newer = [Copy(holder, SLOT, (2, b"w"), math.inf, True) for holder in range(3)]
    assert not misplaced(*newer)
    assert misplaced(*newer[:2])
    assert misplaced(*newer[:2], Copy(2, SLOT, (1, b"w"), math.inf, True))
    assert not misplaced(*(replace(copy, has_value=False) for copy in newer[:1]))  # a delete, whose headers may lie where they are


def ring(*changed: Stand, size: int = 5, clients: frozenset[int] = frozenset()) -> list[str]:
    """What is said of a ring with r = 2 on which everybody stands where they belong, but for these."""
    mode = "ring" if size >= 4 else "forming"
    around = [[*range(node + 1, size), *range(node)] for node in range(size)]
    stands = {node: Stand(node, mode, around[node][-1], tuple(around[node][:2]), frozenset()) for node in range(size)}
    stands |= {stand.node: stand for stand in changed}
    snapshot = Snapshot(time=50, servers={node: 10 * node for node in range(size)}, clients=clients, stands=[*stands.values()])
    return [str(violation) for violation in oracle(r=2).judge(History(snapshots=[snapshot]))]


@pytest.mark.parametrize("size", [3, 4, 5])
def test_on_an_ideal_ring_there_is_nothing_to_say(size: int) -> None:
    assert not ring(size=size)


@pytest.mark.parametrize(
    "stand",
    [
        Stand(1, "ring", 4, (2, 3), frozenset()),
        Stand(1, "ring", 0, (3, 4), frozenset()),
        Stand(1, "ring", 0, (2,), frozenset()),
        Stand(1, "forming", 0, (2, 3), frozenset()),
        Stand(1, "outside", None, (), frozenset()),
    ],
)
def test_who_stands_elsewhere_on_a_ring_than_where_it_belongs_is_seen(stand: Stand) -> None:
    (told,) = ring(stand)
    assert told.startswith("ring at 50.000 s: node 1")


def test_a_client_that_a_ring_names_is_seen() -> None:
    (told,) = ring(Stand(1, "ring", 0, (2, 3), frozenset({8})), clients=frozenset({8}))
    assert "names clients [8]" in told


def test_only_the_invariants_named_are_judged() -> None:
    history = History(writes=[W1], reads=[nothing(at=5), found(7, at=5)])
    assert {violation.invariant for violation in oracle().judge(history)} == {"durable", "no_phantom"}
    assert {violation.invariant for violation in oracle().judge(history, {"no_phantom"})} == {"no_phantom"}


def operation(*, at: float = 5, down: int = 0, is_read: bool = True, found: bool = True, sure: bool = True) -> Operation:
    return Operation(slot=SLOT, node=8, start=at, end=at + 1, is_read=is_read, down=down, found=found, sure=sure)


def counted(*operations: Operation, events: tuple[Event, ...] = ()) -> tuple[int, ...]:
    seen = oracle().availability(History(writes=[W1], operations=list(operations), events=list(events)))
    return seen.found, seen.reads, seen.sure, seen.sure_reads, seen.acknowledged, seen.writes


def test_an_operation_counts_while_the_promise_covers_it() -> None:
    assert counted(operation(), operation(found=False, sure=False)) == (1, 2, 1, 2, 0, 0)
    assert counted(operation(sure=False)) == (1, 1, 0, 1, 0, 0)
    assert counted(operation(is_read=False), operation(is_read=False, sure=False)) == (0, 0, 0, 0, 1, 2)


def test_with_a_majority_down_a_guarded_value_has_to_be_read_but_need_not_be_sure() -> None:
    assert counted(operation(down=2, sure=False)) == (1, 1, 0, 0, 0, 0)
    assert counted(operation(down=2, is_read=False, sure=False)) == (0, 0, 0, 0, 0, 0)
    assert counted(operation(down=2, found=False, sure=False), events=(Crash(2, 0), Crash(3, 1))) == (0, 0, 0, 0, 0, 0)


def test_availability_is_the_share_of_confirmed_reads() -> None:
    reads = [found(1, at=5), found(1, at=5, confirmed=False), nothing(at=5), nothing(at=5, why=Absence.UNAVAILABLE)]
    assert availability(History(reads=reads)) == 0.5
