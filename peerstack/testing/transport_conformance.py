"""The suite every transport must pass (`peerstack.net.transport`).

Subclass it in a test module, say how a transport is made, and mark the class for the event loop it needs::

    @pytest.mark.asyncio
    class TestTcpTransport(TransportConformance):
        def make_transports(self) -> tuple[Transport, Transport]:
            return TcpTransport(), TcpTransport()

        def listen_address(self) -> Address:
            return Address.parse("/ip4/127.0.0.1/tcp/0")

The tests are plain ``async def`` methods with plain asserts. Waits end with the condition they wait for, and fail after `patience_s`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from peerstack.addresses import Address
from peerstack.errors import DialError, ListenError
from peerstack.net.transport import Accept, Link, LinkReceiver, Listener, Transport
from peerstack.testing.recording_receiver import RecordingReceiver

__all__ = ["Connected", "RecordingReceiver", "TransportConformance"]

_MANY_BYTES = 4 << 20
_MOST_BUFFERED_BYTES = 64 << 20  # no transport may take more than this while nobody reads


@dataclass(kw_only=True, slots=True)
class Connected:
    """A link between two recording receivers, and the listener that accepted it."""

    near: RecordingReceiver
    """The dialer's end."""
    far: RecordingReceiver
    """The listener's end."""
    listener: Listener
    dialer: Transport
    seen: Address
    """The dialer's address, as `Accept` was told it."""


