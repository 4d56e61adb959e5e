from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from peerstack.addresses import Address
from peerstack.errors import DialError, ListenError
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.net.memory_link import HIGH_WATER_BYTES
from peerstack.net.transport import Listener
from peerstack.testing import virtual_time
from peerstack.testing.transport_conformance import RecordingReceiver

virtual = pytest.mark.asyncio(loop_factories=["virtual"])

ANY = Address.parse("/memory/0")


def now() -> float:
    return asyncio.get_running_loop().time()


class Nodes:
    """A network on which node names listen and get linked."""

    def __init__(self, network: MemoryNetwork, *names: str) -> None:
        self.network = network
        self.transports = {name: MemoryTransport(network, node=name) for name in names}
        self.listeners: dict[str, Listener] = {}
        self.accepted: dict[str, list[RecordingReceiver]] = {name: [] for name in names}

    async def listen(self, name: str, address: Address = ANY) -> Address:
        def accept(_remote: Address) -> RecordingReceiver:
            self.accepted[name].append(RecordingReceiver())
            return self.accepted[name][-1]

        self.listeners[name] = await self.transports[name].listen(address, accept)
        return self.listeners[name].addresses[0]

    async def link(self, dialer: str, listener: str) -> tuple[RecordingReceiver, RecordingReceiver]:
        address = self.listeners[listener].addresses[0] if listener in self.listeners else await self.listen(listener)
        near = RecordingReceiver()
        await self.transports[dialer].dial(address, near)
        return near, self.accepted[listener][-1]


def pair(network: MemoryNetwork) -> Nodes:
    return Nodes(network, "a", "b")


@virtual
async def test_a_dial_takes_a_round_trip_and_a_byte_one_way() -> None:
    nodes = pair(MemoryNetwork(latency_s=lambda sender, receiver: {("a", "b"): 0.25, ("b", "a"): 0.5}[sender, receiver]))
    near, far = await nodes.link("a", "b")
    assert now() == 0.75
    near.link.write(b"x")
    await far.until(lambda r: r.received == b"x")
    assert now() == 1.0
    far.link.write(b"y")
    await near.until(lambda r: r.received == b"y")
    assert now() == 1.5


@virtual
async def test_what_a_slow_node_sends_leaves_later_and_in_order() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5)))
    near, far = await nodes.link("a", "b")
    started = now()
    nodes.network.slow_down("a", 2.0)
    near.link.write(b"late, ")
    far.link.write(b"in time")
    nodes.network.slow_down("a", 0.0)
    near.link.write(b"behind it")
    await near.until(lambda r: r.received == b"in time")
    assert now() - started == 0.5
    await far.until(lambda r: bool(r.received))
    assert now() - started == 2.5
    await far.until(lambda r: r.received == b"late, behind it")
    assert now() - started == 2.5


@virtual
async def test_a_node_is_as_slow_when_it_has_started_again() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5)))
    nodes.network.slow_down("a", 2.0)
    nodes.network.crash("a")
    nodes.transports["a"] = MemoryTransport(nodes.network, node="a")
    near, far = await nodes.link("a", "b")
    started = now()
    near.link.write(b"late")
    await far.until(lambda r: r.received == b"late")
    assert now() - started == 2.5


@virtual
async def test_latencies_are_drawn_from_the_range_and_repeat_with_the_seed() -> None:
    async def durations(seed: int) -> list[float]:
        nodes = pair(MemoryNetwork(seed=seed, latency_s=(0.1, 0.2)))
        taken = []
        for _ in range(5):
            started = now()
            await nodes.link("a", "b")
            taken.append(round(now() - started, 9))
        return taken

    first = await durations(1)
    assert all(0.2 <= seconds <= 0.4 for seconds in first)
    assert len(set(first)) == 5
    assert await durations(1) == first != await durations(2)


@virtual
async def test_a_bounded_rate_spreads_bytes_over_time() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5), bytes_per_s=1000))
    near, far = await nodes.link("a", "b")
    started = now()
    for _ in range(4):
        near.link.write(bytes(1000))
    await far.until(lambda r: len(r.received) == 1000)
    assert now() - started == 1.5
    await far.until(lambda r: len(r.received) == 4000)
    assert now() - started == 4.5


@virtual
async def test_the_writer_pauses_above_the_high_water_mark_and_goes_on_when_it_drained() -> None:
    nodes = pair(MemoryNetwork())
    near, far = await nodes.link("a", "b")
    told = []
    for data in (bytes(HIGH_WATER_BYTES), b"one more"):
        near.link.write(data)
        told.append(near.writable)
    assert told == [True, False]
    await near.until(lambda r: r.writable)
    assert len(far.received) == HIGH_WATER_BYTES + 8
    assert near.violations == []


