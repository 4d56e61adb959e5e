from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from peerstack import Closed, ConfigError, Host, ListenError, PluginContext, PluginError, ProtocolPlugin, Stream
from peerstack.dht.store import MemoryStorage, Storage

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


class Recorder(ProtocolPlugin):
    """Writes down its life; each step can be made to fail or to hang."""

    log: ClassVar[list[str]] = []

    def __init__(self, name: str, *, start: Any = None, stop: Any = None, needs: tuple[str, ...] = ()) -> None:
        self.name = name
        self.ids = (f"/{name}/1.0.0",)
        self.needs = needs  # type: ignore[misc]  # of the instance, for this test
        self._steps = {"start": start, "stop": stop}
        self.context: PluginContext | None = None

    async def start(self, context: PluginContext) -> None:
        self.context = context
        context.spawn(asyncio.sleep(1e6), name="background")
        await self._step("start")

    async def stop(self) -> None:
        await self._step("stop")

    async def handle(self, stream: Stream) -> None:
        await asyncio.sleep(1e6)

    async def _step(self, step: str) -> None:
        self.log.append(f"{step} {self.name}")
        outcome = self._steps[step]
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            await asyncio.sleep(outcome)


@pytest.fixture(autouse=True)
def log() -> list[str]:
    Recorder.log.clear()
    return Recorder.log


async def test_plugins_start_in_order_and_stop_in_reverse(neighbourhood: Neighbourhood, log: list[str]) -> None:
    plugins = [Recorder("one", needs=("two",)), Recorder("two"), Recorder("three")]
    async with neighbourhood.host("host", protocols=plugins) as host:
        assert log == ["start two", "start one", "start three"]
        assert list(host.plugins) == ["identify", "ping", "two", "one", "three"]
        assert "/one/1.0.0" in host.protocol_ids()
    assert log[3:] == ["stop three", "stop one", "stop two"]
    assert "/one/1.0.0" not in host.protocol_ids()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (ValueError("no luck"), r"plugin 'bad' of the application failed to start: ValueError\('no luck'\)"),
        (TimeoutError(), r"plugin 'bad' of the application failed to start: TimeoutError\(\)"),
        (ConfigError("k differs"), r"plugin 'bad' of the application failed to start: ConfigError\('k differs'\)"),
        (1e5, "plugin 'bad' of the application did not start within 30 seconds"),
    ],
)
async def test_a_plugin_that_does_not_start_undoes_the_start(
    neighbourhood: Neighbourhood, log: list[str], start: Any, message: str
) -> None:
    host = neighbourhood.host("host", protocols=[Recorder("good"), Recorder("bad", start=start), Recorder("never")])
    with pytest.raises(PluginError, match=message):
        await host.start()
    assert log == ["start good", "start bad", "stop good"]
    assert host.protocol_ids() == []
    assert list(host.addrs) == []
    await _address_is_free(neighbourhood, 1)


async def _address_is_free(neighbourhood: Neighbourhood, number: int) -> None:
    async with Host(listen=[f"/memory/{number}"], config=neighbourhood.config("somebody else")):
        pass


async def test_a_protocol_id_served_twice_undoes_the_start(neighbourhood: Neighbourhood, log: list[str]) -> None:
    host = neighbourhood.host("host", protocols=[Recorder("same")])

    @host.protocol("/same/1.0.0")
    async def handler(stream: Stream) -> None: ...

    with pytest.raises(PluginError, match=r"served by '/same/1\.0\.0' of the application already: 'same' of the application"):
        await host.start()
    await _address_is_free(neighbourhood, 1)


async def test_a_start_that_is_cancelled_is_undone(neighbourhood: Neighbourhood, log: list[str]) -> None:
    host = neighbourhood.host("host", protocols=[Recorder("good"), Recorder("slow", start=20)])
    task = asyncio.create_task(host.start())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["start good", "start slow", "stop good"]
    await _address_is_free(neighbourhood, 1)


async def test_an_address_in_use_undoes_the_start(neighbourhood: Neighbourhood, log: list[str]) -> None:
    async with Host(listen="/memory/5", config=neighbourhood.config("first")):
        second = Host(listen=["/memory/4", "/memory/5"], config=neighbourhood.config("second"), protocols=Recorder("plugin"))
        with pytest.raises(ListenError, match="/memory/5 is in use"):
            await second.start()
        await _address_is_free(neighbourhood, 4)
    assert log == [], "no plugin starts before the host listens"


async def test_nobody_is_let_in_before_every_plugin_has_started(neighbourhood: Neighbourhood) -> None:
    server = neighbourhood.host("server", protocols=[Recorder("slow", start=5)])
    starting = asyncio.create_task(server.start())
    async with neighbourhood.host("client", listen=False) as client:
        await asyncio.sleep(1)
        with pytest.raises(ConnectionError):
            await client.connect(f"/memory/1/p2p/{server.peer_id}")
        await starting
        await client.connect(f"/memory/1/p2p/{server.peer_id}")
    await server.close()


