from __future__ import annotations

from peerstack.testing.muxer_conformance import Muxer, MuxerConformance
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_session import YamuxSession


class TestYamux(MuxerConformance):
    def make_muxer(self, *, initiator: bool, max_streams: int) -> Muxer:
        return YamuxSession(YamuxConfig(max_streams_in=max_streams, max_streams_out=max_streams), initiator=initiator, now=0.0)