@virtual
async def test_a_partition_holds_bytes_back_and_healing_delivers_them() -> None:
    nodes = pair(MemoryNetwork())
    near, far = await nodes.link("a", "b")
    near.link.write(b"in flight, ")
    nodes.network.partition(["a"])
    near.link.write(b"held back")
    far.link.write(b"as well")
    await asyncio.sleep(3600)
    assert far.received == near.received == b""
    assert not near.lost
    nodes.network.heal()
    await far.until(lambda r: r.received == b"in flight, held back")
    await near.until(lambda r: r.received == b"as well")


@virtual
async def test_a_partition_leaves_each_group_whole() -> None:
    nodes = Nodes(MemoryNetwork(), "a", "b", "c", "d")
    links = {names: await nodes.link(*names) for names in ("ab", "cd", "ac", "bd")}
    nodes.network.partition(["a", "b"])
    for near, _ in links.values():
        near.link.write(b"x")
    await asyncio.sleep(10)
    assert {names: bool(far.received) for names, (_, far) in links.items()} == {"ab": True, "cd": True, "ac": False, "bd": False}


@virtual
async def test_a_reset_does_not_cross_a_partition_before_it_heals() -> None:
    nodes = pair(MemoryNetwork())
    near, far = await nodes.link("a", "b")
    nodes.network.partition(["a"], ["b"])
    near.link.abort()
    await asyncio.sleep(60)
    assert near.lost
    assert not far.lost
    nodes.network.heal()
    await far.until(lambda r: r.lost)
    assert isinstance(far.error, ConnectionResetError)


@virtual
async def test_dialling_into_a_partition_times_out() -> None:
    nodes = pair(MemoryNetwork(unreachable_timeout_s=7))
    await nodes.listen("b")
    nodes.network.partition(["a"])
    with pytest.raises(DialError, match="did not answer within 7 s"):
        await nodes.link("a", "b")
    assert now() == 7


@virtual
async def test_an_unreachable_node_can_fail_dials_at_once() -> None:
    nodes = pair(MemoryNetwork(unreachable_timeout_s=0))
    await nodes.listen("b")
    nodes.network.partition(["b"])
    with pytest.raises(DialError):
        await nodes.link("a", "b")
    assert now() == 0


@virtual
async def test_a_dial_gets_through_when_the_partition_heals_in_time() -> None:
    nodes = pair(MemoryNetwork(unreachable_timeout_s=20))
    await nodes.listen("b")
    nodes.network.partition(["a"])
    asyncio.get_running_loop().call_later(5, nodes.network.heal)
    near, _ = await nodes.link("a", "b")
    assert near.made
    assert now() < 20


@virtual
async def test_a_node_that_joins_during_a_partition_is_in_its_group() -> None:
    network = MemoryNetwork(unreachable_timeout_s=0)
    network.partition(["a"], ["b", "c"])
    nodes = Nodes(network, "a", "b", "c")
    await nodes.link("b", "c")
    with pytest.raises(DialError):
        await nodes.link("a", "c")


@virtual
async def test_a_cut_holds_back_one_direction_alone() -> None:
    nodes = pair(MemoryNetwork())
    near, far = await nodes.link("a", "b")
    nodes.network.cut("a", "b")
    near.link.write(b"held back")
    far.link.write(b"gets through")
    await near.until(lambda r: r.received == b"gets through")
    await asyncio.sleep(3600)
    assert far.received == b""
    nodes.network.heal()
    await far.until(lambda r: r.received == b"held back")


@virtual
async def test_across_a_cut_nobody_reaches_the_other_anew() -> None:
    nodes = Nodes(MemoryNetwork(unreachable_timeout_s=0), "a", "b", "c")
    nodes.network.cut("a", "b")
    for dialer, listener in ("ab", "ba"):
        with pytest.raises(DialError, match="did not answer"):
            await nodes.link(dialer, listener)
    await nodes.link("a", "c")
    nodes.network.heal()
    await nodes.link("b", "a")


@virtual
@pytest.mark.parametrize("fault", ["partition", "cut"])
async def test_who_crashed_and_came_back_behind_a_fault_answers_for_its_old_links_when_it_heals(fault: str) -> None:
    nodes = pair(MemoryNetwork())
    near, _ = await nodes.link("a", "b")
    if fault == "partition":
        nodes.network.partition(["b"])
    else:
        nodes.network.cut("b", "a")
    nodes.network.crash("b", reset=False)
    MemoryTransport(nodes.network, node="b")
    await asyncio.sleep(60)
    assert not near.lost
    nodes.network.heal()
    await near.until(lambda r: r.lost)
    assert isinstance(near.error, ConnectionResetError)


