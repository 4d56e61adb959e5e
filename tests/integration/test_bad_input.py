"""Peers that break the rules, over the memory network and in virtual time: the host goes on serving everybody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerstack import (
    ConnectionConfig,
    DialError,
    LimitsConfig,
    PeerIdMismatch,
    PeerstackError,
    PrivateKey,
    ProtocolLimits,
    Stream,
)
from peerstack.addresses import Address
from peerstack.errors import HandshakeFailed
from peerstack.net.upgrade import Upgrade
from peerstack.wire import multistream
from peerstack.wire import yamux_frames as wire
from peerstack.wire.noise_handshake import NoiseCredentials, NoiseHandshake, Role, VerifiedKeys
from peerstack.wire.pb.noise_pb2 import NoiseHandshakePayload
from tests.integration.victim import PROPOSAL, Victim, attacked, quiet_logs
from tests.unit.net.raw_peer import RAW_KEY, RawPeer, make_upgrade
from tests.unit.wire.yamux_remote import WINDOW, data, ping, update

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

SYN, ACK, FIN, RST = wire.SYN, wire.ACK, wire.FIN, wire.RST
OTHER_KEY = PrivateKey.from_seed(b"somebody else".ljust(32, b"."))


@pytest_asyncio.fixture(autouse=True)
async def _nothing_raised(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    async with quiet_logs(caplog):
        yield


def now() -> float:
    return asyncio.get_running_loop().time()


async def ended(peer: RawPeer) -> None:
    await peer.until(lambda p: p.ended)


# who it is


def forged(*, outbound: bool) -> Upgrade:
    """An upgrade that shows somebody else's identity key with a signature of its own."""
    credentials = NoiseCredentials(RAW_KEY, bytes([3]) * 32)
    payload = NoiseHandshakePayload.FromString(credentials.payload)
    payload.identity_key = OTHER_KEY.public_key.to_protobuf()
    credentials.payload = payload.SerializeToString()
    role = Role.INITIATOR if outbound else Role.RESPONDER
    handshake = NoiseHandshake(role, credentials, ephemeral=bytes([4]) * 32, verified=VerifiedKeys())
    return Upgrade(handshake, outbound=outbound)


async def test_a_wrong_signature_is_no_peer() -> None:
    async with attacked() as victim:
        peer = await RawPeer.dial(victim.attacker, victim.address, forged(outbound=True))
        await ended(peer)
        assert victim.failed("handshake_failed") == 1
        assert [info.peer_id for info in victim.host.peers() if info.connected] == [victim.witness.peer_id]


@pytest.mark.parametrize(("make", "error"), [(forged, HandshakeFailed), (make_upgrade, PeerIdMismatch)], ids=["forged", "impostor"])
async def test_a_listener_that_is_somebody_else_is_not_connected_to(make: Callable[..., Upgrade], error: type[PeerstackError]) -> None:
    async with attacked() as victim:
        accepted: list[RawPeer] = []

        def accept(_remote: object) -> RawPeer:
            accepted.append(RawPeer(make(outbound=False)))
            return accepted[-1]

        listener = await victim.attacker.listen(Address.parse("/memory/0"), accept)
        with pytest.raises(PeerstackError) as caught:
            await victim.host.connect(f"{listener.addresses[0]}/p2p/{OTHER_KEY.peer_id}")
        causes = getattr(caught.value, "causes", {})
        assert isinstance(caught.value, error) or [type(cause) for cause in causes.values()] == [error]
        await ended(accepted[0])
        await listener.close()


# garbage, at every stage

BEFORE_SECURITY = {
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\r\n",
    "TLS": bytes.fromhex("16030100f8010000f40303") + bytes(240),
    "zeros": bytes(70_000),
    "ones": b"\xff" * 70_000,
    "a token too long": b"\xff\x7f" + b"a" * 20_000,
    "a token without a newline": b"\x05abcde",
    "many refused proposals": multistream.HEADER + b"".join(multistream.encode(f"/nope/{number}") for number in range(2000)),
    "the header twice": multistream.HEADER * 2,
    "no UTF-8": multistream.HEADER + b"\x03\xff\xfe\n",
}


