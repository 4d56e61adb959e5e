"""Whole hosts on one memory network in one process: real streams, real crypto, seeded hardship.

::

    async def main():
        async with Network(hosts=8, seed=1, protocols=["kad"]) as network:
            await network.crash(3)
            network.partition([0, 1, 2])
            ...

    virtual_time.run(main())

In virtual time the same seed gives the same run. About sixteen hosts are practical: every pair that talks does a real handshake.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from peerstack.addresses import Address
from peerstack.config import Preset
from peerstack.config import preset as preset_config
from peerstack.host.host import Host
from peerstack.identity import PrivateKey
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.plugin import ProtocolPlugin
from peerstack.testing.virtual_time import seeded_environment

__all__ = ["Network"]

_MOST_BOOTSTRAP: Final = 3


class Network:
    """Hosts numbered from 0 that find each other, crash, come back and lose sight of each other on command.

    Each host has an identity and an environment of its own from the seed, listens on ``/memory/<number + 1>``, and is bootstrapped with
    the first three others that run when it starts.

    Args:
        hosts: How many.
        seed: Decides keys, latencies, jitter and faults.
        preset: The configuration to start from.
        protocols: Names of installed plugins, or plugin classes or functions: each start of each host makes its own plugin.
        memory: The network below; None is ``MemoryNetwork(seed=seed)``.
        config: Fields of `peerstack.HostConfig` to replace. Under a ``data_folder`` every host has a folder of its own.
    """

    def __init__(
        self,
        *,
        hosts: int,
        seed: int = 0,
        preset: Preset = "local",
        protocols: Sequence[str | Callable[[], ProtocolPlugin]] = (),
        memory: MemoryNetwork | None = None,
        **config: Any,
    ) -> None:
        self.memory = memory or MemoryNetwork(seed=seed)
        self._count = hosts
        self._seed = seed
        self._config = preset_config(preset, **config)
        self._protocols = protocols
        self._hosts: list[Host] = []
        self._starts = [0] * hosts
        self._running = [False] * hosts

    @property
    def hosts(self) -> Sequence[Host]:
        """The hosts by number; one that crashed or stopped stays in its place, closed, until it is restarted."""
        return self._hosts

    @property
    def running(self) -> list[Host]:
        """The hosts that run, by number."""
        return [host for number, host in enumerate(self._hosts) if self._running[number]]

    def address(self, number: int) -> Address:
        """Where a host is reached, whether it runs or not; ends in ``/p2p/<peer id>``."""
        return _place(number).with_peer(self._identity(number).peer_id)

    async def stop(self, number: int) -> None:
        """Close a host in order: its plugins say goodbye."""
        self._running[number] = False
        await self._hosts[number].close()

    async def crash(self, number: int, *, reset: bool = True) -> None:
        """End a host without a word.

        Args:
            number: Which one.
            reset: Whether the others are told by the network, as when a process is killed; else they hear nothing, as when a machine is.
        """
        self._running[number] = False
        self.memory.crash(_name(number), reset=reset)
        closing = asyncio.create_task(self._hosts[number].close())
        await asyncio.sleep(0)
        closing.cancel()  # skips everything graceful: nothing of it could leave any more
        await asyncio.wait([closing])
        if not closing.cancelled():
            closing.result()

    async def restart(self, number: int) -> Host:
        """Start a host again with the same identity, address and data folder; one that runs is stopped first.

        Handlers added to the old host by `Host.protocol` are gone: give the network a plugin for what should come back.
        """
        if self._running[number]:
            await self.stop(number)
        await self._start(number)
        return self._hosts[number]

    def partition(self, *groups: Iterable[int]) -> None:
        """Let hosts reach only their own group; hosts not named are one more group."""
        self.memory.partition(*([_name(number) for number in group] for group in groups))

    def heal(self) -> None:
        """End the partition, and cuts of the network below."""
        self.memory.heal()

    async def __aenter__(self) -> Network:
        try:
            for number in range(self._count):
                await self._start(number)
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self._stop_all()

    async def _stop_all(self) -> None:
        for number in reversed(range(len(self._hosts))):
            if self._running[number]:
                await self.stop(number)

    async def _start(self, number: int) -> None:
        host = self._make(number)
        if number < len(self._hosts):
            self._hosts[number] = host
        else:
            self._hosts.append(host)
        await host.start()
        self._running[number] = True

    def _make(self, number: int) -> Host:
        self._starts[number] += 1
        folder = self._config.data_folder
        config = replace(
            self._config,
            transports=(MemoryTransport(self.memory, node=_name(number)),),
            environment=seeded_environment(f"{self._seed}, host {number}, start {self._starts[number]}"),
            data_folder=None if folder is None else str(Path(folder) / _name(number)),
        )
        return Host(
            identity=self._identity(number),
            listen=[_place(number)],
            bootstrap=[self.address(other) for other, runs in enumerate(self._running) if runs][:_MOST_BOOTSTRAP],
            protocols=[each if isinstance(each, str) else each() for each in self._protocols],
            config=config,
        )

    def _identity(self, number: int) -> PrivateKey:
        return PrivateKey.from_seed(random.Random(f"identity of host {number}, {self._seed}").randbytes(32))


def _place(number: int) -> Address:
    return Address.from_memory(number + 1)


def _name(number: int) -> str:
    return f"host-{number}"
