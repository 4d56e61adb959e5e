from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from peerstack.errors import ConnectionLost, DialError, ListenError, PeerstackError, StreamReset
from peerstack.host.host import Host
from peerstack.net.memory import MemoryNetwork
from peerstack.plugin import PluginContext, ProtocolPlugin, Stream
from peerstack.testing import virtual_time
from peerstack.testing.network import Network

virtual = pytest.mark.asyncio(loop_factories=["virtual"])


class Echo(ProtocolPlugin):
    ids = ("/echo/1.0.0",)

    def __init__(self) -> None:
        self.stopped = False

    async def stop(self) -> None:
        self.stopped = True

    async def handle(self, stream: Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)


def echo_of(host: Host) -> Echo:
    (plugin,) = (plugin for plugin in host.plugins.values() if isinstance(plugin, Echo))
    return plugin


async def ask(network: Network, source: int, target: int, question: bytes = b"hello") -> bytes:
    async with network.hosts[source].open(network.address(target), "/echo/1.0.0", timeout=10) as stream:
        await stream.write(question)
        return await stream.readexactly(len(question))


@virtual
async def test_every_host_talks_to_every_other() -> None:
    async with Network(hosts=5, seed=1, protocols=[Echo]) as network:
        for source in range(5):
            for target in set(range(5)) - {source}:
                assert await ask(network, source, target, b"%d to %d" % (source, target)) == b"%d to %d" % (source, target)
        assert network.running == network.hosts
    assert network.running == []


@virtual
async def test_a_crash_is_not_graceful_and_a_stop_is() -> None:
    async with Network(hosts=3, seed=1, protocols=[Echo]) as network:
        crashed, stopped = echo_of(network.hosts[1]), echo_of(network.hosts[2])
        await network.crash(1)
        await network.stop(2)
        assert not crashed.stopped
        assert stopped.stopped
        for target in (1, 2):
            with pytest.raises(DialError):
                await ask(network, 0, target)


@virtual
@pytest.mark.parametrize("reset", [True, False])
async def test_streams_to_a_crashed_host_end(reset: bool) -> None:
    async with Network(hosts=2, seed=1, protocols=[Echo]) as network:
        stream = await network.hosts[0].open_stream(network.address(1), "/echo/1.0.0", confirm=True)
        started = asyncio.get_running_loop().time()
        await network.crash(1, reset=reset)
        with pytest.raises((ConnectionLost, StreamReset)):
            await stream.read()
        keepalive_s = network.hosts[0].config.muxer.keepalive_interval_s
        assert (asyncio.get_running_loop().time() - started < keepalive_s / 2) is reset


@virtual
async def test_a_restarted_host_is_the_same_peer_at_the_same_address() -> None:
    async with Network(hosts=3, seed=1, protocols=[Echo]) as network:
        before = network.hosts[1]
        await network.crash(1)
        after = await network.restart(1)
        assert after is network.hosts[1] is not before
        assert after.addrs == (network.address(1),)
        assert await ask(network, 1, 2) == b"hello"
        assert await ask(network, 2, 1) == b"hello"
        await network.restart(0)  # it runs: stopped first
        assert await ask(network, 0, 1) == b"hello"


@virtual
async def test_a_partition_separates_groups_until_it_heals() -> None:
    async with Network(hosts=4, seed=1, protocols=[Echo]) as network:
        network.partition([0, 1])
        assert await ask(network, 0, 1) == b"hello"
        assert await ask(network, 2, 3) == b"hello"
        with pytest.raises(PeerstackError):
            await ask(network, 1, 2)
        network.heal()
        await asyncio.sleep(60)
        assert await ask(network, 1, 2) == b"hello"


@virtual
async def test_each_host_has_a_data_folder_of_its_own(tmp_path: Path) -> None:
    folders: list[str | None] = []

    class Keeper(ProtocolPlugin):
        ids = ("/keeper/1.0.0",)

        async def start(self, context: PluginContext) -> None:
            folders.append(context.data_folder)

    async with Network(hosts=2, seed=1, protocols=[Keeper], data_folder=str(tmp_path)) as network:
        await network.restart(0)
    assert len(folders) == 3
    assert folders[0] == folders[2] != folders[1]


@virtual
async def test_a_start_that_fails_leaves_nothing_running() -> None:
    memory = MemoryNetwork()
    started: list[Echo] = []

    def second_fails() -> Echo:
        if started:
            raise ListenError("no")
        started.append(Echo())
        return started[-1]

    with pytest.raises(ListenError):
        async with Network(hosts=2, protocols=[second_fails], memory=memory):
            pass
    assert started[0].stopped


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> tuple[list[str], list[tuple[float, str]]]:
        trace: list[tuple[float, str]] = []

        async def main() -> list[str]:
            memory = MemoryNetwork(seed=seed, link_lifetime_s=40)
            async with Network(hosts=5, seed=seed, protocols=[Echo], memory=memory) as network:
                loop = asyncio.get_running_loop()
                for number, host in enumerate(network.hosts):
                    host.subscribe(lambda event, number=number: trace.append((loop.time(), f"{number} {event!r}")))  # type: ignore[misc]
                for turn in range(40):
                    try:
                        await ask(network, turn % 5, (turn * 3 + 1) % 5 if turn % 5 != (turn * 3 + 1) % 5 else (turn + 1) % 5)
                    except PeerstackError as error:
                        trace.append((loop.time(), repr(error)))
                    await asyncio.sleep(5)
                    trace.append((loop.time(), "turn"))
                return [str(host.peer_id) for host in network.hosts]

        ids = virtual_time.run(main())
        assert len(trace) > 80
        return ids, [(when, hashlib.sha256(_without_objects(what).encode()).hexdigest()) for when, what in trace]

    assert run(1) == run(1)
    assert run(1)[0] != run(2)[0]


def _without_objects(text: str) -> str:
    """Leave out memory addresses and the order of frozen sets, which differ from run to run."""
    return text.split("connection=")[0].split("protocols=")[0]