@pytest.mark.parametrize("garbage", BEFORE_SECURITY.values(), ids=BEFORE_SECURITY)
async def test_garbage_before_the_secure_channel_ends_the_link(garbage: bytes) -> None:
    async with attacked() as victim:
        peer = await victim.raw()
        peer.write(garbage)
        await ended(peer)
        assert victim.pending == 0
        assert victim.failed("protocol_violation") + victim.failed("negotiation_failed") == 1


NOISE = multistream.proposal("/noise")
MESSAGE_1 = b"\x00\x20" + bytes(range(32))
HANDSHAKES = {
    "message 1 is short": NOISE + b"\x00\x1f" + bytes(31),
    "message 1 has a payload": NOISE + b"\x00\x30" + bytes(range(48)),
    "message 1 is all zero": NOISE + b"\x00\x20" + bytes(32),
    "message 1 is huge": NOISE + b"\xff\xff" + bytes(65535),
    "message 3 is short": NOISE + MESSAGE_1 + b"\x00\x10" + bytes(16),
    "message 3 is garbage": NOISE + MESSAGE_1 + b"\x00\xaa" + bytes(170),
    "message 3 is huge": NOISE + MESSAGE_1 + b"\xff\xff" + bytes(65535),
}


@pytest.mark.parametrize("said", HANDSHAKES.values(), ids=HANDSHAKES)
async def test_a_broken_handshake_message_ends_the_link(said: bytes) -> None:
    async with attacked() as victim:
        peer = await victim.raw()
        peer.write(said)
        await ended(peer)
        assert victim.failed("handshake_failed") == 1


async def test_an_honest_identity_with_a_low_order_key_or_a_cut_payload_fails_cleanly() -> None:
    async with attacked() as victim:
        for payload in (b"", b"\x0a\xff", NoiseHandshakePayload(identity_key=b"\x08\x01").SerializeToString()):
            credentials = NoiseCredentials(RAW_KEY, bytes([3]) * 32)
            credentials.payload = payload
            handshake = NoiseHandshake(Role.INITIATOR, credentials, ephemeral=bytes([4]) * 32, verified=VerifiedKeys())
            await ended(await RawPeer.dial(victim.attacker, victim.address, Upgrade(handshake, outbound=True)))
        assert victim.failed("handshake_failed") == 3


RECORDS: dict[str, Callable[[RawPeer], bytes]] = {
    "garbage": lambda peer: b"\x00\x40" + bytes(64),
    "shorter than a tag": lambda peer: b"\x00\x05" + bytes(5),
    "empty": lambda peer: b"\x00\x00",
    "the largest": lambda peer: b"\xff\xff" + bytes(65535),
    "replayed": lambda peer: peer.seal(ping(1)) * 2,
    "one bit wrong": lambda peer: peer.seal(ping(1))[:-1] + b"\x00",
    "out of order": lambda peer: (lambda first, second: second + first)(peer.seal(ping(1)), peer.seal(ping(2))),
}


@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS)
async def test_a_record_that_does_not_open_ends_the_connection(records: Callable[[RawPeer], bytes]) -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        peer.write(records(peer))
        await ended(peer)
        assert victim.attackers == []


async def test_empty_records_are_skipped() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        assert peer._writer is not None
        cipher = peer._writer._cipher
        for _ in range(100):
            peer.write(b"\x00\x10" + cipher.encrypt(peer._writer._next_nonce(), b"", None))
        await victim.opened(peer)
        peer.close()


YAMUX = {
    "version": b"\x01" + bytes(11),
    "type": b"\x00\x09" + bytes(10),
    "ones": b"\xff" * 12,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "a stream of ours": update(2, flags=SYN),
    "stream 0": data(0, b"x", SYN),
    "opened twice": update(1, flags=SYN) * 2,
    "more than the window": data(1, bytes(WINDOW + 1), SYN),
    "window by small steps": data(1, b"", SYN) + data(1, bytes(1000)) * 300,
    "a window that overflows": update(1, 0xFFFF_FFFF, SYN) * 1 + update(1, 0xFFFF_FFFF),
    "data behind the end": data(1, b"x", SYN | FIN) + data(1, b"y"),
    "the end twice": data(1, b"x", SYN | FIN) + update(1, flags=FIN),
    "a frame larger than any window": wire.encode_header(wire.DATA, 0, 99, 0xFFFF_FFFF),
}


