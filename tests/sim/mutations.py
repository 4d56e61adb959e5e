"""``python -m tests.sim.mutations``: put a known defect back, one at a time, and see that a schedule catches it.

Each mutant runs in a process of its own. It is caught when its schedule, which correct code passes, finds the promise broken that the
defect is said to break. A mutant that lives is a hole in the tests, or the rule it takes out is not needed; one that breaks down in another
way proves nothing. Either fails the run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.sim import defects, defects_of_rings
from tests.sim.defect import Defect, Patch
from tests.sim.schedule import perform
from tests.sim.schedules import SCHEDULES

__all__ = ["MUTATIONS", "PAGE", "Mutation", "page"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "mutations.md"

_PARALLEL: Final = 2
_TIMEOUT_S: Final = 120
_WIDTH: Final = 240
_CAUGHT, _LIVES, _BROKEN = 0, 3, 4  # what the process exits with; 1 and 2 are Python's own
_TOLD: Final = {_CAUGHT: "caught", _LIVES: "LIVES", _BROKEN: "BROKEN"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defect, and how it shows."""

    what: str
    origin: str
    """Where it was seen, or the rule it takes out."""
    shows: Mapping[str, str]
    """In which schedules, and as what: the oracle's name for the promise broken, or ``promise`` where the schedule asserts it itself."""
    defect: Defect


@dataclass(frozen=True, slots=True)
class _Verdict:
    code: int
    told: str


_RULES: Final = {
    "renew-as-new": Mutation(
        "a renewal gets a new version", "rule", {"a renewal changes the end and nothing else": "no_phantom"}, defects.renew_as_new
    ),
    "renew-the-ended": Mutation(
        "a record is renewed after its acknowledged expiry",
        "rule",
        {"what has ended is not renewed into life": "promise"},
        defects.renew_the_ended,
    ),
    "forget-the-ended": Mutation(
        "no `remember_until`: the header goes with its value",
        "rule",
        {"an ended value keeps older ones away": "no_return"},
        defects.forget_the_ended,
    ),
    "dead-is-no": Mutation(
        "a dead header is answered as a no", "rule", {"an ended value keeps older ones away": "no_return"}, defects.dead_is_no
    ),
    "joiners-word": Mutation(
        "a joiner's no or acknowledgement counts",
        "rule, chord-dht",
        {"the no of a newcomer does not count": "truthful", "the acknowledgement of a newcomer does not count": "monotone"},
        defects.everybody_counts,
    ),
    "majority-of-found": Mutation(
        "a majority is of the peers found", "rule", {"unreachable holders still count": "monotone"}, defects.majority_of_found
    ),
    "one-source": Mutation(
        "a takeover ends after one source", "rule", {"the no of a newcomer does not count": "truthful"}, defects.one_source
    ),
    "unverified": Mutation(
        "a takeover does not verify what it is handed: a source leaves out a record, or the store loses what it took",
        "rule",
        {
            "a source that leaves out a record makes nobody speak": "truthful",
            "a store that loses what it took makes nobody speak": "truthful",
        },
        defects.take_over_unverified,
    ),
    "named-late": Mutation(
        "a source names who takes over only once everything is handed over",
        "rule",
        {"a write between two pages of a takeover is not lost": "monotone"},
        defects.name_when_done,
    ),
    "saved-late": Mutation(
        "a source hands over to somebody new before it has saved that it counts it",
        "rule",
        {"a source that dies once its first page has left names the newcomer": "monotone"},
        defects.save_when_there_is_time,
    ),
    "drop-at-the-first": Mutation(
        "a displaced copy is dropped before all of the responsible set confirmed it",
        "rule",
        {"a displaced copy stays until everybody responsible has it": "durable"},
        defects.drop_at_the_first,
    ),
    "get-then-put": Mutation(
        "the store reads, then writes", "rule", {"of two writes that meet in a store the later stands": "monotone"}, defects.get_then_put
    ),
    "skip-uncompared": Mutation(
        "replication skips what was offered without comparing it",
        "rule, Kademlia 2.5",
        {"a stale holder that offers first does not silence the others": "monotone"},
        defects.skip_uncompared,
    ),
}
"""The rules that an acknowledged write rests on, taken out one at a time."""

