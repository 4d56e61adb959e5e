from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.errors import DeadlineExceeded, DialError
from peerstack.identity import PeerId
from peerstack.testing import virtual_time
from peerstack.testing.message_network import LinkModel, MessageEndpoint, MessageNetwork


@dataclass
class Peer:
    peer_id: PeerId


A, B, C = (Peer(PeerId(b"\x00\x01" + bytes([number]))) for number in range(3))


def echo(_sender: PeerId, message: Any, respond: Callable[[Any], None]) -> None:
    respond(message)


def network(**links: Any) -> tuple[MessageNetwork, MessageEndpoint]:
    made = MessageNetwork(1, LinkModel(**links))
    for peer in (B, C):
        made.attach(peer.peer_id, echo)
    return made, made.attach(A.peer_id, echo)


async def ask(endpoint: MessageEndpoint, peer: Peer, message: Any, timeout: float = 1.0) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    endpoint.request(peer, message, timeout, lambda reply, now: future.set_result((reply, now)))
    return (await future)[0]


def test_a_request_is_answered_after_both_ways() -> None:
    async def main() -> None:
        made, endpoint = network(latency_s=0.1, jitter_s=0)
        assert await ask(endpoint, B, "hello") == "hello"
        assert asyncio.get_running_loop().time() == pytest.approx(0.2)
        assert made.messages == 2

    virtual_time.run(main())


def test_the_crashed_are_silent_and_the_detached_refuse() -> None:
    async def main() -> None:
        made, endpoint = network()
        made.crash(B.peer_id)
        made.detach(C.peer_id)
        assert isinstance(await ask(endpoint, B, "hello"), DeadlineExceeded)
        assert isinstance(await ask(endpoint, C, "hello"), DialError)
        made.attach(B.peer_id, echo)
        assert await ask(endpoint, B, "hello") == "hello"

    virtual_time.run(main())


def test_nothing_crosses_a_partition_until_it_heals() -> None:
    async def main() -> None:
        made, endpoint = network()
        made.partition([A.peer_id, C.peer_id], [B.peer_id])
        assert isinstance(await ask(endpoint, B, "hello"), DeadlineExceeded)
        assert await ask(endpoint, C, "hello") == "hello"
        made.heal()
        assert await ask(endpoint, B, "hello") == "hello"

    virtual_time.run(main())


def test_messages_are_lost_and_requests_doubled_as_often_as_the_model_says() -> None:
    async def main() -> None:
        made, endpoint = network(loss=0.5)
        outcomes = [await ask(endpoint, B, "hello") for _ in range(400)]
        assert 0.15 < outcomes.count("hello") / 400 < 0.35
        served: list[Any] = []

        def serve(_sender: PeerId, message: Any, respond: Callable[[Any], None]) -> None:
            served.append(message)
            respond(message)

        made = MessageNetwork(1, LinkModel(duplication=1.0))
        made.attach(B.peer_id, serve)
        assert await ask(made.attach(A.peer_id, echo), B, "twice") == "twice"
        await asyncio.sleep(1)
        assert served == ["twice", "twice"]

    virtual_time.run(main())


def test_the_dead_are_told_nothing() -> None:
    async def main() -> None:
        made, endpoint = network()
        told: list[Any] = []
        endpoint.request(B, "hello", 1.0, lambda reply, _now: told.append(reply))
        made.crash(A.peer_id)
        endpoint.request(B, "hello", 1.0, lambda reply, _now: told.append(reply))
        await asyncio.sleep(10)
        assert told == []

    virtual_time.run(main())


def test_the_same_seed_delivers_alike() -> None:
    async def main() -> list[Any]:
        _, endpoint = network(loss=0.2)
        return [(type(await ask(endpoint, B, turn)), asyncio.get_running_loop().time()) for turn in range(50)]

    assert virtual_time.run(main()) == virtual_time.run(main())


def test_a_cut_loses_what_goes_one_way_until_it_is_healed() -> None:
    async def main() -> None:
        made, endpoint = network()
        other = made.attach(B.peer_id, echo)
        made.cut(B.peer_id, A.peer_id)
        assert isinstance(await ask(endpoint, B, "the answer is lost"), DeadlineExceeded)
        assert isinstance(await ask(other, A, "the request is lost"), DeadlineExceeded)
        assert await ask(endpoint, C, "hello") == "hello"
        made.heal()
        assert await ask(endpoint, B, "hello") == "hello"

    virtual_time.run(main())


@given(
    reply_after=st.floats(0, 3),
    timeout=st.floats(0.001, 3),
    latency=st.floats(0, 1),
    loss=st.sampled_from([0.0, 0.5]),
    duplication=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 50),
)
@settings(max_examples=150)
def test_each_request_ends_once_with_its_first_reply_or_at_its_deadline(
    reply_after: float, timeout: float, latency: float, loss: float, duplication: float, seed: int
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived: list[float] = []

        def serve(_sender: PeerId, message: Any, respond: Callable[[Any], None]) -> None:
            # Answers on the spot, or when its disk is done.
            arrived.append(loop.time())
            if reply_after < 1:
                respond(message)
            else:
                loop.call_later(reply_after - 1, respond, message)

        made = MessageNetwork(seed, LinkModel(latency_s=latency, jitter_s=0, loss=loss, duplication=duplication))
        made.attach(B.peer_id, serve)
        ended: list[tuple[Any, float]] = []
        made.attach(A.peer_id, echo).request(B, "hello", timeout, lambda outcome, now: ended.append((outcome, now)))
        assert ended == []
        await asyncio.sleep(20)
        ((outcome, at),) = ended
        thinking = max(0.0, reply_after - 1)
        if isinstance(outcome, DeadlineExceeded):
            assert at == pytest.approx(timeout)
            assert loss or not arrived or 2 * latency + thinking >= timeout - 1e-9
        else:
            assert outcome == "hello"
            assert at == pytest.approx(2 * latency + thinking)
            assert at <= timeout + 1e-9

    virtual_time.run(main())


def test_no_timer_is_set_for_a_timeout_that_an_answer_will_beat() -> None:
    async def main() -> None:
        made, endpoint = network()
        loop = made.loop
        endpoint.request(B, "hello", 100.0, lambda _reply, _now: None)
        await asyncio.sleep(1)
        assert loop.timers == 0
        made.cut(A.peer_id, B.peer_id)
        endpoint.request(B, "hello", 100.0, lambda _reply, _now: None)
        assert loop.timers == 1

    virtual_time.run(main())


def test_an_answer_to_an_earlier_run_of_a_node_is_told_to_nobody() -> None:
    async def main() -> None:
        made, endpoint = network()
        told: list[Any] = []
        endpoint.request(B, "hello", 1.0, lambda reply, _now: told.append(reply))
        again = made.attach(A.peer_id, echo)
        assert await ask(again, B, "hello again") == "hello again"
        await asyncio.sleep(2)
        assert told == []

    virtual_time.run(main())


def test_it_lives_in_virtual_time_alone() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="virtual_time"):
            network()[1].request(B, "hello", 1.0, lambda _reply, _now: None)

    asyncio.run(main())