@pytest.mark.parametrize("frames", YAMUX.values(), ids=YAMUX)
async def test_a_frame_against_the_rules_ends_the_connection_with_a_go_away(frames: bytes) -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        peer.send(frames)
        await ended(peer)
        assert (peer.frames[-1].kind, peer.frames[-1].length) == (wire.GO_AWAY, wire.GO_AWAY_PROTOCOL_ERROR)
        assert victim.attackers == []


async def test_a_frame_cut_at_the_end_of_the_link_is_no_error_of_ours() -> None:
    async with attacked() as victim:
        for size in (1, 11, 12, 20):
            peer = await victim.secured()
            peer.send(data(1, PROPOSAL, SYN)[:size])
            peer.link.write_eof()
            await ended(peer)
        await asyncio.sleep(1)
        assert victim.attackers == []


async def test_data_for_unknown_streams_is_dropped_and_the_connection_lives_on() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        for stream_id in range(1001, 1401, 2):
            peer.send(data(stream_id, bytes(60_000)), update(stream_id, 100), update(stream_id, flags=FIN), update(stream_id, flags=RST))
        await victim.opened(peer)
        (connection,) = victim.attackers
        session = connection._pump._session
        assert session is not None
        assert (session.stream_count, session._budget.unread) == (1, 0)
        assert session._table.lingering == {}
        peer.close()


STREAMS = {
    "garbage": b"\xff" * 100,
    "zeros": bytes(100),
    "a request without negotiation": b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\r\n",
    "many refused proposals": multistream.HEADER + b"".join(multistream.encode(f"/nope/{number}") for number in range(100)),
    "the header again and again": multistream.HEADER * 50,
}


@pytest.mark.parametrize("said", STREAMS.values(), ids=STREAMS)
async def test_garbage_in_a_streams_negotiation_ends_the_stream_only(said: bytes) -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        peer.send(data(1, said, SYN))
        await peer.until(lambda p: any(frame.stream_id == 1 and frame.flags & (FIN | RST) for frame in p.frames))
        peer.send(update(1, flags=FIN))
        await victim.opened(peer, 3)
        (connection,) = victim.attackers
        assert [stream.stream_id for stream in connection.streams] == [3]
        peer.close()


async def test_garbage_in_place_of_a_message_is_the_handlers_error_and_ends_its_stream() -> None:
    async with attacked() as victim:
        errors: list[BaseException] = []

        @victim.host.protocol("/message")
        async def serve(stream: Stream) -> None:
            try:
                await stream.read_message(BytesValue, limit=1000)
            except PeerstackError as error:
                errors.append(error)
                raise

        peer = await victim.secured()
        for stream_id, said in ((1, b"\xff" * 20), (3, b"\xe9\x07" + bytes(1001)), (5, b"\x03\xff\xff\xff"), (7, b"\x05ab")):
            peer.send(data(stream_id, multistream.proposal("/message") + said, SYN | (FIN if stream_id == 7 else 0)))
            await peer.until(lambda p, n=stream_id: any(f.stream_id == n and f.flags & RST for f in p.frames))  # type: ignore[misc]
        assert [type(error).__name__ for error in errors] == ["InvalidMessage", "MessageTooLarge", "InvalidMessage", "IncompleteRead"]
        peer.close()


# silence and slowness


async def test_a_peer_that_connects_and_says_nothing_is_ended_in_time() -> None:
    async with attacked() as victim:
        started = now()
        peers = [await victim.raw() for _ in range(5)]
        assert victim.pending == 5
        for peer in peers:
            await ended(peer)
        assert now() - started == pytest.approx(10, abs=0.2)
        assert victim.pending == 0
        assert victim.failed("handshake_failed") == 5


@pytest.mark.parametrize("honest", [True, False])
async def test_a_byte_a_second_does_not_stretch_the_handshake(honest: bool) -> None:
    async with attacked() as victim:
        said = (NOISE + MESSAGE_1) if honest else b"\x7f" + b"a" * 200
        peer = await victim.raw()
        started = now()
        for byte in said:
            if peer.ended:
                break
            peer.write(bytes([byte]))
            await asyncio.sleep(1)
        assert now() - started == pytest.approx(11, abs=1)
        assert victim.pending == 0


async def test_a_byte_a_second_does_not_stretch_a_streams_negotiation() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        started = now()
        peer.send(update(1, flags=SYN))
        for byte in PROPOSAL:
            if any(frame.flags & RST for frame in peer.frames):
                break
            peer.send(data(1, bytes([byte])))
            await asyncio.sleep(1)
        assert now() - started == pytest.approx(11, abs=1)
        await victim.opened(peer, 3)
        peer.close()