_FOREIGN: Final = {
    "restart-the-life": Mutation(
        "a holder starts the time to live anew on receipt",
        "go, py",
        {"a value ends when its writer said": "expiry"},
        defects.holder_restarts_the_life,
    ),
    "last-writer-wins": Mutation(
        "a put overwrites without comparing", "js, rust, py", {"a record sent again replaces nothing": "monotone"}, defects.last_writer_wins
    ),
    "refused-sets-the-end": Mutation(
        "an older write that is refused shortens the newer one's life",
        "hivemind",
        {"an older write that is refused does not shorten the newer": "durable"},
        defects.refused_write_sets_the_end,
    ),
    "sweep-the-living": Mutation(
        "the sweeper takes the living and keeps the dead",
        "purehyperbole",
        {"sweeping takes nothing that lives": "durable"},
        defects.sweep_the_living,
    ),
    "first-hop-only": Mutation(
        "whoever is named in an answer passes for who answered, so that no read goes beyond the first hop",
        "purehyperbole",
        {"a value is found from everywhere": "promise"},
        defects.first_hop_only,
    ),
    "no-lookup": Mutation(
        "put and get use the closest peers known, without a lookup",
        "py",
        {"a value is found from everywhere": "promise"},
        defects.no_lookup,
    ),
    "own-copy-first": Mutation(
        "a node's own copy is the answer", "py, chord-dht", {"an own copy is one answer of several": "monotone"}, defects.own_copy_first
    ),
    "hash-of-hash": Mutation(
        "a handoff compares the hash of a hash",
        "bmuller",
        {"newcomers are given what they have to hold": "promise"},
        defects.hand_over_by_hash_of_hash,
    ),
    "no-tombstone": Mutation(
        "a delete leaves nothing behind", "chord-dht", {"a deleted value stays away": "no_return"}, defects.delete_without_tombstone
    ),
    "refresh-anywhere": Mutation(
        "buckets are refreshed by ids outside their range", "py", {"a newcomer fills every bucket": "promise"}, defects.refresh_anywhere
    ),
    "clients-are-servers": Mutation(
        "whoever asks is entered as a server", "py", {"no client is in a table": "tables"}, defects.whoever_asks_is_a_server
    ),
    "failed-repair": Mutation(
        "one repair that fails fails the whole get",
        "js",
        {"a repair that fails ends no read": "durable"},
        defects.failed_repair_fails_the_get,
    ),
    "announce-every-minute": Mutation(
        "all provider keys are announced every minute",
        "py",
        {"what is provided is announced once a day": "promise"},
        defects.announce_every_minute,
    ),
    "quorum-and-one": Mutation(
        "a read quorum asks for one answer more", "go", {"a read does not need everybody": "durable"}, defects.quorum_and_one
    ),
    "unreachable-aborts": Mutation(
        "one unreachable replica ends a get", "chord-dht", {"a refused connection ends no read": "durable"}, defects.unreachable_aborts
    ),
    "never-replicate": Mutation(
        "values are not replicated again",
        "go, js, py",
        {"what one holder missed it is sent in the next round": "monotone"},
        defects.never_replicate,
    ),
    "leave-empty-handed": Mutation(
        "who leaves hands nothing over", "go, rust, js, py", {"who leaves hands over first": "durable"}, defects.leave_empty_handed
    ),
    "one-acknowledgement": Mutation(
        "one acknowledgement is success",
        "bmuller, hivemind",
        {"one acknowledgement is no majority": "monotone"},
        defects.one_acknowledgement,
    ),
    "put-never-fails": Mutation(
        "a put succeeds whoever stored it", "go, py", {"a put that nobody stored says so": "promise"}, defects.put_never_fails
    ),
}
"""What other stacks do, or did."""