@virtual
async def test_severing_resets_the_links_of_that_pair_only() -> None:
    nodes = Nodes(MemoryNetwork(), "a", "b", "c")
    severed = [*await nodes.link("a", "b"), *await nodes.link("b", "a")]
    spared = [*await nodes.link("a", "c"), *await nodes.link("c", "b")]
    nodes.network.sever("b", "a")
    for receiver in severed:
        await receiver.until(lambda r: r.lost)
        assert isinstance(receiver.error, ConnectionResetError)
    await asyncio.sleep(1)
    assert not any(receiver.lost for receiver in spared)


@virtual
async def test_a_crash_resets_links_and_refuses_dials_until_the_node_starts_again() -> None:
    nodes = Nodes(MemoryNetwork(), "a", "b", "c")
    near, far = await nodes.link("a", "b")
    other, _ = await nodes.link("a", "c")
    address = nodes.listeners["b"].addresses[0]
    nodes.network.crash("b")
    await near.until(lambda r: r.lost)
    await far.until(lambda r: r.lost)
    assert isinstance(near.error, ConnectionResetError)
    assert isinstance(far.error, ConnectionAbortedError)
    assert not other.lost
    with pytest.raises(DialError, match="nobody listens"):
        await nodes.link("a", "b")
    with pytest.raises(DialError, match="node b has crashed"):
        await nodes.link("b", "c")
    with pytest.raises(ListenError, match="crashed"):
        await nodes.listen("b")

    nodes.transports["b"] = MemoryTransport(nodes.network, node="b")
    await nodes.listen("b", address)
    await nodes.link("a", "b")


@virtual
async def test_a_silent_crash_is_noticed_only_when_the_node_is_back() -> None:
    nodes = pair(MemoryNetwork(unreachable_timeout_s=3))
    near, far = await nodes.link("a", "b")
    nodes.network.crash("b", reset=False)
    await far.until(lambda r: r.lost)
    for _ in range(100):
        near.link.write(bytes(10_000))
    assert not near.writable
    await asyncio.sleep(3600)
    assert not near.ended
    with pytest.raises(DialError, match="did not answer"):
        await nodes.link("a", "b")

    MemoryTransport(nodes.network, node="b")
    await near.until(lambda r: r.lost)
    assert isinstance(near.error, ConnectionResetError)


@virtual
async def test_crashing_an_unknown_node_is_an_error() -> None:
    with pytest.raises(LookupError, match="no node 'x'"):
        MemoryNetwork().crash("x")


@virtual
async def test_links_break_after_seeded_lifetimes() -> None:
    async def lifetimes(seed: int) -> list[float]:
        nodes = pair(MemoryNetwork(seed=seed, latency_s=(0.0, 0.0), link_lifetime_s=100))
        started = now()
        receivers = [(await nodes.link("a", "b"))[0] for _ in range(200)]
        ages = []
        for receiver in receivers:
            await receiver.until(lambda r: r.lost, patience_s=1e5)
            ages.append(now() - started)
        return ages

    ages = await lifetimes(1)
    assert 100 < max(ages) < 2000  # the mean of 200 exponential draws is near 100, their maximum near 530
    assert await lifetimes(1) == pytest.approx(ages)
    assert await lifetimes(2) != pytest.approx(ages)


@virtual
async def test_links_begin_and_cease_to_break_on_command() -> None:
    nodes = pair(MemoryNetwork())
    receivers = [(await nodes.link("a", "b"))[0] for _ in range(100)]
    await asyncio.sleep(100_000)
    assert not any(receiver.lost for receiver in receivers)
    nodes.network.let_break(100)
    receivers += [(await nodes.link("a", "b"))[0] for _ in range(100)]
    await asyncio.sleep(100)
    lost = [sum(receiver.lost for receiver in some) for some in (receivers[:100], receivers[100:])]
    assert all(0 < count < 100 for count in lost)
    nodes.network.let_break(None)
    await asyncio.sleep(100_000)
    assert sum(receiver.lost for receiver in receivers) == sum(lost)


@virtual
async def test_a_link_that_was_closed_does_not_break_later() -> None:
    network = MemoryNetwork(link_lifetime_s=1000)
    nodes = pair(network)
    near, far = await nodes.link("a", "b")
    near.link.close()
    far.link.close()
    await far.until(lambda r: r.lost)
    await asyncio.sleep(100_000)
    assert near.error is None
    assert far.error is None
    assert not network._links


@virtual
async def test_a_link_that_ended_leaves_no_timer() -> None:
    nodes = pair(MemoryNetwork(link_lifetime_s=1000))
    near, far = await nodes.link("a", "b")
    near.link.close()
    far.link.close()
    await asyncio.sleep(10)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, virtual_time.VirtualTimeLoop)
    assert loop.timers == 0


@virtual
async def test_writing_after_write_eof_is_our_own_mistake() -> None:
    nodes = pair(MemoryNetwork())
    near, _ = await nodes.link("a", "b")
    near.link.write_eof()
    near.link.write(b"")
    with pytest.raises(RuntimeError, match="after write_eof"):
        near.link.write(b"x")