async def test_silence_in_the_middle_of_a_record_is_found_out_by_keepalive() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        peer.write(b"\xff\xff" + bytes(100))
        await victim.serves()
        await ended(peer)
        assert victim.attackers == []


# floods


async def flood(peer: RawPeer, make: Callable[[int], bytes], *, most: int) -> int:
    """Send without reading until the victim stops reading or ends it; returns how many were sent."""
    peer.link.pause_reading()
    for number in range(most):
        if peer.lost or not peer.writable:
            return number
        peer.send(make(number))
        if not number % 50:
            await asyncio.sleep(0.01)
    return most


FLOODS: dict[str, Callable[[int], bytes]] = {
    "SYN": lambda n: b"".join(update(2 * (20 * n + k) + 1, flags=SYN) for k in range(20)),
    "SYN and proposal": lambda n: b"".join(data(2 * (5 * n + k) + 1, PROPOSAL, SYN) for k in range(5)),
    "SYN, proposal, a question and the end": lambda n: data(2 * n + 1, PROPOSAL + b"?" * 100, SYN | FIN),
    "SYN and RST": lambda n: b"".join(data(2 * (5 * n + k) + 1, PROPOSAL, SYN) + update(2 * (5 * n + k) + 1, flags=RST) for k in range(5)),
    "ping": lambda n: b"".join(ping(20 * n + k) for k in range(20)),
    "pong": lambda n: b"".join(ping(20 * n + k, ACK) for k in range(20)),
    "credit": lambda n: (data(1, PROPOSAL, SYN) if n == 0 else b"") + update(1, 1) * 20,
}


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
async def test_a_flood_from_a_peer_that_never_reads_stays_within_bounds(make: Callable[[int], bytes]) -> None:
    limits = LimitsConfig(max_streams_per_connection=100, max_connections_per_ip=1024)
    async with attacked(limits=limits) as victim:
        peer = await victim.secured()
        flooding = asyncio.create_task(flood(peer, make, most=500))
        (connection,) = victim.attackers
        pump, session = connection._pump, connection._pump._session
        assert session is not None
        while not flooding.done():
            await victim.serves()
            assert session.stream_count <= 200
            assert len(pump.streams) <= 200
            assert len(session._writer.control) * wire.HEADER_BYTES <= 4 * (64 << 10) + 4096
            assert len(pump._negotiating) <= 200
        await flooding
        peer.close()
        await ended(peer)
        await asyncio.sleep(1)
        assert victim.attackers == []


async def test_pings_are_answered_in_order_while_they_are_read() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        for first in range(0, 5000, 50):
            peer.send(*(ping(first + n) for n in range(50)))
        await peer.until(lambda p: sum(frame.kind == wire.PING and frame.flags == ACK for frame in p.frames) == 5000)
        assert [frame.length for frame in peer.frames if frame.kind == wire.PING and frame.flags == ACK] == list(range(5000))
        peer.close()


async def test_a_storm_of_resets_leaves_nothing_behind() -> None:
    async with attacked() as victim:
        peer = await victim.secured()
        (connection,) = victim.attackers
        for stream_id in range(1, 4001, 2):
            peer.send(data(stream_id, PROPOSAL + b"question", SYN))
            peer.send(update(stream_id, flags=RST))
            if stream_id % 400 == 1:
                await victim.serves()
        await asyncio.sleep(1)
        session = connection._pump._session
        assert session is not None
        assert connection.streams == ()
        assert (session.stream_count, session._budget.unread, session._table.lingering) == (0, 0, {})
        peer.close()


async def test_streams_of_one_protocol_beyond_its_limit_are_reset() -> None:
    async with attacked() as victim:

        @victim.host.protocol("/few", limits=ProtocolLimits(max_streams=8, max_streams_per_peer=3))
        async def serve(stream: Stream) -> None:
            await stream.read()

        peer = await victim.secured()
        for stream_id in range(1, 21, 2):
            peer.send(data(stream_id, multistream.proposal("/few"), SYN))
        await peer.until(lambda p: sum(bool(frame.flags & RST) for frame in p.frames) == 7)
        assert victim.refused("max_streams_per_peer") == 7
        for stream_id in (1, 3, 5):
            peer.send(update(stream_id, flags=FIN))
        await asyncio.sleep(1)
        peer.send(data(21, multistream.proposal("/few"), SYN))
        await peer.until(lambda p: p.payload(21) == multistream.proposal("/few"))
        peer.close()


