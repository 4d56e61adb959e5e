from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peerstack_identify import Identify, messages
from peerstack_identify.pb.identify_pb2 import Identify as IdentifyMessage

from peerstack import Address, PrivateKey, ProtocolViolation, Stream, StreamReset
from peerstack.testing.network import Network

virtual = pytest.mark.asyncio(loop_factories=["virtual"])

IDENTIFY = "/ipfs/id/1.0.0"
PUSH = "/ipfs/id/push/1.0.0"
KEY = PrivateKey.from_seed(bytes(32)).public_key
HERE = Address.parse("/ip4/127.0.0.1/tcp/4001")


def identify_of(network: Network, number: int) -> Identify:
    plugin = network.hosts[number].plugin("identify")
    assert isinstance(plugin, Identify)
    return plugin


def test_empty_fields_are_left_out_and_addresses_carry_no_peer_id() -> None:
    message = messages.encode(public_key=KEY, addresses=[], protocols=[], agent="", observed=HERE.with_peer(KEY.peer_id()))
    assert [field.name for field, _ in message.ListFields()] == ["public_key", "observed_addr", "protocol_version"]
    assert message.observed_addr == HERE.to_bytes()


def test_a_message_stays_within_what_every_implementation_reads() -> None:
    many = [Address.parse(f"/dns4/{'a' * 60}.{'b' * 60}.example/tcp/{port}") for port in range(1, 33)]
    message = messages.encode(public_key=KEY, addresses=many, protocols=["/a"], agent="x" * 1000, observed=HERE)
    assert 0 < len(message.listen_addrs) < 32
    assert message.ByteSize() <= 2048


def test_parts_of_one_answer_are_merged_and_unknown_addresses_skipped() -> None:
    first = IdentifyMessage(public_key=KEY.to_protobuf(), listen_addrs=[HERE.to_bytes(), b"\xff\xff\x7f"], agent_version="one")
    second = IdentifyMessage(protocols=["/a", "/b"], agent_version="two")
    identity = messages.decode([first, second], expected=KEY)
    assert identity.addresses == (HERE,)
    assert identity.protocols == frozenset({"/a", "/b"})
    assert identity.agent == "two"


def test_what_a_push_does_not_say_is_unchanged() -> None:
    identity = messages.decode([IdentifyMessage(agent_version="new")], expected=KEY)
    assert (identity.addresses, identity.protocols, identity.agent) == (None, None, "new")


def test_another_key_than_the_one_proved_and_endless_protocols_are_violations() -> None:
    other = PrivateKey.from_seed(bytes(31) + b"\x01").public_key
    with pytest.raises(ProtocolViolation, match="another public key"):
        messages.decode([IdentifyMessage(public_key=other.to_protobuf())], expected=KEY)
    with pytest.raises(ProtocolViolation, match="protocols"):
        messages.decode([IdentifyMessage(protocols=[f"/{n}" for n in range(257)])], expected=KEY)


@given(st.lists(st.binary(max_size=60), max_size=5), st.binary(max_size=60), st.lists(st.text(max_size=20), max_size=5))
def test_whatever_a_peer_says_is_read_or_a_violation(addresses: list[bytes], observed: bytes, protocols: list[str]) -> None:
    message = IdentifyMessage(listen_addrs=addresses, observed_addr=observed, protocols=protocols)
    identity = messages.decode([message], expected=KEY)
    assert identity.protocols == (frozenset(protocols) or None)


@virtual
async def test_both_sides_know_each_other_soon_after_a_dial() -> None:
    async with Network(hosts=2) as network:
        a, b = network.hosts
        await a.connect(network.address(1))
        await asyncio.sleep(5)
        for host, other in ((a, b), (b, a)):
            known = host.peer(other.peer_id)
            assert known is not None
            assert IDENTIFY in known.protocols
            assert known.agent.startswith("peerstack/")


@virtual
async def test_a_protocol_served_later_is_pushed_to_the_peers() -> None:
    async with Network(hosts=2) as network:
        a, b = network.hosts
        await a.connect(network.address(1))
        await asyncio.sleep(5)

        @b.protocol("/late/1.0.0")
        async def late(stream: Stream) -> None:
            await stream.write(b"here")

        await asyncio.sleep(5)
        known = a.peer(b.peer_id)
        assert known is not None
        assert "/late/1.0.0" in known.protocols


@virtual
async def test_a_peer_that_claims_another_key_is_not_believed() -> None:
    async with Network(hosts=2) as network:
        a, b = network.hosts
        await a.connect(network.address(1))
        await asyncio.sleep(5)
        before = a.peer(b.peer_id)
        with pytest.raises(StreamReset):
            async with b.open(network.address(0), PUSH) as stream:
                await stream.write_message(IdentifyMessage(public_key=KEY.to_protobuf(), protocols=["/forged"]), eof=True)
        await asyncio.sleep(5)
        assert a.peer(b.peer_id) == before


@virtual
async def test_those_who_ask_at_the_same_time_share_one_exchange() -> None:
    async with Network(hosts=2, protocol_settings={"identify": {"ask": False}}) as network:
        a, b = network.hosts
        await a.connect(network.address(1))
        seen: list[Stream] = []
        answer = identify_of(network, 1)
        handle = answer.handle

        async def counted(stream: Stream) -> None:
            seen.append(stream)
            await handle(stream)

        b._core.registry.unregister(IDENTIFY)
        b.protocol(IDENTIFY)(counted)
        first, second = await asyncio.gather(*(identify_of(network, 0).identify(b.peer_id) for _ in range(2)))
        assert first is second
        assert len(seen) == 1
