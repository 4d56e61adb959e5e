from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from peerstack_kad.nearest import NearestKeys

from peerstack.dht.replica.contacts import position_of

OWN = position_of(b"own")
KEYS = st.integers(0, 30).map(lambda number: str(number).encode())


@given(st.integers(1, 8), st.lists(st.tuples(st.sampled_from(["add", "discard"]), KEYS), max_size=80))
def test_the_closest_keys_stay_and_nothing_else_ever_goes(limit: int, steps: list[tuple[str, bytes]]) -> None:
    nearest = NearestKeys(OWN, limit)
    held: set[bytes] = set()
    for step, key in steps:
        if step == "discard":
            nearest.discard(key)
            held.discard(key)
            continue
        wanted = sorted(held | {key}, key=lambda each: position_of(each) ^ OWN)[:limit]
        gone = (held | {key}) - set(wanted) - {key}
        assert nearest.add(key) == (key in wanted, gone.pop() if gone else None)
        held = set(wanted)