async def test_links_in_their_handshake_are_limited_and_those_who_wait_are_served_later() -> None:
    limits = LimitsConfig(max_pending_inbound=10)
    async with attacked(limits=limits) as victim:
        outcomes = await asyncio.gather(*(victim.raw() for _ in range(2000)), return_exceptions=True)
        assert sum(isinstance(outcome, RawPeer) for outcome in outcomes) == 10
        assert sum(isinstance(outcome, DialError) for outcome in outcomes) == 1990
        assert victim.refused("max_pending_inbound") == 1990
        assert victim.pending == 10
        await victim.serves()
        await asyncio.sleep(11)
        assert victim.pending == 0
        peer = await victim.secured()
        await victim.opened(peer)
        peer.close()


# memory


def unread_of(victim: Victim) -> int:
    """Bytes that really lie in buffers of the attackers' streams."""
    return sum(stream._buffer.size for connection in victim.attackers for stream in connection.streams)


async def test_a_handler_that_never_reads_holds_a_window_and_no_more() -> None:
    async with attacked() as victim:

        @victim.host.protocol("/deaf")
        async def serve(stream: Stream) -> None:
            await asyncio.Event().wait()

        peer = await victim.secured()
        proposal = multistream.proposal("/deaf")
        peer.send(data(1, proposal, SYN), *(data(1, bytes(1000)) for _ in range(262)))
        await asyncio.sleep(10)
        assert unread_of(victim) == 262_000
        assert sum(frame.length for frame in peer.frames if frame.kind == wire.WINDOW_UPDATE and frame.stream_id == 1) <= len(proposal)
        peer.send(data(1, bytes(1000)))
        await ended(peer)
        assert victim.attackers == []


async def test_over_the_unread_budget_the_fullest_stream_is_reset_and_the_rest_live_on() -> None:
    limits = LimitsConfig(max_unread_connection_bytes=1 << 20)
    async with attacked(limits=limits) as victim:

        @victim.host.protocol("/deaf")
        async def serve(stream: Stream) -> None:
            await asyncio.Event().wait()

        peer = await victim.secured()
        for stream_id in range(1, 41, 2):
            peer.send(data(stream_id, multistream.proposal("/deaf"), SYN))
            peer.send(data(stream_id, bytes(200_000 + stream_id)))
            await asyncio.sleep(1)
            assert unread_of(victim) <= 1 << 20
        resets = [frame.stream_id for frame in peer.frames if frame.flags & RST]
        assert 15 <= len(resets) < 20
        await victim.opened(peer, 99)
        peer.close()


@pytest.mark.parametrize("finish", [False, True])
async def test_streams_over_both_ways_with_unread_bytes_are_within_the_budget_too(finish: bool) -> None:
    limits = LimitsConfig(max_unread_connection_bytes=1 << 20, max_streams_per_connection=50)
    async with attacked(limits=limits) as victim:

        @victim.host.protocol("/one-way")
        async def serve(stream: Stream) -> None:
            stream.write_eof()
            if finish:
                return
            await asyncio.Event().wait()

        peer = await victim.secured()
        for stream_id in range(1, 101, 2):
            peer.send(data(stream_id, multistream.proposal("/one-way"), SYN), data(stream_id, bytes(100_000), FIN))
            await asyncio.sleep(0.1)
            session = victim.attackers[0]._pump._session
            assert session is not None
            assert unread_of(victim) <= 1 << 20
            assert session._budget.unread == unread_of(victim)
        if finish:
            assert unread_of(victim) == 0
        peer.close()


async def test_many_tiny_frames_are_few_objects() -> None:
    async with attacked() as victim:

        @victim.host.protocol("/deaf")
        async def serve(stream: Stream) -> None:
            await asyncio.Event().wait()

        peer = await victim.secured()
        peer.send(data(1, multistream.proposal("/deaf"), SYN))
        for _ in range(100):
            peer.send(data(1, b"xy") * 500)
        await asyncio.sleep(1)
        (connection,) = victim.attackers
        (stream,) = connection.streams
        assert stream._buffer.size == 100_000
        assert len(stream._buffer._chunks) <= 5
        peer.close()


