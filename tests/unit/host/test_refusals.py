from __future__ import annotations

import pytest

from peerstack.host.metrics import HostMetrics
from peerstack.host.refusals import Refusals


def test_every_refusal_is_counted_and_lines_about_one_limit_are_rare(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    metrics = HostMetrics()
    refusals = Refusals(metrics, lambda: now)
    for _ in range(100):
        error = refusals.refuse("max_connections", "a connection")
    assert error.limit == "max_connections"
    refusals.refuse("max_dials", "a dial")
    assert len(caplog.records) == 2
    now = 11.0
    refusals.refuse("max_connections", "a connection")
    assert caplog.messages[-1] == "refused a connection: limit max_connections reached (99 more since the last such line)"
    assert metrics.value("libp2p_rcmgr_blocked_resources", resource="max_connections") == 101
    assert metrics.value("libp2p_rcmgr_blocked_resources", resource="max_dials") == 1
