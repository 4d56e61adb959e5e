from __future__ import annotations

import asyncio

from peerstack.dht.replica.timers import Timers
from peerstack.testing import virtual_time
from tests.sim.kad_network import LoopOutside


def test_periodic_actions_repeat_at_spread_times_and_stop() -> None:
    async def main() -> None:
        outside = LoopOutside("timers")
        timers = Timers(outside)
        at: list[float] = []
        timers.every("tick", 8.0, lambda: at.append(outside.time()))
        await asyncio.sleep(400)
        gaps = [later - earlier for earlier, later in zip([0.0, *at], at, strict=False)]
        assert 400 / 9 <= len(at) <= 400 / 7
        assert all(7.0 <= gap <= 9.0 for gap in gaps)
        assert len(set(gaps)) > 1
        timers.stop()
        count = len(at)
        await asyncio.sleep(100)
        assert len(at) == count
        assert outside.timers == 0

    virtual_time.run(main())