class TransportConformance:
    """Tests of the transport contract; see the module."""

    patience_s: float = 10.0
    """How long a wait may take."""

    def make_transports(self) -> tuple[Transport, Transport]:
        """Make the transport that dials and the one that listens; they reach each other."""
        raise NotImplementedError

    def listen_address(self) -> Address:
        """An address that can be listened on any number of times, such as one with port 0."""
        raise NotImplementedError

    def foreign_address(self) -> Address:
        """An address the transport does not support."""
        return Address.parse("/ip4/127.0.0.1/udp/4001/quic-v1")

    # addresses, listening and dialling

    async def test_it_supports_what_it_listens_on_and_nothing_else(self) -> None:
        """`supports` answers for `dial` and `listen`."""
        for transport in self.make_transports():
            assert transport.supports(self.listen_address())
            assert not transport.supports(self.foreign_address())

    async def test_a_foreign_address_is_refused(self) -> None:
        """What is not supported is an error of ours, not of the operating system."""
        dialer, listening = self.make_transports()
        await _expect_dial_error(dialer, self.foreign_address())
        try:
            await listening.listen(self.foreign_address(), lambda _remote: RecordingReceiver())
        except ListenError:
            return
        raise AssertionError("listen on a foreign address did not raise ListenError")

    async def test_both_ends_know_both_addresses(self) -> None:
        """Addresses are the bound ones, the same seen from both ends, and without a peer id."""
        async with self.connected() as c:
            (bound,) = c.listener.addresses
            assert bound != self.listen_address()
            assert c.near.link.remote_address == bound == c.far.link.local_address
            assert c.near.link.local_address == c.seen == c.far.link.remote_address
            assert bound.peer_id is None

    async def test_a_listener_accepts_many_links_that_do_not_mix(self) -> None:
        """Each of many links carries its own bytes."""
        dialer, listening = self.make_transports()
        accepted: list[RecordingReceiver] = []
        listener = await listening.listen(self.listen_address(), _accept_into(accepted))
        receivers = [RecordingReceiver() for _ in range(50)]
        await asyncio.gather(*(dialer.dial(listener.addresses[0], receiver) for receiver in receivers))
        for number, receiver in enumerate(receivers):
            receiver.link.write(bytes([number]) * (number + 1))
            receiver.link.write_eof()
        for receiver in accepted:
            await receiver.until(lambda r: r.eof, patience_s=self.patience_s)
        assert sorted(bytes(receiver.received) for receiver in accepted) == [bytes([n]) * (n + 1) for n in range(50)]
        await self._end(*receivers, *accepted)
        await listener.close()

    async def test_nobody_listening_is_a_dial_error(self) -> None:
        """A closed listener accepts no more, and links it accepted live on."""
        async with self.connected() as c:
            await c.listener.close()
            await _expect_dial_error(c.dialer, c.listener.addresses[0])
            c.near.link.write(b"still here")
            await c.far.until(lambda r: r.received == b"still here", patience_s=self.patience_s)

    async def test_an_address_in_use_is_a_listen_error(self) -> None:
        """An address is bound once, and free again when its listener is closed."""
        _, listening = self.make_transports()
        listener = await listening.listen(self.listen_address(), lambda _remote: None)
        (bound,) = listener.addresses
        try:
            await listening.listen(bound, lambda _remote: None)
        except ListenError:
            pass
        else:
            raise AssertionError("listening twice on one address did not raise ListenError")
        await listener.close()
        await (await listening.listen(bound, lambda _remote: None)).close()

    async def test_a_refused_link_fails_or_ends(self) -> None:
        """None from `Accept` refuses: the dial fails, or its link ends without a byte."""
        dialer, listening = self.make_transports()
        listener = await listening.listen(self.listen_address(), lambda _remote: None)
        receiver = RecordingReceiver()
        try:
            await dialer.dial(listener.addresses[0], receiver)
        except DialError:
            assert not receiver.made
        else:
            await receiver.until(lambda r: r.ended, patience_s=self.patience_s)
            assert not receiver.received
            await self._end(receiver)
        await listener.close()

    async def test_a_cancelled_dial_leaves_no_link(self) -> None:
        """Whoever accepted the link of a dial that was given up learns of its end."""
        dialer, listening = self.make_transports()
        accepted: list[RecordingReceiver] = []
        listener = await listening.listen(self.listen_address(), _accept_into(accepted, _Echo))
        for turns in range(6):
            dial = asyncio.create_task(_dial(dialer, listener.addresses[0]))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not dial.cancel():
                await self._end(dial.result())
            await asyncio.wait([dial])
            if not dial.cancelled():
                await self._end(dial.result())
        await self._round_trip(dialer, listener.addresses[0])
        for receiver in accepted:
            await receiver.until(lambda r: r.ended, patience_s=self.patience_s)
        await self._end(*accepted)
        await listener.close()

    # bytes

    async def test_bytes_arrive_in_order_both_ways_at_once(self) -> None:
        """Writes of any size, whatever buffer they come in, arrive as one sequence of bytes."""
        async with self.connected() as c:
            sent = {c.near: bytearray(), c.far: bytearray()}
            rng = random.Random(1)
            for turn in range(200):
                for end, written in sent.items():
                    data = rng.randbytes(rng.choice((0, 1, 2, 100, 5000, 70_000)))
                    end.link.write((data, bytearray(data), memoryview(data))[turn % 3])
                    written += data
                if turn % 10 == 0:
                    await asyncio.sleep(0)
            await c.near.until(lambda r: len(r.received) >= len(sent[c.far]), patience_s=self.patience_s)
            await c.far.until(lambda r: len(r.received) >= len(sent[c.near]), patience_s=self.patience_s)
            assert c.near.received == sent[c.far]
            assert c.far.received == sent[c.near]

    async def test_a_large_write_arrives_whole(self) -> None:
        """One write of several MiB is fine."""
        async with self.connected() as c:
            data = random.Random(2).randbytes(_MANY_BYTES)
            c.far.link.write(data)
            await c.near.until(lambda r: len(r.received) >= len(data), patience_s=self.patience_s)
            assert c.near.received == data

    async def test_both_ends_may_write_from_link_made(self) -> None:
        """The link works from the first call on."""
        dialer, listening = self.make_transports()
        accepted: list[RecordingReceiver] = []

        def accept(_remote: Address) -> RecordingReceiver:
            accepted.append(_Greeter(b"hello from the listener"))
            return accepted[-1]

        listener = await listening.listen(self.listen_address(), accept)
        near = _Greeter(b"hello from the dialer")
        await dialer.dial(listener.addresses[0], near)
        await near.until(lambda r: r.received == b"hello from the listener", patience_s=self.patience_s)
        await accepted[0].until(lambda r: r.received == b"hello from the dialer", patience_s=self.patience_s)
        await self._end(near, *accepted)
        await listener.close()

    # backpressure

    async def test_a_paused_reader_makes_the_writer_pause(self) -> None:
        """Whoever does not read fills a bounded buffer; reading again empties it and nothing is lost."""
        async with self.connected() as c:
            for writer, reader in ((c.near, c.far), (c.far, c.near)):
                reader.pause()
                written = 0
                while writer.writable:
                    assert written < _MOST_BUFFERED_BYTES, "the link takes bytes without end while nobody reads"
                    writer.link.write(bytes(64 << 10))
                    written += 64 << 10
                    await asyncio.sleep(0)
                before = len(reader.received)
                await self._settle(c)
                assert len(reader.received) == before
                reader.resume()
                await reader.until(lambda r, n=written: len(r.received) >= n, patience_s=self.patience_s)  # type: ignore[misc]
                await writer.until(lambda r: r.writable, patience_s=self.patience_s)
                assert len(reader.received) == written

    async def test_pausing_inside_a_delivery_holds_the_next_one_back(self) -> None:
        """`pause_reading` takes effect at once, and pausing or resuming twice is once."""

        def pause_twice(receiver: RecordingReceiver) -> None:
            receiver.pause()
            receiver.pause()

        async with self.connected(far=RecordingReceiver(on_received=pause_twice)) as c:
            total = 0
            for _ in range(20):
                c.near.link.write(bytes(100_000))
                total += 100_000
            while len(c.far.received) < total:
                chunks = c.far.chunks
                await c.far.until(lambda r, n=chunks: r.chunks > n, patience_s=self.patience_s)  # type: ignore[misc]
                c.far.resume()
                c.far.resume()
            assert len(c.far.received) == total

    # the end

    async def test_half_close_leaves_the_other_direction_open(self) -> None:
        """`write_eof` comes after the bytes before it; the other end may go on writing as long as it likes."""
        async with self.connected() as c:
            c.near.link.write(b"question")
            c.near.link.write_eof()
            await c.far.until(lambda r: r.eof, patience_s=self.patience_s)
            assert c.far.received == b"question"
            for _ in range(10):
                await asyncio.sleep(0)
                c.far.link.write(b"answer")
            await c.near.until(lambda r: r.received == b"answer" * 10, patience_s=self.patience_s)
            assert not c.near.ended
            assert not c.far.lost
            c.far.link.close()
            await c.near.until(lambda r: r.ended, patience_s=self.patience_s)

    async def test_close_delivers_everything_written_before(self) -> None:
        """The link is lost on our side without an error, and the other end has every byte, then the end."""
        async with self.connected() as c:
            data = random.Random(3).randbytes(_MANY_BYTES)
            c.near.link.write(data)
            c.near.link.close()
            await c.far.until(lambda r: r.ended, patience_s=self.patience_s)
            await c.near.until(lambda r: r.lost, patience_s=self.patience_s)
            assert c.far.received == data
            assert c.near.error is None

    async def test_close_waits_for_a_slow_reader(self) -> None:
        """What was queued when the link was closed arrives even if the other end reads it much later."""
        async with self.connected() as c:
            c.far.pause()
            data = random.Random(4).randbytes(_MANY_BYTES)
            c.near.link.write(data)
            c.near.link.close()
            await self._settle(c)
            c.far.resume()
            await c.far.until(lambda r: r.ended, patience_s=self.patience_s)
            assert c.far.received == data

    async def test_both_ends_may_close_at_once(self) -> None:
        """Each end is lost once, without an error."""
        async with self.connected() as c:
            c.near.link.close()
            c.far.link.close()
            await c.near.until(lambda r: r.lost, patience_s=self.patience_s)
            await c.far.until(lambda r: r.lost, patience_s=self.patience_s)
            assert c.near.error is None
            assert c.far.error is None

    async def test_abort_ends_both_sides_at_once(self) -> None:
        """Our side is lost though the other one does not read; the other one learns that it is over."""
        async with self.connected() as c:
            c.far.pause()
            for _ in range(64):
                c.near.link.write(bytes(64 << 10))
            c.near.link.abort()
            await c.near.until(lambda r: r.lost, patience_s=self.patience_s)
            assert c.near.error is None
            c.far.resume()
            await c.far.until(lambda r: r.ended, patience_s=self.patience_s)
            assert len(c.far.received) < 64 * (64 << 10)

    async def test_abort_cuts_a_close_short(self) -> None:
        """A close that waits for a reader who never reads can be given up."""
        async with self.connected() as c:
            c.far.pause()
            c.near.link.write(bytes(_MANY_BYTES))
            c.near.link.write(bytes(_MANY_BYTES))
            c.near.link.close()
            c.near.link.abort()
            await c.near.until(lambda r: r.lost, patience_s=self.patience_s)
            c.far.resume()
            await c.far.until(lambda r: r.ended, patience_s=self.patience_s)
            assert len(c.far.received) < 2 * _MANY_BYTES

    async def test_a_closed_end_receives_no_more(self) -> None:
        """Not even while the close waits for what was written to leave."""
        async with self.connected() as c:
            c.near.pause()
            c.far.link.write(bytes(_MANY_BYTES))
            c.far.link.write(bytes(_MANY_BYTES))
            c.far.link.close()
            c.near.link.write(b"too late")
            await self._settle(c)
            assert c.far.received == b""

    async def test_writing_to_an_end_that_is_gone_loses_the_link(self) -> None:
        """The writer is told within bounded time, whether the other end closed or aborted."""
        for verb in ("close", "abort"):
            async with self.connected() as c:
                getattr(c.far.link, verb)()
                await c.far.until(lambda r: r.lost, patience_s=self.patience_s)
                async with asyncio.timeout(self.patience_s):
                    while not c.near.lost:
                        c.near.link.write(b"anyone there?")
                        await self._settle(c)

    async def test_calls_after_the_end_do_nothing(self) -> None:
        """Closing twice, aborting after closing, pausing and writing after the end: none raises, none calls back."""
        async with self.connected() as c:
            for end in (c.near, c.far):
                end.link.close()
                end.link.close()
                end.link.abort()
                await end.until(lambda r: r.lost, patience_s=self.patience_s)
                end.link.write(b"too late")
                end.link.write_eof()
                end.link.pause_reading()
                end.link.resume_reading()
                end.link.close()
                end.link.abort()
            await self._settle(c)

    async def test_a_receiver_may_end_the_link_inside_a_delivery(self) -> None:
        """After `close` or `abort` nothing more is received, even of what has arrived already."""
        for verb in ("close", "abort"):
            receiver = RecordingReceiver(on_received=lambda r, verb=verb: getattr(r.link, verb)())  # type: ignore[misc]
            async with self.connected(far=receiver) as c:
                for _ in range(100):
                    c.near.link.write(bytes(10_000))
                await c.far.until(lambda r: r.lost, patience_s=self.patience_s)
                assert c.far.chunks == 1

    # helpers

    @asynccontextmanager
    async def connected(self, *, far: RecordingReceiver | None = None) -> AsyncIterator[Connected]:
        """Link two recording receivers; at the end both are aborted and must have seen no breach of the contract."""
        dialer, listening = self.make_transports()
        seen: list[Address] = []
        probes: list[RecordingReceiver] = []
        near, far = RecordingReceiver(), far or RecordingReceiver()

        def accept(remote: Address) -> LinkReceiver:
            if seen:
                probes.append(_Echo())
                return probes[-1]
            seen.append(remote)
            return far

        listener = await listening.listen(self.listen_address(), accept)
        link = await dialer.dial(listener.addresses[0], near)
        assert near.link is link
        await far.until(lambda r: r.made, patience_s=self.patience_s)
        yield Connected(near=near, far=far, listener=listener, dialer=dialer, seen=seen[0])
        await self._end(near, far, *probes)
        await listener.close()

    async def _settle(self, connected: Connected) -> None:
        """Give what is under way the time to arrive: a round trip on a link of its own."""
        await self._round_trip(connected.dialer, connected.listener.addresses[0])

    async def _round_trip(self, dialer: Transport, address: Address) -> None:
        probe = await _dial(dialer, address)
        probe.link.write(b"echo")
        await probe.until(lambda r: r.received == b"echo", patience_s=self.patience_s)
        await self._end(probe)

    async def _end(self, *receivers: RecordingReceiver) -> None:
        for receiver in receivers:
            receiver.link.abort()
        for receiver in receivers:
            await receiver.until(lambda r: r.lost, patience_s=self.patience_s)
            assert receiver.violations == []


class _Greeter(RecordingReceiver):
    def __init__(self, greeting: bytes) -> None:
        super().__init__()
        self._greeting = greeting

    def link_made(self, link: Link) -> None:
        super().link_made(link)
        link.write(self._greeting)


class _Echo(RecordingReceiver):
    def link_received(self, data: bytes | memoryview) -> None:
        super().link_received(data)
        self.link.write(bytes(data))


def _accept_into(accepted: list[RecordingReceiver], make: Callable[[], RecordingReceiver] = RecordingReceiver) -> Accept:
    def accept(_remote: Address) -> LinkReceiver:
        accepted.append(make())
        return accepted[-1]

    return accept


async def _dial(dialer: Transport, address: Address) -> RecordingReceiver:
    receiver = RecordingReceiver()
    await dialer.dial(address, receiver)
    return receiver


async def _expect_dial_error(dialer: Transport, address: Address) -> None:
    receiver = RecordingReceiver()
    try:
        await dialer.dial(address, receiver)
    except DialError:
        assert not receiver.made
        return
    raise AssertionError(f"dialling {address} did not raise DialError")
