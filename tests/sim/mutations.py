"""``python -m tests.sim.mutations``: put a known defect back, one at a time, and see which scenario catches it.

Each defect replaces one thing by name, in a process of its own. A mutant that every scenario lets live is a hole in the tests.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peerstack.dht import namespaces, policy
from peerstack.dht.quorum import GetTally, PutTally, Tally
from peerstack.dht.replica import holder, neighbourhood, renewal, takeover
from peerstack.dht.replica.messages import PutReply
from peerstack.dht.store import decision, memory
from peerstack.dht.store.contract import Outcome, Status
from tests.sim.play import play

__all__ = ["MUTATIONS", "Mutation"]

_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defect."""

    what: str
    scenarios: tuple[str, ...]
    """Where it should show, the likeliest first."""
    apply: Callable[[], None]


def _set(owner: Any, name: str, value: Any) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name} any more: the mutation has to follow")
    setattr(owner, name, value)


def _renew_as_new() -> None:
    def draft(record: Any, _acknowledged: int, now: int, parameters: Any) -> Any:
        life = policy.Lifetime(now + policy.default_lifetime_us(parameters), renewable=True)
        return policy.draft_record(record.slot, record.value, now, life, 0, parameters)

    _set(renewal, "draft_renewal", draft)


def _renew_the_dead() -> None:
    real = policy.draft_renewal
    _set(renewal, "renewal_due", lambda record, _parameters: record.expires_at + 1_000_000)
    _set(renewal, "draft_renewal", lambda record, _acknowledged, now, parameters: real(record, now + 1, now, parameters))


def _forget_the_dead() -> None:
    _set(namespaces.LatestVersion, "forget_at", lambda _self, record: record.expires_at)


def _dead_is_no() -> None:
    real = GetTally.answer

    def answer(self: Any, peer: Any, records: Any, **rest: Any) -> None:
        real(self, peer, [record for record in records if record.value is not None], **rest)

    _set(GetTally, "answer", answer)


def _everybody_counts() -> None:
    _set(neighbourhood.Neighbourhood, "is_authoritative", lambda _self, _position: True)


def _majority_of_found() -> None:
    _set(Tally, "members", property(lambda self: tuple(peer for peer in self.closest(self._placement.replicas) if peer in self._heard)))


def _one_acknowledgement() -> None:
    _set(Tally, "majority", property(lambda _self: 1))


def _one_source() -> None:
    def proceed(self: Any) -> None:
        if not self._over and self._hood._handed_over:
            self._over = True
            self._done(self._hood.end_takeover(self._gone))
        elif not self._over:
            for contact in self._hood.awaited()[:1]:
                if contact.key not in self._asking and contact.key not in self._resting:
                    self._pull(contact)

    _set(takeover.TakeOver, "proceed", proceed)


def _get_then_put() -> None:
    def decide(record: Any, _held: Any, *_rest: Any) -> Outcome:
        return Outcome(Status.STORED, record)

    _set(memory, "decide", decide)


def _acknowledge_first() -> None:
    real = holder.Holder._put

    def put(self: Any, source: Any, sender: Any, record: Any, respond: Any, wall_us: int) -> None:
        position = int.from_bytes(record.position, "big")
        respond(PutReply(None, self.standing(position)))
        real(self, source, sender, record, lambda _reply: None, wall_us)

    _set(holder.Holder, "_put", put)


def _sweep_the_living() -> None:
    real = decision.current

    def current(record: Any, now: int, rules: Any) -> Any:
        left = real(record, now, rules)
        return None if left is not None and not left.is_dead(now) and left.expires_at > now + 1_000_000_000 else left

    _set(memory, "current", current)


def _serve_the_dead() -> None:
    _set(memory, "current", lambda record, _now, _rules: record)
    _set(GetTally, "_live", lambda self, subkey, _now: self._merged.get(subkey))


def _holder_extends() -> None:
    real = decision.decide

    def decide(record: Any, *rest: Any) -> Outcome:
        return real(dataclasses.replace(record, expires_at=record.expires_at and record.expires_at + 600_000_000), *rest)

    _set(memory, "decide", decide)


def _replies_swallowed() -> None:
    _set(PutTally, "superseded_by", property(lambda _self: None))


MUTATIONS: dict[str, Mutation] = {
    "renew-as-new": Mutation("a renewal gets a new version", ("S12",), _renew_as_new),
    "renew-the-dead": Mutation("a record is renewed after its acknowledged expiry", ("S12",), _renew_the_dead),
    "forget-the-dead": Mutation("no remember_until: headers go with their values", ("S17", "S13", "S19"), _forget_the_dead),
    "dead-is-no": Mutation("a dead header is read as a no", ("S13", "S17"), _dead_is_no),
    "everybody-counts": Mutation("a joiner's no and acknowledgement count", ("S5", "S10e", "S6", "S13"), _everybody_counts),
    "majority-of-found": Mutation("the majority is of the peers that answered", ("S13", "S8m", "S7p"), _majority_of_found),
    "one-acknowledgement": Mutation("one acknowledgement is a majority", ("S13", "S7p", "S10"), _one_acknowledgement),
    "one-source": Mutation("a takeover ends after one source", ("S10e", "S5", "S7p"), _one_source),
    "get-then-put": Mutation("the store overwrites without comparing", ("S17", "S19"), _get_then_put),
    "acknowledge-first": Mutation("acknowledged before the commit", ("S10",), _acknowledge_first),
    "sweep-the-living": Mutation("the sweeper takes live values", ("S20", "S1"), _sweep_the_living),
    "serve-the-dead": Mutation("values are served after their end", ("S12", "S20"), _serve_the_dead),
    "holder-extends": Mutation("holders extend what they store", ("S12", "S20"), _holder_extends),
    "no-restamp": Mutation("a superseded put is not stamped anew", ("S11",), _replies_swallowed),
}


def main() -> int:
    """Try all, or play one."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutations")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--one", nargs=2, metavar=("MUTATION", "SCENARIO"))
    arguments = parser.parse_args()
    if arguments.one:
        name, scenario = arguments.one
        MUTATIONS[name].apply()
        try:
            report = play(scenario, 0, 24)
        except Exception as error:  # noqa: BLE001  (a mutant that breaks down is caught)
            print(f"caught: {error!r}"[:160])  # noqa: T201
            return 1
        print(f"caught: {report.violations[0]}"[:160] if report.violations else "lives")  # noqa: T201
        return 0 if report.ok else 1
    alive = 0
    for name in arguments.names or MUTATIONS:
        alive += not _caught(name)
    return 1 if alive else 0


def _caught(name: str) -> bool:
    for scenario in MUTATIONS[name].scenarios:
        command = [sys.executable, "-m", "tests.sim.mutations", "--one", name, scenario]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            print(f"{name:20} {scenario:5} caught: it never ends", flush=True)  # noqa: T201
            return True
        told = (run.stdout or run.stderr).strip().splitlines()[-1:]
        print(f"{name:20} {scenario:5} {told[0] if told else 'says nothing'}", flush=True)  # noqa: T201
        if run.returncode and told and told[0].startswith("caught"):
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
