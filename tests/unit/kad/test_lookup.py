from __future__ import annotations

from peerstack_kad.lookup import MAX_CLOSER, LookupProgress, LookupRules

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.identity import PeerId

OWN = 1 << 255


def contact(key: int) -> Contact:
    return Contact(PeerId(b"\x00\x02" + key.to_bytes(32, "big")[-2:]), key)


def contacts(*keys: int) -> list[Contact]:
    return [contact(key) for key in keys]


def lookup(*seeds: int, count: int = 3, parallelism: int = 2, rtt: dict[int, float] | None = None) -> LookupProgress:
    rules = LookupRules(
        count=count, parallelism=parallelism, timeout=lambda _: 5.0, patience=lambda _: 1.0, rtt=lambda each: (rtt or {}).get(each.key)
    )
    return LookupProgress(0, contacts(*seeds), rules, own=OWN, now=0.0)


def asked(progress: LookupProgress, now: float = 0.0) -> list[int]:
    return [ask.contact.key for ask in progress.next(now)]


def is_done(progress: LookupProgress) -> bool:
    return progress.done


def test_the_closest_are_asked_first_and_no_more_than_the_parallelism() -> None:
    progress = lookup(9, 3, 7, 5)
    assert asked(progress) == [3, 5]
    assert asked(progress) == []
    progress.on_reply(contact(3), [], 0.1)
    assert asked(progress) == [7]


def test_it_ends_when_the_closest_alive_have_all_answered() -> None:
    progress = lookup(4, 5, count=2)
    asked(progress)
    progress.on_reply(contact(4), contacts(1, 2), 0.1)
    assert not is_done(progress)
    assert asked(progress) == [1]
    progress.on_reply(contact(1), [], 0.2)
    assert asked(progress) == [2]
    progress.on_reply(contact(2), [], 0.3)
    assert progress.done
    assert progress.complete
    assert [each.key for each in progress.result()] == [1, 2]


def test_the_dead_are_passed_over() -> None:
    progress = lookup(1, 2, 3, count=2)
    asked(progress)
    progress.on_failure(contact(1), 0.1)
    progress.on_reply(contact(2), [], 0.1)
    assert asked(progress) == [3]
    progress.on_reply(contact(3), [], 0.2)
    assert [each.key for each in progress.result()] == [2, 3]
    assert progress.complete


def test_a_slow_peer_does_not_count_towards_the_parallelism_and_its_answer_is_still_used() -> None:
    progress = lookup(1, 2, 3, 4, count=4, parallelism=1)
    assert asked(progress) == [1]
    assert asked(progress, 0.5) == []
    assert progress.deadline() == 1.0
    assert asked(progress, 1.0) == [2]
    progress.on_reply(contact(1), contacts(0b100000), 1.5)
    assert [each.key for each in progress.result()] == [1]


def test_a_slow_peer_does_not_hold_up_what_has_converged_otherwise() -> None:
    progress = lookup(1, 2, 3, count=2, parallelism=3)
    asked(progress)
    progress.on_reply(contact(2), [], 0.1)
    assert [progress.converged] == [False]
    asked(progress, 1.0)
    progress.on_reply(contact(3), [], 1.1)
    assert progress.converged


def test_of_equally_useful_candidates_the_quicker_goes_first() -> None:
    progress = lookup(1, 2, 3, 4, count=4, parallelism=2, rtt={2: 0.01, 1: 0.5})
    assert asked(progress) == [2, 1]


def test_an_answer_may_name_only_so_many() -> None:
    progress = lookup(1, count=500, parallelism=500)
    asked(progress)
    progress.on_reply(contact(1), contacts(*range(2, 200)), 0.1)
    assert len(asked(progress)) == MAX_CLOSER


def test_nobody_is_asked_twice_nor_are_we() -> None:
    progress = lookup(1, 2)
    asked(progress)
    progress.on_reply(contact(1), [contact(1), contact(2), contact(OWN)], 0.1)
    progress.on_reply(contact(2), [contact(1)], 0.1)
    assert asked(progress) == []
    assert progress.done


def test_an_answer_that_was_not_asked_for_teaches_nothing() -> None:
    progress = lookup(1, 2, 3, parallelism=1)
    asked(progress)
    progress.on_reply(contact(3), contacts(7), 0.1)
    progress.on_reply(contact(99), contacts(8), 0.1)
    progress.on_reply(contact(1), [], 0.1)
    assert asked(progress) == [2]
    assert [each.key for each in progress.result()] == [1]


def test_it_ends_incomplete_where_nobody_answers_and_for_lack_of_anybody() -> None:
    progress = lookup(1, 2)
    assert not is_done(progress)
    asked(progress)
    for key in (1, 2):
        progress.on_failure(contact(key), 0.1)
    assert progress.done
    assert not progress.complete
    assert lookup().done


def test_it_ends_after_its_last_request() -> None:
    rules = LookupRules(count=20, parallelism=1, max_requests=3)
    progress = LookupProgress(0, contacts(1 << 20), rules, own=OWN, now=0.0)
    for turn in range(3):
        (ask,) = progress.next(0.0)
        progress.on_reply(ask.contact, contacts(1 << (19 - turn)), 0.0)
    assert progress.next(0.0) == []
    assert progress.done
    assert not progress.complete


def test_it_can_be_extended_to_more_of_the_closest() -> None:
    progress = lookup(1, 2, count=1)
    assert asked(progress) == [1]
    progress.on_reply(contact(1), [], 0.1)
    assert is_done(progress)
    progress.extend(3)
    assert not is_done(progress)
    assert asked(progress) == [2]
    progress.on_reply(contact(2), contacts(3), 0.1)
    assert asked(progress) == [3]


def test_the_trace_tells_whom_it_asked_and_through_whom_it_heard() -> None:
    progress = lookup(8, 9)
    asked(progress)
    progress.on_reply(contact(8), contacts(1, 9), 0.25)
    progress.on_failure(contact(9), 0.5, HopOutcome.UNREACHABLE)
    asked(progress, 0.5)
    progress.on_reply(contact(1), [], 0.75)
    assert [(hop.distance, hop.depth, hop.outcome, hop.learned) for hop in progress.trace(0.8)] == [
        (8, 1, HopOutcome.ANSWERED, 1),
        (9, 1, HopOutcome.UNREACHABLE, 0),
        (1, 2, HopOutcome.ANSWERED, 0),
    ]
    last = progress.trace(0.8)[2]
    assert (last.sent_at, last.seconds) == (0.5, 0.25)


def test_the_trace_tells_who_has_not_answered_yet() -> None:
    progress = lookup(8, 9)
    asked(progress)
    progress.on_reply(contact(9), [], 0.25)
    assert [(hop.outcome, hop.seconds) for hop in progress.trace(3.0)] == [(HopOutcome.PENDING, 3.0), (HopOutcome.ANSWERED, 0.25)]
