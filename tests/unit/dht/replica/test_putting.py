"""What a put that cannot succeed any more says of those who stored the value."""

from __future__ import annotations

import pytest

from peerstack.dht.contract import PutResult, RefusalReason
from peerstack.errors import QuorumNotMet
from peerstack.testing import virtual_time
from peerstack.testing.dht_conformance import raises
from tests.sim.kad_network import SimulatedKademlia


@pytest.mark.parametrize(("slow_by_s", "heard"), [(0.1, True), (0.9, False)])
def test_a_put_that_fails_names_those_who_stored_it_and_were_about_to_say_so(slow_by_s: float, heard: bool) -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(3)
        gone, slow = network.peer_id(2), network.peer_id(1)
        network.messages.detach(gone)
        network.messages.slow_down(slow, slow_by_s)
        error = await raises(QuorumNotMet, network.dht(0).put("key", b"value", ttl=3000, ack="all"))
        assert isinstance(error.result, PutResult)
        assert set(error.result.acknowledged) == ({network.peer_id(0), slow} if heard else {network.peer_id(0)})
        assert error.result.refused[gone].reason is RefusalReason.UNREACHABLE
        await network.close()

    virtual_time.run(main())