@virtual
async def test_a_dial_given_up_after_it_was_accepted_resets_the_accepted_end() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5)))
    await nodes.listen("b")
    dial = asyncio.create_task(nodes.link("a", "b"))
    await asyncio.sleep(0.75)
    dial.cancel()
    await asyncio.wait([dial])
    assert dial.cancelled()
    await nodes.accepted["b"][0].until(lambda r: r.lost)
    assert not nodes.network._links


@virtual
async def test_a_share_of_dials_fails() -> None:
    nodes = pair(MemoryNetwork(seed=3, dial_failure=0.5))
    await nodes.listen("b")
    failed = 0
    for _ in range(100):
        try:
            await nodes.link("a", "b")
        except DialError:
            failed += 1
    assert 30 < failed < 70


@virtual
async def test_a_dial_to_a_listener_that_closes_meanwhile_is_refused() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5)))
    await nodes.listen("b")
    dial = asyncio.create_task(nodes.link("a", "b"))
    await asyncio.sleep(0.25)
    await nodes.listeners["b"].close()
    with pytest.raises(DialError, match="refused"):
        await dial


@virtual
async def test_a_dial_to_a_node_that_crashes_after_it_accepted_fails() -> None:
    nodes = pair(MemoryNetwork(latency_s=(0.5, 0.5)))
    await nodes.listen("b")
    dial = asyncio.create_task(nodes.link("a", "b"))
    await asyncio.sleep(0.75)
    nodes.network.sever("a", "b")
    with pytest.raises(DialError, match="at once"):
        await dial
    assert nodes.accepted["b"][0].lost


@virtual
async def test_an_unconfigured_transport_supports_nothing() -> None:
    transport = MemoryTransport()
    assert not transport.supports(ANY)
    with pytest.raises(DialError):
        await transport.dial(ANY, RecordingReceiver())
    with pytest.raises(ListenError):
        await transport.listen(ANY, lambda _remote: None)


@virtual
async def test_two_networks_do_not_meet() -> None:
    nodes, others = pair(MemoryNetwork()), pair(MemoryNetwork())
    address = await nodes.listen("b")
    with pytest.raises(DialError, match="nobody listens"):
        await others.transports["a"].dial(address, RecordingReceiver())


class _Tracer(RecordingReceiver):
    """Writes what happens into one trace for all links."""

    def __init__(self, trace: list[tuple[float, str]], name: str) -> None:
        super().__init__()
        self._trace = trace
        self._name = name

    def link_received(self, data: bytes | memoryview) -> None:
        super().link_received(data)
        self._trace.append((now(), f"{self._name} received {hashlib.sha256(data).hexdigest()[:8]}"))

    def link_lost(self, error: Exception | None) -> None:
        super().link_lost(error)
        self._trace.append((now(), f"{self._name} lost {error}"))


async def _busy_hour(seed: int, trace: list[tuple[float, str]]) -> None:
    network = MemoryNetwork(seed=seed, link_lifetime_s=600, dial_failure=0.1, unreachable_timeout_s=2)
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(8)]
    transports = {name: MemoryTransport(network, node=name) for name in names}
    bound: dict[str, Address] = {}
    for name in names:
        listener = await transports[name].listen(ANY, lambda _remote, name=name: _Tracer(trace, f"at {name}"))  # type: ignore[misc]
        bound[name] = listener.addresses[0]

    async def worker(name: str) -> None:
        while now() < 3600:
            receiver = _Tracer(trace, f"from {name}")
            try:
                await transports[name].dial(bound[rng.choice(names)], receiver)
            except DialError as error:
                trace.append((now(), f"{name} {error}"))
            for _ in range(rng.randrange(20)):
                if receiver.made:
                    receiver.link.write(rng.randbytes(rng.randrange(1, 2000)))
                await asyncio.sleep(rng.random() * 5)
            if receiver.made and rng.random() < 0.7:
                receiver.link.close()

    async def chaos() -> None:
        while now() < 3600:
            await asyncio.sleep(rng.random() * 60)
            network.partition(rng.sample(names, 3))
            network.cut(*rng.sample(names, 2))
            network.slow_down(rng.choice(names), rng.random())
            await asyncio.sleep(rng.random() * 30)
            network.heal()
            network.sever(*rng.sample(names, 2))

    await asyncio.gather(chaos(), *(worker(name) for name in names))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_trace(seed: int) -> None:
    traces: list[list[tuple[float, str]]] = []
    for _ in range(2):
        traces.append([])
        virtual_time.run(_busy_hour(seed, traces[-1]))
    assert len(traces[0]) > 1000
    assert traces[0] == traces[1]
