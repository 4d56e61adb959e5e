"""Our streams to others: long-lived ones that carry many requests.

Where answers come in order, a request nobody waits for any more keeps its slot until its answer has come and is discarded, and reads that
were cut off by the refusal of another request are tried once more on a new stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.limits import MAX_MESSAGE_BYTES
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.seam import RpcDone
from peerstack.errors import Closed, ConnectionLost, DeadlineExceeded, InvalidMessage, PeerstackError, ProtocolViolation
from peerstack.identity import PeerId
from peerstack.plugin import Stream
from peerstack.rpc.alarm import Alarm
from peerstack.rpc.codec import Envelope, RequestFrame
from peerstack.rpc.outbox import Outbox

if TYPE_CHECKING:
    from peerstack.rpc.streams import StreamRpc

__all__ = ["Channel", "Pending", "finish", "too_late"]


@dataclass(slots=True, eq=False)
class Pending:
    """A request under way."""

    request: Request
    done: RpcDone | None  # None: nobody waits any more, the answer only has to be passed over
    timeout: float
    deadline: float
    cancel_timer: Callable[[], None] = lambda: None  # one of its own, where no channel watches the deadline
    retried: bool = False


def too_late(pending: Pending, peer: Contact) -> DeadlineExceeded:
    """Why a request has no answer at its deadline."""
    return DeadlineExceeded(f"{peer.peer_id} did not answer within {pending.timeout:g} s")


def finish(pending: Pending, outcome: Reply | PeerstackError, now: float) -> None:
    """Tell whoever waits for a request, once."""
    done, pending.done = pending.done, None
    pending.cancel_timer()
    if done is not None:
        done(outcome, now)


class Channel:
    """Our stream to one peer, and what we wait for on it."""

    def __init__(self, rpc: StreamRpc, peer: Contact, key: tuple[PeerId, bool]) -> None:
        self.key = key
        self._rpc = rpc
        self._peer = peer
        self._ordered = rpc.codec.ordered
        self._waiting: dict[int, Pending] = {}  # in order of sending
        self._next_id = 1
        self._stream: Stream | None = None
        self._outbox: Outbox | None = None
        self._ended = False
        self._alarm = Alarm(rpc.context, self._wake)  # for the next deadline of those waiting, or for the end of idling

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def send(self, pending: Pending) -> None:
        """Send a request as soon as the stream is open."""
        request_id = self._next_id
        self._next_id += 1
        due = self._alarm.deadline
        self._alarm.set(pending.deadline if due is None or not self._waiting else min(due, pending.deadline))
        self._waiting[request_id] = pending
        if self._outbox is not None:
            self._write(request_id, pending)

    def tidy(self) -> None:
        """Forget requests nobody waits for; where answers come in order, one that owes only those is given up."""
        if not self._ordered:
            self._waiting = {number: pending for number, pending in self._waiting.items() if pending.done is not None}
        elif all(pending.done is None for pending in self._waiting.values()):
            self.end(ConnectionLost("none of many requests was answered", remote=False))

    async def run(self) -> None:
        """Open the stream and read answers until its end."""
        error: PeerstackError = ConnectionLost("the peer closed the stream")
        try:
            self._stream = await self._rpc.context.open_stream(self._peer.peer_id, self._rpc.protocol_id)
            if not self._ended:
                await self._converse(self._stream)
        except PeerstackError as caught:
            error = caught
        except asyncio.CancelledError:
            error = Closed("the DHT is stopping")
            raise
        finally:
            self.end(error)

    def end(self, error: PeerstackError) -> None:
        """Give the stream up: reads on a foreign id that were cut off are tried once more, everybody else is told."""
        self._alarm.close()
        if self._stream is not None:
            self._stream.reset()
        if self._ended:
            return
        self._ended = True
        self._rpc.forget(self)
        waiting, self._waiting = self._waiting, {}
        now = self._rpc.context.time()
        for pending in waiting.values():
            if pending.done is None:
                continue
            if self._may_retry(pending, error):
                self._rpc.retry(self._peer, pending)
            else:
                finish(pending, error, now)

    async def _converse(self, stream: Stream) -> None:
        self._outbox = Outbox(stream)
        for request_id, pending in list(self._waiting.items()):
            if pending.done is None:
                del self._waiting[request_id]  # it came too late to be sent at all
            else:
                self._write(request_id, pending)
        message_type = self._rpc.codec.message_type
        while True:
            message = await stream.read_message(message_type, limit=MAX_MESSAGE_BYTES)
            if message is None:
                return
            self._take(message)

    def _write(self, request_id: int, pending: Pending) -> None:
        assert self._outbox is not None
        frame = RequestFrame(pending.request, None if self._ordered else request_id)
        self._outbox.put(self._rpc.codec.encode_request(frame))
        if self._outbox.needs_writer and not self._outbox.flush_now():
            self._rpc.context.spawn(self._flush(self._outbox), name=f"write to {self._peer.peer_id}")

    async def _flush(self, outbox: Outbox) -> None:
        try:
            await outbox.flush()
        except PeerstackError as error:
            self.end(error)

    def _take(self, message: Envelope) -> None:
        request_id = next(iter(self._waiting), 0) if self._ordered else message.requestId  # ids start at 1
        if message.parameters:
            refused = self._rpc.on_parameters(self._peer.peer_id, message.parameters)
            if refused is not None:
                raise refused
        pending = self._waiting.pop(request_id, None)
        if pending is None:
            if self._ordered:
                raise ProtocolViolation(f"{self._peer.peer_id} answers what was not asked")
            return  # the answer to a request that was given up
        if pending.done is not None:
            try:
                outcome: Reply | PeerstackError = self._rpc.codec.read_reply(message, pending.request).reply
            except InvalidMessage as error:
                outcome = error
            finish(pending, outcome, self._rpc.context.time())
        if not self._waiting and not self._ended:
            self._alarm.set(self._rpc.context.time() + self._rpc.limits.idle_s)

    def _wake(self, now: float) -> None:
        if not self._waiting and self._stream is not None:
            self._rpc.forget(self)
            self._stream.write_eof()  # it was idle for long: the peer closes its side too, and `run` ends
            return
        for pending in list(self._waiting.values()):
            if pending.done is not None and pending.deadline <= now:
                finish(pending, too_late(pending, self._peer), now)
        deadlines = [pending.deadline for pending in self._waiting.values() if pending.done is not None]
        if deadlines:
            self._alarm.set(min(deadlines))

    def _may_retry(self, pending: Pending, error: PeerstackError) -> bool:
        # A stream that was never opened tells nothing new the second time.
        cut_off = self._outbox is not None and not isinstance(error, Closed)
        return self._ordered and cut_off and not pending.retried and not self._rpc.codec.is_write(pending.request)
