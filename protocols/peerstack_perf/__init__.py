"""Perf: how fast bytes go to a peer and back."""

from peerstack_perf.perf import Perf, PerfResult

__all__ = ["Perf", "PerfResult"]
