from __future__ import annotations

import pytest

from peerstack.wire.yamux_frames import SYN
from peerstack.wire.yamux_stream import TRANSITIONS, StreamInput, StreamState, YamuxStream


def stream_in(state: StreamState) -> YamuxStream:
    stream = YamuxStream(1, outbound=True, flags=SYN, now=0.0)
    stream.state = state
    return stream


@pytest.mark.parametrize("state", StreamState)
@pytest.mark.parametrize("what", StreamInput)
def test_a_stream_moves_by_the_table_and_no_other_way(state: StreamState, what: StreamInput) -> None:
    stream = stream_in(state)
    expected = TRANSITIONS.get((state, what))
    assert stream.apply(what) is (expected is not None)
    assert stream.state is (state if expected is None else expected)


def test_closed_and_reset_are_final() -> None:
    assert {state for state, _ in TRANSITIONS}.isdisjoint({StreamState.CLOSED, StreamState.RESET})
    assert [state for state in StreamState if stream_in(state).over] == [StreamState.CLOSED, StreamState.RESET]


def test_every_state_can_be_reached_from_idle() -> None:
    reached = {StreamState.IDLE}
    for _ in StreamState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(StreamState)


@pytest.mark.parametrize("order", [[StreamInput.SEND_FIN, StreamInput.RECEIVE_FIN], [StreamInput.RECEIVE_FIN, StreamInput.SEND_FIN]])
def test_a_stream_is_closed_once_both_sides_finished_in_either_order(order: list[StreamInput]) -> None:
    stream = stream_in(StreamState.OPEN)
    for what in order:
        assert not stream.over
        assert stream.apply(what)
    assert stream.state is StreamState.CLOSED


@pytest.mark.parametrize("state", [StreamState.OPEN, StreamState.LOCAL_CLOSED, StreamState.REMOTE_CLOSED])
@pytest.mark.parametrize("what", [StreamInput.RECEIVE_RST, StreamInput.SEND_RST])
def test_either_side_may_reset_a_live_stream(state: StreamState, what: StreamInput) -> None:
    stream = stream_in(state)
    assert stream.apply(what)
    assert stream.over


def test_data_may_arrive_only_between_syn_and_the_remote_fin() -> None:
    may = [state for state in StreamState if (state, StreamInput.RECEIVE_DATA) in TRANSITIONS]
    assert may == [StreamState.OPEN, StreamState.LOCAL_CLOSED]
    stream = YamuxStream(1, outbound=False, flags=0, now=0.0)
    seen = [stream.remote_open]
    for what in (StreamInput.RECEIVE_SYN, StreamInput.SEND_FIN, StreamInput.RECEIVE_FIN):
        stream.apply(what)
        seen.append(stream.remote_open)
    assert seen == [False, True, True, False]