async def test_a_plugin_that_fails_to_stop_is_logged_and_the_next_one_is_stopped(
    neighbourhood: Neighbourhood, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with neighbourhood.host("host", protocols=[Recorder("good"), Recorder("bad", stop=ValueError("no luck"))]):
        pass
    assert log[-2:] == ["stop bad", "stop good"]
    assert "no luck" in caplog.text


async def test_stopping_is_bounded_in_time(neighbourhood: Neighbourhood, caplog: pytest.LogCaptureFixture) -> None:
    host = neighbourhood.host("host", protocols=[Recorder("slow", stop=1e5)])
    async with host:
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= host.config.stop_timeout_s
    assert "did not stop in time" in caplog.text


async def test_streams_and_connections_still_work_while_plugins_stop(neighbourhood: Neighbourhood) -> None:
    said: list[bytes] = []

    class Farewell(ProtocolPlugin):
        ids = ("/farewell/1.0.0",)

        async def start(self, context: PluginContext) -> None:
            self.context = context

        async def stop(self) -> None:
            for peer_id in self.context.connected_peers():
                async with self.context.open(peer_id, "/farewell/1.0.0") as stream:
                    await stream.write(b"bye", eof=True)
                    assert await stream.read() == b""

        async def handle(self, stream: Stream) -> None:
            said.append(await stream.readexactly(3))

    async with neighbourhood.host("stays", protocols=Farewell()) as stays:
        async with neighbourhood.host("leaves", protocols=Farewell(), listen=False) as leaves:
            await leaves.connect(stays.addrs[0])
        assert said == [b"bye"]


async def test_a_cancelled_close_ends_everything_all_the_same(neighbourhood: Neighbourhood) -> None:
    async with neighbourhood.host("other") as other:
        host = neighbourhood.host("host", protocols=[Recorder("slow", stop=1e5)])
        await host.start()
        await host.connect(other.addrs[0])
        closing = asyncio.create_task(host.close())
        await asyncio.sleep(1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not host.connections()
        assert repr(host).endswith("closed>")
        await asyncio.sleep(1)
        assert not other.connections()


async def test_everybody_who_closes_waits_for_the_end(neighbourhood: Neighbourhood) -> None:
    host = neighbourhood.host("host", protocols=[Recorder("slow", stop=3)])
    await host.start()
    await asyncio.gather(host.close(), host.close())
    assert repr(host).endswith("closed>")
    await host.close()
    never = neighbourhood.host("never")
    await never.close()


async def test_an_error_in_the_block_comes_out_as_it_is(neighbourhood: Neighbourhood) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with neighbourhood.host("host"):
            raise LookupError("mine")


async def test_a_restarted_host_knows_its_peers_by_their_ids(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    async with neighbourhood.host("server") as server:
        config = neighbourhood.config("client", data_folder=str(tmp_path / "data"))
        async with neighbourhood.host("client", listen=False, config=config) as client:
            await client.connect(server.addrs[0])
        saved = json.loads((tmp_path / "data" / "peers.json").read_text())
        assert [peer["id"] for peer in saved["peers"]] == [str(server.peer_id)]
        config = neighbourhood.config("client", data_folder=str(tmp_path / "data"))
        async with neighbourhood.host("client", listen=False, config=config) as again:
            assert (await again.connect(server.peer_id)).peer_id == server.peer_id


async def test_the_peer_book_outlives_a_host_that_never_stopped(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    config = neighbourhood.config("client", data_folder=str(tmp_path))
    async with neighbourhood.host("server") as server, neighbourhood.host("client", listen=False, config=config) as client:
        await client.connect(server.addrs[0])
        await asyncio.sleep(400)
        assert (tmp_path / "peers.json").exists()


async def test_the_storage_is_in_the_data_folder_and_closed_with_the_host(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    kept: list[Storage] = []

    class Keeper(ProtocolPlugin):
        async def start(self, context: PluginContext) -> None:
            kept.append(context.storage)
            context.storage.side_table("keeper").put(b"key", b"value")

    config = neighbourhood.config("keeper", data_folder=str(tmp_path / "data"))
    async with neighbourhood.host("keeper", protocols=[Keeper()], config=config):
        assert (tmp_path / "data" / "peerstack.db").exists()
    with pytest.raises(Closed):
        kept[0].side_table("keeper").items()
    async with neighbourhood.host("keeper", protocols=[Keeper()], config=config):
        assert kept[1].side_table("keeper").items() == [(b"key", b"value")]


async def test_a_host_without_a_folder_keeps_its_records_in_memory(neighbourhood: Neighbourhood) -> None:
    kept: list[Storage] = []

    class Keeper(ProtocolPlugin):
        async def start(self, context: PluginContext) -> None:
            kept.append(context.storage)

    async with neighbourhood.host("keeper", protocols=[Keeper()]):
        assert isinstance(kept[0], MemoryStorage)