_MORE: Final = {
    "acknowledge-first": Mutation(
        "a write is acknowledged before it is committed",
        "rule",
        {"what is acknowledged is committed": "truthful"},
        defects.acknowledge_first,
    ),
    "keep-authority": Mutation(
        "who was cut off still counts",
        "rule",
        {"who was cut off does not count when it is back": "monotone"},
        defects.keep_authority,
    ),
    "forget-on-return": Mutation(
        "who is back forgets at once whom it has not heard yet",
        "rule",
        {"who is back waits to hear of the others": "monotone"},
        defects.forget_on_return,
    ),
    "no-restamp": Mutation(
        "a superseded put is not stamped anew", "rule", {"a put gets past a faster clock": "promise"}, defects.no_restamp
    ),
    "serve-the-ended": Mutation(
        "values are served after their end", "rule", {"a value ends when its writer said": "expiry"}, defects.serve_the_ended
    ),
}
"""Further rules."""

_RING: Final = {
    "ring-upkeep-once": Mutation(
        "a periodic task runs once", "chord-dht", {"a ring closes over its dead": "ring"}, defects_of_rings.upkeep_runs_once
    ),
    "ring-no-check": Mutation(
        "whether the predecessor lives is never checked",
        "chord-dht, Chord's first paper",
        {"a ring closes over its dead": "ring"},
        defects_of_rings.predecessor_unchecked,
    ),
    "ring-no-notify": Mutation(
        "who joins knows no predecessor, and a successor without one is not notified",
        "chord-dht",
        {"a newcomer is known on either side": "ring"},
        defects_of_rings.silent_without_predecessor,
    ),
    "ring-join-empty": Mutation(
        "who joins copies no records",
        "chord-dht",
        {"newcomers are given what they have to hold on a ring": "promise"},
        defects_of_rings.join_empty_handed,
    ),
    "ring-aborts": Mutation(
        "one unreachable replica ends a get",
        "chord-dht",
        {"a refused connection ends no read on a ring": "durable"},
        defects_of_rings.unreachable_ends_a_read,
    ),
    "ring-own-copy-first": Mutation(
        "a node's own copy is the answer",
        "chord-dht",
        {"an own copy is one answer of several on a ring": "monotone"},
        defects.own_copy_first,
    ),
    "ring-no-tombstone": Mutation(
        "a delete leaves nothing behind",
        "chord-dht",
        {"a deleted value stays away on a ring": "no_return"},
        defects.delete_without_tombstone,
    ),
    "ring-no-version": Mutation(
        "replication overwrites without comparing",
        "chord-dht",
        {"a record sent again replaces nothing on a ring": "monotone"},
        defects.last_writer_wins,
    ),
    "ring-fingers-stay": Mutation(
        "fingers never drop the dead", "chord-dht", {"a lookup meets nobody who is long dead": "promise"}, defects_of_rings.fingers_stay
    ),
    "ring-no-hop-bound": Mutation(
        "a lookup's way has no bound", "chord-dht", {"a liar does not lead a lookup on for ever": "promise"}, defects_of_rings.no_hop_bound
    ),
    "ring-sixteen-slots": Mutation(
        "sixteen others are served, the rest never", "chord-dht", {"a server answers everybody": "promise"}, defects_of_rings.sixteen_slots
    ),
    "ring-never-not-member": Mutation(
        "who restarted answers as if it were still a member",
        "rule",
        {"who comes back is no member before it has joined": "promise"},
        defects_of_rings.never_not_member,
    ),
    "ring-unverified": Mutation(
        "a takeover does not verify what it is handed: a source leaves out a record, or pages, or the store loses what it took",
        "rule",
        {
            "a source that leaves out a record makes nobody speak on a ring": "truthful",
            "a store that loses what it took makes nobody speak on a ring": "truthful",
            "who takes over has every page": "promise",
        },
        defects.take_over_unverified,
    ),
}
"""What a ring can do wrong, and what was seen in one."""

MUTATIONS: Final = {**_RULES, **_FOREIGN, **_MORE, **_RING}


