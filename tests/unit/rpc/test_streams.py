"""Requests over real streams: hosts on the memory network in virtual time, and peers that do not keep to the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from peerstack_kad import PROTOCOL_ID, Kademlia
from peerstack_kad.codec import Codec
from peerstack_kad.foreign_codec import ForeignCodec
from peerstack_kad.messages import AddProvider, GetRaw, PutRaw, RawReply, Taken
from peerstack_kad.pb.kad_pb2 import Message

from peerstack import Host, PrivateKey, Stream, preset
from peerstack.dht.contract import Question, Refusal, RefusalReason
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, FindNode, Leave, NodesReply, Ping, Pull, Push, Reply, Request
from peerstack.dht.replica.seam import Respond
from peerstack.errors import ConfigError, DeadlineExceeded, InvalidMessage, LimitExceeded, PeerstackError, ProtocolNotSupported, StreamReset
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.plugin import PluginContext, ProtocolPlugin
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack.rpc.streams import RpcLimits, StreamRpc
from peerstack.testing.virtual_time import seeded_environment
from peerstack.wire import varint

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

FOREIGN = "/ipfs/kad/1.0.0"
Serve = Callable[[Any, Request, Respond], None]


class RpcPlugin(ProtocolPlugin):
    """Nothing but the seam."""

    def __init__(self, protocol_id: str = PROTOCOL_ID, serve: Serve | None = None, limits: RpcLimits | None = None) -> None:
        self.ids = (protocol_id,)
        self.rpc: StreamRpc | None = None
        self._answer = serve or (lambda _sender, _request, respond: respond(Done()))
        self._limits = limits

    async def start(self, context: PluginContext) -> None:
        own = self.ids[0] == PROTOCOL_ID
        self.rpc = StreamRpc(
            context,
            self.ids[0],
            Codec() if own else ForeignCodec(),
            lambda sender, request, respond: self._answer(sender, request, respond),
            parameters=lambda: b"",
            on_parameters=lambda _peer, _data: None,
            limits=self._limits,
        )

    async def stop(self) -> None:
        assert self.rpc is not None
        self.rpc.close()

    async def handle(self, stream: Stream) -> None:
        assert self.rpc is not None
        await self.rpc.handle(stream)

    async def ask(self, host: Host, request: Request, timeout: float = 5.0) -> Reply:
        """Ask another host, which is known to this one."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply | PeerstackError, _now: float) -> None:
            if isinstance(reply, PeerstackError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        assert self.rpc is not None
        addresses = tuple(address.without_peer().to_bytes() for address in host.addrs)
        self.rpc.request(Contact.of(host.peer_id, addresses), request, timeout, done)
        return await future


class Net:
    """Makes hosts that reach each other."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1, latency_s=(0.01, 0.01))

    def host(self, name: str, *plugins: ProtocolPlugin, listen: bool = True, bootstrap: tuple[Host, ...] = ()) -> Host:
        config = preset("local", transports=(MemoryTransport(self.network, node=name),), environment=seeded_environment(name))
        identity = PrivateKey.from_seed(name.encode().ljust(32, b"."))
        listens = ["/memory/0"] if listen else []
        return Host(identity=identity, listen=listens, protocols=plugins, bootstrap=[host.addrs[0] for host in bootstrap], config=config)

    @asynccontextmanager
    async def pair(self, server: ProtocolPlugin, client: RpcPlugin) -> AsyncIterator[tuple[Host, Host]]:
        async with self.host("server", server) as one, self.host("client", client, listen=False) as other:
            yield one, other


@pytest.fixture
def net() -> Net:
    return Net()


async def test_many_requests_share_one_stream_and_are_answered_out_of_order(net: Net) -> None:
    held: list[Respond] = []

    def serve(_sender: object, request: Request, respond: Respond) -> None:
        if isinstance(request, Ping):
            held.append(respond)  # as a store that is slow to commit
        else:
            respond(NodesReply(()))

    client = RpcPlugin()
    async with net.pair(RpcPlugin(serve=serve), client) as (server, host):
        slow = asyncio.ensure_future(client.ask(server, Ping()))
        for _ in range(20):
            assert await client.ask(server, FindNode.of(b"key")) == NodesReply(())
        assert not slow.done()
        held[0](Done())
        assert await slow == Done()
        assert len(host.connections()) == 1


async def test_a_request_nobody_answers_ends_in_time_and_stops_nothing_else(net: Net) -> None:
    def serve(_sender: object, request: Request, respond: Respond) -> None:
        if not isinstance(request, Ping):
            respond(NodesReply(()))

    client = RpcPlugin()
    async with net.pair(RpcPlugin(serve=serve), client) as (server, _):
        with pytest.raises(DeadlineExceeded):
            await client.ask(server, Ping(), timeout=0.5)
        assert await client.ask(server, FindNode.of(b"key")) == NodesReply(())


async def test_requests_in_flight_are_bounded_and_room_comes_back(net: Net) -> None:
    client = RpcPlugin(limits=RpcLimits(max_in_flight=4))
    async with net.pair(RpcPlugin(serve=lambda _sender, _request, _respond: None), client) as (server, _):
        waiting = [asyncio.ensure_future(client.ask(server, Ping(), timeout=1)) for _ in range(4)]
        await asyncio.sleep(0.1)
        with pytest.raises(LimitExceeded):
            await client.ask(server, Ping())
        assert {type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)} == {DeadlineExceeded}
        with pytest.raises(DeadlineExceeded):
            await client.ask(server, Ping(), timeout=0.5)


async def test_a_server_owes_only_so_many_answers_on_one_stream(net: Net) -> None:
    held: list[Respond] = []
    client = RpcPlugin()
    server_plugin = RpcPlugin(serve=lambda _sender, _request, respond: held.append(respond), limits=RpcLimits(max_in_flight=4))
    async with net.pair(server_plugin, client) as (server, _):
        waiting = [asyncio.ensure_future(client.ask(server, Ping())) for _ in range(10)]
        await asyncio.sleep(0.5)
        assert len(held) == 4
        while held or not all(each.done() for each in waiting):
            if held:
                held.pop(0)(Done())
            await asyncio.sleep(0.1)
        assert await asyncio.gather(*waiting) == [Done()] * 10


async def test_an_idle_stream_is_closed_and_the_next_request_opens_another(net: Net) -> None:
    client = RpcPlugin(limits=RpcLimits(idle_s=2))
    async with net.pair(RpcPlugin(), client) as (server, _):
        assert await client.ask(server, Ping()) == Done()
        await asyncio.sleep(10)
        assert await client.ask(server, Ping()) == Done()


async def test_a_peer_that_does_not_serve_it_is_named_as_such(net: Net) -> None:
    client = RpcPlugin()
    async with net.host("server") as server, net.host("client", client, listen=False):
        with pytest.raises(ProtocolNotSupported):
            await client.ask(server, Ping())


class Scripted(ProtocolPlugin):
    """A server that follows a script instead of the protocol: what it answers to its n-th request, None for a reset."""

    def __init__(self, *script: bytes | None, protocol_id: str = PROTOCOL_ID) -> None:
        self.ids = (protocol_id,)
        self.script = list(script)
        self.requests: list[Message] = []

    async def handle(self, stream: Stream) -> None:
        while (message := await stream.read_message(Message)) is not None:
            self.requests.append(message)
            answer = self.script.pop(0) if self.script else b""
            if answer is None:
                stream.reset()
                return
            if answer:
                await stream.write(varint.encode(len(answer)) + answer)


def answer(reply: Reply, request_id: int | None = None) -> bytes:
    return Codec().encode_reply(ReplyFrame(reply, request_id))


async def test_an_answer_to_nothing_that_was_asked_is_passed_over(net: Net) -> None:
    client = RpcPlugin()
    async with net.pair(Scripted(answer(Done(), 99) + b"", answer(Done(), 2)), client) as (server, _):
        with pytest.raises(DeadlineExceeded):
            await client.ask(server, Ping(), timeout=0.5)
        assert await client.ask(server, Ping()) == Done()


async def test_an_answer_that_is_none_fails_its_request_alone(net: Net) -> None:
    bad = Message(requestId=1)
    bad.closerPeers.append(b"x")
    bad.record.value = b"no record"
    client = RpcPlugin()
    async with net.pair(Scripted(bad.SerializeToString(), answer(Done(), 2)), client) as (server, _):
        from peerstack.dht.replica.messages import GetValue

        with pytest.raises(InvalidMessage):
            await client.ask(server, GetValue(b"/kv/key", 0))
        assert await client.ask(server, Ping()) == Done()


async def test_garbage_ends_the_stream_and_the_next_request_opens_another(net: Net) -> None:
    client = RpcPlugin()
    async with net.pair(Scripted(b"\xff\xff\xff", answer(Done(), 1)), client) as (server, _):
        with pytest.raises(InvalidMessage):
            await client.ask(server, Ping())
        assert await client.ask(server, Ping()) == Done()


async def test_on_a_foreign_id_answers_come_in_order_and_a_late_one_is_discarded(net: Net) -> None:
    first, second = Contact.of(PrivateKey.from_seed(b"1" * 32).peer_id), Contact.of(PrivateKey.from_seed(b"2" * 32).peer_id)
    client = RpcPlugin(FOREIGN)
    server_plugin = Scripted(b"", answer(NodesReply((first,))), protocol_id=FOREIGN)
    async with net.pair(server_plugin, client) as (server, _):
        with pytest.raises(DeadlineExceeded):
            await client.ask(server, FindNode.of(b"1"), timeout=0.5)
        later = asyncio.ensure_future(client.ask(server, FindNode.of(b"2")))
        await asyncio.sleep(0.5)
        assert not later.done()  # what came was the answer to the first request
        server_plugin.script = [answer(NodesReply((second,)))]
        third = asyncio.ensure_future(client.ask(server, FindNode.of(b"3"), timeout=1))
        reply = await later
        assert isinstance(reply, NodesReply)
        assert [each.peer_id for each in reply.closer] == [second.peer_id]
        with pytest.raises(DeadlineExceeded):
            await third
        assert all(not message.HasField("requestId") for message in server_plugin.requests)


async def test_on_a_foreign_id_a_read_that_was_cut_off_is_tried_once_more(net: Net) -> None:
    client = RpcPlugin(FOREIGN)
    server_plugin = Scripted(None, answer(NodesReply(())), None, None, protocol_id=FOREIGN)
    async with net.pair(server_plugin, client) as (server, _):
        assert await client.ask(server, FindNode.of(b"key")) == NodesReply(())
        with pytest.raises(StreamReset):
            await client.ask(server, FindNode.of(b"key"))
        assert len(server_plugin.requests) == 4


PUT = PutRaw(b"/example/key", b"value", 1)
ME = Contact.of(PrivateKey.from_seed(b"client".ljust(32, b".")).peer_id)


def foreign_answer(request: Request, reply: Reply) -> bytes:
    return ForeignCodec().encode_answer(request, ReplyFrame(reply)) or b""


async def test_on_a_foreign_id_a_refused_write_is_not_tried_again_and_costs_no_read(net: Net) -> None:
    held: list[Respond] = []

    def serve(_sender: object, request: Request, respond: Respond) -> None:
        if isinstance(request, PutRaw):
            respond(Taken(Refusal(RefusalReason.SUPERSEDED)))
        else:
            held.append(respond)

    client = RpcPlugin(FOREIGN)
    async with net.pair(RpcPlugin(FOREIGN, serve), client) as (server, _):
        read = asyncio.ensure_future(client.ask(server, FindNode.of(b"key")))
        await asyncio.sleep(0.5)
        for _ in range(2):
            with pytest.raises(StreamReset):
                await client.ask(server, PUT)
        assert len(held) == 1
        held[0](NodesReply(()))
        assert await read == NodesReply(())


async def test_on_a_foreign_id_a_put_counts_if_it_comes_back_as_it_went(net: Net) -> None:
    client = RpcPlugin(FOREIGN)
    echo, other = foreign_answer(PUT, Taken()), foreign_answer(PutRaw(PUT.key, b"other", 1), Taken())
    async with net.pair(Scripted(echo, other, protocol_id=FOREIGN), client) as (server, _):
        assert await client.ask(server, PUT) == Taken()
        with pytest.raises(InvalidMessage, match="not stored"):
            await client.ask(server, PUT)


async def test_a_server_that_answers_an_announcement_after_all_confuses_nobody(net: Net) -> None:
    client = RpcPlugin(FOREIGN)
    junk, echo = foreign_answer(FindNode.of(b"x"), NodesReply((ME,))), foreign_answer(PUT, Taken())
    server_plugin = Scripted(junk, junk, echo, foreign_answer(FindNode.of(b"key"), NodesReply(())), protocol_id=FOREIGN)
    async with net.pair(server_plugin, client) as (server, _):
        assert await client.ask(server, AddProvider((b"one", b"two"), (ME,))) == Done()
        assert await client.ask(server, PUT) == Taken()
        assert await client.ask(server, FindNode.of(b"key")) == NodesReply(())
        assert [message.key for message in server_plugin.requests] == [b"one", b"two", PUT.key, b"key"]


async def test_a_refused_announcement_is_known_by_its_reset_and_an_unanswered_one_is_not_waited_for(net: Net) -> None:
    client = RpcPlugin(FOREIGN)
    async with net.pair(Scripted(None, b"", protocol_id=FOREIGN), client) as (server, _):
        with pytest.raises(StreamReset):
            await client.ask(server, AddProvider((b"key",), (ME,)))
        assert await client.ask(server, AddProvider((b"key",), (ME,)), timeout=0.5) == Done()


async def test_many_announcements_to_one_peer_share_few_streams(net: Net) -> None:
    told: list[bytes] = []
    streams = 0

    def serve(_sender: object, request: Request, respond: Respond) -> None:
        assert isinstance(request, AddProvider)
        told.extend(request.keys)
        respond(Taken())

    class Counting(RpcPlugin):
        async def handle(self, stream: Stream) -> None:
            nonlocal streams
            streams += 1
            await super().handle(stream)

    client = RpcPlugin(FOREIGN)
    keys = [str(number).encode() for number in range(50)]
    async with net.pair(Counting(FOREIGN, serve), client) as (server, _):
        assert await asyncio.gather(*(client.ask(server, AddProvider((key,), (ME,))) for key in keys)) == [Done()] * 50
    assert told == keys
    assert streams <= 2


async def test_what_the_protocol_id_does_not_have_is_never_sent(net: Net) -> None:
    server_plugin = Scripted(protocol_id=FOREIGN)
    client = RpcPlugin(FOREIGN)
    async with net.pair(server_plugin, client) as (server, _):
        for request in (Pull(0, settled=False), Push(()), Leave(handed=True)):
            with pytest.raises(ConfigError, match="has no"):
                await client.ask(server, request)
    assert server_plugin.requests == []


async def test_a_foreign_peer_may_send_several_requests_on_a_stream_and_idle_for_a_minute(net: Net) -> None:
    def serve(_sender: object, request: Request, respond: Respond) -> None:
        respond(Taken() if isinstance(request, AddProvider) else RawReply(None, 0, ()))

    async with (
        net.host("server", RpcPlugin(FOREIGN, serve)) as server,
        net.host("client", listen=False) as client,
        client.open(server.addrs[0], FOREIGN) as stream,
    ):
        for request in (GetRaw.of(b"/ns/1"), AddProvider((b"key",), (ME,)), GetRaw.of(b"/ns/2"), GetRaw.of(b"/ns/3")):
            data = ForeignCodec().encode_request(RequestFrame(request))
            await stream.write(varint.encode(len(data)) + data)
        for number in (1, 2, 3):
            message = await stream.read_message(Message)
            assert message is not None
            assert message.key == b"/ns/%d" % number  # the announcement was not answered
        await asyncio.sleep(59)
        data = ForeignCodec().encode_request(RequestFrame(GetRaw.of(b"/ns/4")))
        await stream.write(varint.encode(len(data)) + data)
        assert await stream.read_message(Message) is not None
        await asyncio.sleep(65)
        assert await stream.read() == b""


async def test_whoever_sends_garbage_loses_the_stream_and_nothing_else(net: Net) -> None:
    plugin = RpcPlugin()
    async with net.host("server", plugin) as server, net.host("client", listen=False) as client:
        for data in (b"\x03\xff\xff\xff", b"\xff\xff\xff\xff\x7f", varint.encode(2) + b"\x08\x02"):
            with pytest.raises(StreamReset):
                async with client.open(server.addrs[0], PROTOCOL_ID) as stream:
                    await stream.write(data)
                    await stream.read()
        async with client.open(server.addrs[0], PROTOCOL_ID) as stream:
            request = Codec().encode_request(RequestFrame(Ping(), 7))
            await stream.write(varint.encode(len(request)) + request)
            reply = await stream.read_message(Message)
            assert reply is not None
            assert reply.requestId == 7


async def test_requests_without_an_id_are_answered_in_order(net: Net) -> None:
    held: list[Respond] = []
    plugin = RpcPlugin(serve=lambda _sender, _request, respond: held.append(respond))
    async with (
        net.host("server", plugin) as server,
        net.host("client", listen=False) as client,
        client.open(server.addrs[0], PROTOCOL_ID) as stream,
    ):
        request = Codec().encode_request(RequestFrame(Ping()))
        await stream.write((varint.encode(len(request)) + request) * 3)
        for number in range(3):
            await asyncio.sleep(0.5)
            assert len(held) == number + 1
            held[number](Done())
            assert await stream.read_message(Message) is not None


def kad(**changes: Any) -> Kademlia:
    return Kademlia(Kademlia.Config(preset="local", parameters=replace(KADEMLIA_PRESETS["local"], **changes)))


async def test_a_client_adopts_the_parameters_of_the_network_it_meets(net: Net) -> None:
    server_plugin, client_plugin = kad(replicas=5), Kademlia(Kademlia.Config(preset="wan"))
    async with net.host("server", server_plugin) as server, net.host("client", client_plugin, listen=False, bootstrap=(server,)):
        put = await client_plugin.put("key", b"value", ttl=60)
        assert put.promised
        assert client_plugin.parameters == server_plugin.parameters


async def test_a_server_of_a_network_with_other_parameters_is_refused(net: Net) -> None:
    one, other = kad(replicas=5), kad(replicas=4)
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)) as second:
        await asyncio.sleep(5)
        with pytest.raises(ConfigError, match="replicas"):
            await other.ask(first.peer_id, Question(kind="ping"))
        await asyncio.sleep(5)
        assert first.peer_id not in other.closest("key")
        assert second.peer_id not in one.closest("key")


async def test_one_peer_can_be_asked_one_thing(net: Net) -> None:
    one, other = kad(), kad()
    async with net.host("one", one) as first, net.host("other", other, bootstrap=(first,)) as second:
        await other.put("key", b"value", ttl=60, ack="all")
        peer = first.peer_id
        assert (await other.ask(peer, Question(kind="ping"))).seconds > 0
        assert (await one.ask(second.peer_id, Question(kind="find-node", key="key"))).peers == ()
        found = await other.ask(peer, Question(kind="find-value", key="key"))
        assert found.record is not None
        assert (found.record.value, found.authoritative) == (b"value", True)
        stored = await other.ask(peer, Question(kind="store", key="key", value=b"again", ttl=60))
        assert stored.refusal is None
        assert (await one.ask(peer, Question(kind="find-value", key="key"))).record is not None
        assert one.topology()["authoritative"]
