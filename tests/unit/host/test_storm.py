"""Hosts under random calls, cancellations and faults: nothing is lost count of, nothing stays, and the same seed runs the same way."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from peerstack import ConnectionConfig, DialConfig, Host, LimitsConfig, PeersConfig, PeerstackError, PrivateKey, Stream, preset
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing import virtual_time

HOSTS = 5
CALLS = 200
Trace = list[tuple[float, str, str]]


async def _echo(stream: Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


class _Storm:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.network = MemoryNetwork(seed=seed, latency_s=(0.001, 0.2), link_lifetime_s=5, dial_failure=0.2)
        self.trace: Trace = []
        self.answered = 0
        self.hosts = [self._host(number) for number in range(HOSTS)]

    def _host(self, number: int) -> Host:
        config = preset(
            "local",
            transports=(MemoryTransport(self.network, node=str(number)),),
            environment=virtual_time.seeded_environment(number),
            connection=ConnectionConfig(idle_timeout_s=2),
            peers=PeersConfig(low_water=2, high_water=3, grace_period_s=1, max_peers=3),
            dial=DialConfig(timeout_s=3, address_timeout_s=2, backoff_s=0.5, max_backoff_s=2, stagger_s=0.05),
            limits=LimitsConfig(max_connections=6, max_connections_per_peer=2, max_pending_inbound=3, max_dials=2),
        )
        host = Host(identity=PrivateKey.from_seed(bytes([number + 1]) * 32), listen=f"/memory/{number + 1}", config=config)
        host.protocol("/echo/1.0.0")(_echo)
        host.subscribe(lambda event: self._note(str(number), type(event).__name__))
        return host

    def _note(self, who: str, what: str) -> None:
        self.trace.append((asyncio.get_running_loop().time(), who, what))

    async def run(self) -> Trace:
        for host in self.hosts:
            await host.start()
        calls = [asyncio.create_task(self._call(number)) for number in range(CALLS)]
        for _ in range(20):
            await asyncio.sleep(0.5)
            self.network.sever(*self.rng.sample([str(number) for number in range(HOSTS)], 2))
        await asyncio.wait(calls)
        for host in self.hosts:
            self._check_counts(host)
        await asyncio.sleep(60)
        for host in self.hosts:
            assert not host._core.dialer._attempts
            assert len(host._core.dials) == 0
            assert len(host._core.table) == 0, "all is idle: all is closed"
            assert host._core.table.pending == 0
            assert len(host._core.book) <= 3
        for host in self.hosts:
            await host.close()
        return self.trace

    def _check_counts(self, host: Host) -> None:
        table = host._core.table
        assert len(table) == len(table.all()) <= 6
        assert all(len(table.of(peer)) <= 2 for peer in table.peers())
        inbound = sum(not connection.outbound for connection in table.all())
        assert host.metrics.value("libp2p_rcmgr_connections", dir="inbound", scope="system") == inbound

    async def _call(self, number: int) -> None:
        await asyncio.sleep(self.rng.uniform(0, 10))
        task = asyncio.current_task()
        if task is not None and self.rng.random() < 0.3:
            asyncio.get_running_loop().call_later(self.rng.uniform(0, 0.4), task.cancel)
        host, other = self.rng.sample(self.hosts, 2)
        kind = self.rng.choice(["open", "open", "connect", "disconnect"])
        target: Any = other.addrs[0] if self.rng.random() < 0.7 else other.peer_id
        try:
            if kind == "disconnect":
                await host.disconnect(other.peer_id)
            elif kind == "connect":
                await host.connect(target, timeout=self.rng.uniform(0.05, 2))
            else:
                async with host.open(target, "/echo/1.0.0", timeout=self.rng.uniform(0.05, 2)) as stream:
                    await stream.write(b"hello")
                    assert await stream.readexactly(5) == b"hello"
                    self.answered += 1
        except (PeerstackError, EOFError) as error:
            self._note(f"call {number}", error.__class__.__name__)
        except asyncio.CancelledError:
            self._note(f"call {number}", "cancelled")


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_count_of_and_nothing_stays(seed: int) -> None:
    storm = _Storm(seed)
    trace = virtual_time.run(storm.run())
    assert storm.answered >= 3, "some calls came through"
    assert len({what for _, _, what in trace}) >= 6, "and others met with all kinds of weather"


def test_the_same_seed_runs_the_same_way() -> None:
    async def run(seed: int) -> Trace:
        return await _Storm(seed).run()

    first, again, other = (virtual_time.run(run(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