def main() -> int:
    """Try all, or some, or one in this process."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutations", description="Put known defects back, and see what catches them.")
    parser.add_argument("names", nargs="*", metavar="MUTATION", help=f"of {', '.join(MUTATIONS)}; default all")
    parser.add_argument("--here", action="store_true", help="in this process")
    parser.add_argument("--schedule", choices=SCHEDULES, metavar="SCHEDULE", help="play this schedule instead")
    parser.add_argument("--seed", type=int, default=0, help="of the network")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}, if all are caught")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MUTATIONS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    names = arguments.names or list(MUTATIONS)
    if arguments.here:
        return max(_try(MUTATIONS[name], arguments.schedule, arguments.seed) for name in names)
    caught = 0
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for name, verdict in zip(names, pool.map(lambda name: _try_apart(name, arguments.seed), names), strict=True):
            caught += verdict.code == _CAUGHT
            print(f"{name:22}{_TOLD[verdict.code]:8}{verdict.told}", flush=True)  # noqa: T201
    print(f"{caught} of {len(names)} are caught")  # noqa: T201
    if arguments.write and caught == len(MUTATIONS):
        PAGE.write_text(page(), encoding="utf-8")
    return 0 if caught == len(names) else 1


def _try(mutation: Mutation, schedule: str | None, seed: int) -> int:
    """Play one mutant in this process; the last line printed tells what came of it."""
    shows = mutation.shows if schedule is None else {schedule: mutation.shows.get(schedule, "")}
    patch = Patch()
    mutation.defect(patch)
    try:
        return max(_play(each, seed, breaks) for each, breaks in shows.items())
    finally:
        patch.undo()


def _play(schedule: str, seed: int, breaks: str) -> int:
    try:
        violations = perform(SCHEDULES[schedule], seed)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is not the promise broken)
        print(f"{schedule}: breaks down: {error!r}"[:_WIDTH])  # noqa: T201
        return _BROKEN
    expected = [violation for violation in violations if violation.startswith(breaks)]
    told = (expected or violations or ["every promise is kept"])[0]
    print(f"{schedule}: {told}"[:_WIDTH])  # noqa: T201
    return _CAUGHT if expected else _BROKEN if violations else _LIVES


def _try_apart(name: str, seed: int) -> _Verdict:
    command = [sys.executable, "-m", "tests.sim.mutations", "--here", name, "--seed", str(seed)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return _Verdict(_BROKEN, "never ends")
    told = run.stdout.strip().splitlines()
    if not told or run.returncode not in (_CAUGHT, _LIVES, _BROKEN):
        return _Verdict(_BROKEN, (run.stderr.strip() or "says nothing").splitlines()[-1])
    return _Verdict(run.returncode, "; ".join(told))


_AS: Final = {
    "no_phantom": "a version nobody wrote",
    "no_return": "an older value comes back",
    "truthful": "a holder's word is not true",
    "monotone": "an acknowledged write is undone",
    "durable": "an acknowledged value is not found",
    "expiry": "a value outlives its time",
    "tables": "a client in a routing table",
    "ring": "somebody stands where it does not belong",
    "promise": "the schedule's own assertion",
}


def page() -> str:
    """The table as a page of the documentation."""
    return "\n".join(
        [
            "# Defects put back on purpose",
            "",
            "`make mutations` puts known defects into the DHT plugins and the rules they share, one at a time and each in a process",
            "of its own, plays the schedule that is built around the step where the defect shows, and fails unless every one is caught",
            "as this table says. Correct code passes the same schedules in `make test`. The schedules stand in",
            "`tests/sim/schedules_of_*.py`, the defects in `defects.py` and `defects_of_rings.py`; `python -m tests.sim.mutations --write`",
            "writes this page.",
            "",
            *_table("The rules", "Each rule that an acknowledged write rests on, taken out.", _RULES.values()),
            "",
            *_table(
                "Other stacks", "What other DHTs do or did, as read in their code in 2026; they may have changed since.", _FOREIGN.values()
            ),
            "",
            *_table("More", "Further rules of ours.", _MORE.values()),
            "",
            *_table("Chord", "What a ring can do wrong, and what was seen in one; the schedules are played on a ring.", _RING.values()),
            "",
        ]
    )


def _table(title: str, about: str, mutations: Iterable[Mutation]) -> list[str]:
    rows = [
        f"| {each.what} | {each.origin} | {'; '.join(each.shows)} | {'; '.join(_AS[breaks] for breaks in each.shows.values())} |"
        for each in mutations
    ]
    return [f"## {title}", "", about, "", "| defect | from | caught by the schedule | as |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    sys.exit(main())
