"""Small plays, each built around the one step in which a known defect would break a promise. Correct code keeps it.

A dozen servers, virtual time, and a `Stage` that loses or holds up exactly the requests that matter. The general oracle judges what was
written and read; a schedule asserts only what the oracle cannot know. In ``make test`` every one of them passes; `mutations` puts the
defects back and sees which fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tests.sim import schedules_of_answers, schedules_of_records, schedules_of_rings, schedules_of_servers, schedules_of_takeover
from tests.sim.schedule import REGISTERED, Schedule

__all__ = [
    "ON_A_RING",
    "SCHEDULES",
    "schedules_of_answers",
    "schedules_of_records",
    "schedules_of_rings",
    "schedules_of_servers",
    "schedules_of_takeover",
]

ON_A_RING: Final = (
    "a deleted value stays away",
    "a record sent again replaces nothing",
    "an own copy is one answer of several",
    "a refused connection ends no read",
    "a value is found from everywhere",
    "newcomers are given what they have to hold",
    "the no of a newcomer does not count",
    "the acknowledgement of a newcomer does not count",
    "unreachable holders still count",
    "who was cut off does not count when it is back",
    "who is back waits to hear of the others",
    "what one holder missed it is sent in the next round",
    "a displaced copy stays until everybody responsible has it",
    "what is acknowledged is committed",
    "who leaves hands over first",
    "a source that leaves out a record makes nobody speak",
    "a store that loses what it took makes nobody speak",
)
"""Those that are played on a ring too, under their name and `` on a ring``."""

SCHEDULES: Final[Mapping[str, Schedule]] = REGISTERED | {
    f"{name} on a ring": replace(REGISTERED[name], name=f"{name} on a ring", dht="chord") for name in ON_A_RING
}
"""All of them, by name."""