async def test_a_peer_that_takes_no_answer_makes_the_handler_wait_and_nothing_grow() -> None:
    async with attacked() as victim:

        @victim.host.protocol("/source")
        async def serve(stream: Stream) -> None:
            while True:
                await stream.write(bytes(50_000))

        peer = await victim.secured()
        peer.link.pause_reading()
        for stream_id in range(1, 21, 2):
            peer.send(data(stream_id, multistream.proposal("/source"), SYN), update(stream_id, 1 << 30))
        await asyncio.sleep(5)
        (connection,) = victim.attackers
        session = connection._pump._session
        assert session is not None
        assert sum(stream.queued for stream in session._streams.values()) <= 10 * (256 << 10)
        await victim.serves()
        peer.close()


# what happens to handlers


async def test_a_handler_that_raises_ends_its_stream_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with attacked() as victim:

        @victim.host.protocol("/crash")
        async def serve(stream: Stream) -> None:
            await stream.read()
            raise KeyError("a bug")

        peer = await victim.secured()
        for stream_id in range(1, 21, 2):
            peer.send(data(stream_id, multistream.proposal("/crash") + b"x", SYN))
        await peer.until(lambda p: sum(bool(frame.flags & RST) for frame in p.frames) == 10)
        assert victim.host.metrics.value("peerstack_handler_errors_total", plugin="/crash", error="KeyError") == 10
        await victim.opened(peer, 99)
        peer.close()
        assert {record.getMessage() for record in caplog.records} == {"the handler of /crash crashed"}
        caplog.clear()


@pytest.mark.parametrize("end", ["abort", "write_eof", "reset", "silence"])
async def test_a_peer_that_vanishes_ends_its_handlers(end: str) -> None:
    async with attacked() as victim:
        left: list[str] = []

        @victim.host.protocol("/hold")
        async def serve(stream: Stream) -> None:
            try:
                await stream.readexactly(1 << 20)
            except PeerstackError as error:
                left.append(error.code)
                raise

        peer = await victim.secured()
        for stream_id in range(1, 21, 2):
            peer.send(data(stream_id, multistream.proposal("/hold") + b"some", SYN))
        await peer.until(lambda p: len(p.payload(19)) > 0)
        if end == "reset":
            peer.send(*(update(stream_id, flags=RST) for stream_id in range(1, 21, 2)))
        elif end == "silence":
            peer.link.pause_reading()
        else:
            getattr(peer.link, end)()
        await asyncio.sleep(120)
        assert left == ["stream_reset" if end == "reset" else "connection_lost"] * 10
        peer.close()


# cut anywhere


class CutPeer(RawPeer):
    """Honest up to one byte, then not."""

    def __init__(self, upgrade: Upgrade, budget: int, then: Callable[[RawPeer], None]) -> None:
        super().__init__(upgrade)
        self.budget = budget
        self.said = 0
        self._then = then

    def link_made(self, link: object) -> None:
        super().link_made(_CutLink(self, link))  # type: ignore[arg-type]

    def cut(self) -> None:
        then, self._then = self._then, lambda _peer: None
        then(self)


class _CutLink:
    def __init__(self, peer: CutPeer, link: object) -> None:
        self._peer = peer
        self._link = link

    def __getattr__(self, name: str) -> object:
        return getattr(self._link, name)

    def write(self, data: bytes) -> None:
        left = self._peer.budget - self._peer.said
        self._peer.said += len(data)
        if left > 0:
            self._link.write(data[:left])  # type: ignore[attr-defined]
        if len(data) >= left:
            self._peer.cut()


def _garbage(peer: RawPeer) -> None:
    peer.link._link.write(b"\x5a" * 300)  # type: ignore[attr-defined]


CUTS: dict[str, Callable[[RawPeer], None]] = {
    "end": lambda peer: peer.link.write_eof(),
    "abort": lambda peer: peer.link.abort(),
    "close": lambda peer: peer.link.close(),
    "silence": lambda peer: None,
    "garbage": _garbage,
}


async def honest(peer: RawPeer) -> None:
    """Everything an honest peer says: an upgrade, a stream, a question, an end."""
    await peer.until(lambda p: bool(p.frames) or p.ended)
    if peer.secured and not peer.ended:
        peer.send(data(1, PROPOSAL + b"question", SYN), ping(1))
        peer.send(data(1, b" and more", FIN), update(3, flags=SYN))
        peer.send(data(3, PROPOSAL), update(3, flags=RST))
    await peer.until(lambda p: p.ended or p.payload(1).endswith(b"more"))


