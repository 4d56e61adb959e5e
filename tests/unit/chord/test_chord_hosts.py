"""Chord on whole hosts over the memory network: what the plugin adds to its node, and peers that lie about who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from peerstack_chord import PROTOCOL_ID, Chord
from peerstack_chord.codec import Codec
from peerstack_chord.codec_parts import MAX_R
from peerstack_chord.messages import Depart, ExchangeMap, GetState, Join, Notify, NotMember, StateReply
from peerstack_chord.pb.chord_pb2 import Message
from peerstack_chord.ring import Member, Mode

from peerstack import Host, PrivateKey, preset
from peerstack.dht.contract import Question
from peerstack.dht.parameters import CHORD_PRESETS
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import FindNode, Reply, Request
from peerstack.errors import ConfigError, ProtocolNotSupported, StreamReset
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.plugin import ProtocolPlugin
from peerstack.rpc.codec import RequestFrame
from peerstack.testing.virtual_time import seeded_environment
from peerstack.wire import varint

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


class Net:
    """Makes hosts that reach each other."""

    def __init__(self) -> None:
        self._network = MemoryNetwork(seed=1, latency_s=(0.01, 0.01))

    def host(self, name: str, *plugins: ProtocolPlugin, listen: bool = True, bootstrap: tuple[Host, ...] = ()) -> Host:
        config = preset("local", transports=(MemoryTransport(self._network, node=name),), environment=seeded_environment(name))
        identity = PrivateKey.from_seed(name.encode().ljust(32, b"."))
        listens = ["/memory/0"] if listen else []
        return Host(identity=identity, listen=listens, protocols=plugins, bootstrap=[host.addrs[0] for host in bootstrap], config=config)


@pytest.fixture
def net() -> Net:
    return Net()


def chord(**changes: int) -> Chord:
    return Chord(Chord.Config(parameters=replace(CHORD_PRESETS["local"], **changes)))


async def until(check: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    while not check():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)


async def ask(host: Host, server: Host, request: Request) -> Reply:
    """Ask on a stream of one's own, as whoever has no plugin may."""
    async with host.open(server.addrs[0], PROTOCOL_ID) as stream:
        await stream.write_message(Message.FromString(Codec().encode_request(RequestFrame(request, 1))))
        message = await stream.read_message(Message)
        assert message is not None
        return Codec().read_reply(message, request).reply


async def test_a_client_adopts_the_parameters_of_the_ring_it_meets(net: Net) -> None:
    server_plugin, client_plugin = chord(replicas=2, r=5), Chord(Chord.Config(preset="wan"))
    async with net.host("server", server_plugin) as server, net.host("client", client_plugin, listen=False, bootstrap=(server,)):
        assert (await client_plugin.put("key", b"value", ttl=60)).promised
        assert client_plugin.parameters == server_plugin.parameters


async def test_a_server_of_a_ring_with_other_parameters_is_refused(net: Net) -> None:
    one, other = chord(r=5), chord(r=4)
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)) as second:
        await asyncio.sleep(5)
        with pytest.raises(ConfigError, match="r 4 here, 5 there"):
            await other.ask(first.peer_id, Question(kind="ping"))
        await asyncio.sleep(5)
        assert first.peer_id not in other.closest("key")
        assert second.peer_id not in one.closest("key")


async def test_only_who_listens_stands_on_the_ring_and_serves(net: Net) -> None:
    one, client = chord(), chord()
    async with net.host("one", one) as first, net.host("client", client, listen=False, bootstrap=(first,)) as asking:
        assert (await client.put("key", b"value", ttl=60)).promised
        assert client.node.ring.mode is Mode.OUTSIDE
        assert one.node.ring.mode is Mode.FORMING
        assert not one.topology()["counted"]
        info = first.peer(asking.peer_id)
        assert info is not None
        assert PROTOCOL_ID not in info.protocols


async def test_who_leaves_hands_over_and_departs(net: Net) -> None:
    one, other = chord(), chord()
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)) as second:
        await until(lambda: one.node.ready and other.node.ready and one.node.ring.place.predecessor)
        await one.put("key", b"value", ttl=600)
        await other.leave()
        assert one.node.ring.place.predecessor is None
        assert one.topology()["counted"] == []
        assert (await one.get("key")).value == b"value"
        with pytest.raises(ProtocolNotSupported):
            await ask(first, second, GetState())


async def test_nobody_joins_notifies_or_departs_in_the_name_of_somebody_else(net: Net) -> None:
    one, other = chord(), chord()
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)), net.host("liar", listen=False) as liar:
        await until(lambda: one.node.ready and other.node.ready and one.node.ring.place.predecessor)
        before = one.node.ring.place.state()
        victim = other.node.ring.place.own
        stranger = Member(Contact.of(PrivateKey.from_seed(bytes(32)).peer_id), 1 << 60)
        for request in (Join(stranger), Notify(stranger), Depart(victim, None), Notify(Member(victim.contact, victim.incarnation + 1))):
            assert isinstance(await ask(liar, first, request), NotMember)
        assert one.node.ring.place.state() == before


async def test_where_a_member_says_it_stands_counts_for_nothing(net: Net) -> None:
    one = chord()
    async with net.host("one", one) as first, net.host("liar", listen=False) as liar:
        await until(lambda: one.node.ready)
        moved = Contact(liar.peer_id, 5)  # next to position 0, if anybody believed it
        await ask(liar, first, Join(Member(moved, 1 << 60)))
        forming = one.node.ring.place.state()
        assert all(member.key == Contact.of(member.contact.peer_id).key != 5 for member in forming.successors)


async def test_who_is_outside_says_so(net: Net) -> None:
    one, other = chord(), chord()
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)), net.host("asking", listen=False) as asking:
        await until(lambda: one.node.ready)
        state = await ask(asking, first, GetState())
        assert isinstance(state, StateReply)
        assert state.state.member.contact.peer_id == first.peer_id
        one.node.ring.place.leave()
        for request in (GetState(), FindNode(b"", 7), ExchangeMap(1, ())):
            assert isinstance(await ask(asking, first, request), NotMember)


async def test_a_request_that_cannot_be_read_ends_its_stream_and_nothing_else(net: Net) -> None:
    one = chord()
    async with net.host("one", one) as first, net.host("liar", listen=False) as liar:
        await until(lambda: one.node.ready)
        for data in (
            b"\xff\xff\xff",
            Message(type=Message.JOIN).SerializeToString(),
            Message(type=Message.EXCHANGE_MAP, era=1 << 63).SerializeToString(),
            Message(type=Message.PULL, region=bytes(3)).SerializeToString(),
        ):
            with pytest.raises(StreamReset):
                async with liar.open(first.addrs[0], PROTOCOL_ID) as stream:
                    await stream.write(varint.encode(len(data)) + data)
                    await stream.readexactly(1)
        assert isinstance(await ask(liar, first, GetState()), StateReply)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"r": MAX_R + 1}, "r must be 1 to"), ({"r": 2}, "replicas must not be above r")],
)
async def test_parameters_that_are_none_of_a_ring_are_refused(changes: dict[str, int], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        chord(**changes)


async def test_a_protocol_id_starts_with_a_slash() -> None:
    with pytest.raises(ConfigError, match="slash"):
        Chord.Config(protocol_id="chord")