@pytest.mark.parametrize("then", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("early", [True, False])
async def test_a_peer_may_disconnect_fall_silent_or_talk_nonsense_at_any_byte(then: Callable[[RawPeer], None], early: bool) -> None:
    async with attacked() as victim:
        budget = 1
        while True:
            peer = CutPeer(make_upgrade(outbound=True, early=early), budget, then)
            await victim.attacker.dial(victim.address, peer)
            await honest(peer)
            if peer.said < budget:
                break
            await ended_or_closed(peer)
            budget += 7
        assert budget > 350
        await victim.serves()
        peer.close()
        await asyncio.sleep(120)
        assert victim.pending == 0
        assert victim.attackers == []


async def ended_or_closed(peer: RawPeer) -> None:
    with contextlib.suppress(TimeoutError):
        await peer.until(lambda p: p.ended, patience_s=60)
    peer.close()


# fuzz

STAGES: dict[str, Callable[[Victim], Awaitable[RawPeer]]] = {}


def stage(reach: Callable[[Victim], Awaitable[RawPeer]]) -> Callable[[Victim], Awaitable[RawPeer]]:
    STAGES[reach.__name__] = reach
    return reach


@stage
async def before_anything(victim: Victim) -> RawPeer:
    return await victim.raw()


@stage
async def after_the_proposal(victim: Victim) -> RawPeer:
    peer = await victim.raw()
    peer.write(NOISE)
    return peer


@stage
async def after_message_1(victim: Victim) -> RawPeer:
    peer = await victim.raw()
    peer.write(NOISE + MESSAGE_1)
    return peer


@stage
async def in_the_records(victim: Victim) -> RawPeer:
    return await victim.secured()


@stage
async def in_the_frames(victim: Victim) -> RawPeer:
    return await victim.secured()


@stage
async def in_a_negotiation(victim: Victim) -> RawPeer:
    peer = await victim.secured()
    peer.send(update(1, flags=SYN))
    return peer


@stage
async def in_a_stream(victim: Victim) -> RawPeer:
    peer = await victim.secured()
    await victim.opened(peer)
    return peer


frame = st.builds(
    lambda kind, flags, stream_id, length, body: wire.encode_header(kind, flags, stream_id, length) + body,
    st.sampled_from([0, 0, 1, 1, 2, 3, 4]),
    st.integers(0, 15),
    st.sampled_from([0, 1, 1, 2, 3, 5, 0xFFFF_FFFF]),
    st.sampled_from([0, 1, 8, 40, 262_144, 0xFFFF_FFFF]),
    st.sampled_from([b"", b"x", PROPOSAL, bytes(8), bytes(40)]),
)
noise = st.one_of(st.binary(max_size=200), st.lists(frame, max_size=12).map(b"".join))


@pytest.mark.parametrize("reach", STAGES.values(), ids=STAGES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(noise, min_size=1, max_size=4), end=st.sampled_from(["write_eof", "abort", "wait"]))
async def test_whatever_is_said_at_any_stage_only_documented_errors_come_of_it(
    reach: Callable[[Victim], Awaitable[RawPeer]], said: list[bytes], end: str
) -> None:
    async with attacked(connection=ConnectionConfig(handshake_timeout_s=2, negotiation_timeout_s=2)) as victim:
        told: list[PeerstackError | None] = []
        peer = await reach(victim)
        for connection in victim.attackers:
            forward = connection.on_closed

            def closed(connection: object, error: PeerstackError | None, forward: Callable[..., None] | None = forward) -> None:
                told.append(error)
                assert forward is not None
                forward(connection, error)

            connection.on_closed = closed
        for piece in said:
            if peer.lost:
                break
            if reach is in_a_stream or reach is in_a_negotiation:
                peer.send(data(1, piece))
            elif reach is in_the_frames:
                peer.send(piece)
            else:
                peer.write(piece)
            await asyncio.sleep(0.02)
        if end == "wait":
            await asyncio.sleep(3)
        else:
            getattr(peer.link, end)()
        await victim.serves()
        peer.close()
        await asyncio.sleep(20)
        assert victim.pending == 0
        assert victim.attackers == []
        assert all(error is None or isinstance(error, PeerstackError) for error in told)
