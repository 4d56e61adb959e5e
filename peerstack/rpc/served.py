"""Streams of others, and the answers we owe on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from peerstack.dht.replica.limits import MAX_MESSAGE_BYTES
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.seam import Respond
from peerstack.errors import PeerstackError
from peerstack.identity import PeerId
from peerstack.plugin import Stream
from peerstack.rpc.alarm import Alarm
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack.rpc.outbox import Outbox

if TYPE_CHECKING:
    from peerstack.rpc.streams import StreamRpc

__all__ = ["Serve", "ServedStream"]

Serve = Callable[[PeerId, Request, Respond], None]
"""``(sender, request, respond)``."""


class ServedStream:
    """A stream of somebody else's, and the answers we owe on it."""

    def __init__(self, rpc: StreamRpc, stream: Stream, serve: Serve, parameters: bytes) -> None:
        self._rpc = rpc
        self._stream = stream
        self._serve = serve
        self._parameters = parameters  # until the first answer
        self._outbox = Outbox(stream)
        self._owed = 0
        self._flushed_soon = False
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Answer until the stream ends; whoever breaks the protocol loses the stream."""
        idle: Alarm | None = None
        try:
            async with asyncio.timeout(None) as until:
                idle = Alarm(self._rpc.context, until.reschedule)
                await self._serve_all(idle)
        except TimeoutError:
            return
        except PeerstackError as error:
            self._rpc.context.logger.debug("stream of %s ended: %s", self._stream.peer_id, error)
            self._stream.reset()
        finally:
            if idle is not None:
                idle.close()

    async def _serve_all(self, idle: Alarm) -> None:
        limits, message_type = self._rpc.limits, self._rpc.codec.message_type
        while True:
            idle.set(self._rpc.context.time() + limits.served_idle_s)
            message = await self._stream.read_message(message_type, limit=MAX_MESSAGE_BYTES)
            idle.clear()
            if message is None:
                return
            frame = self._rpc.codec.read_request(message)
            self._owed += 1
            self._flushed_soon = True
            self._serve(self._stream.peer_id, frame.request, self._responder(frame))
            self._flushed_soon = False
            if self._outbox.needs_writer and not self._outbox.flush_now():
                await self._outbox.flush()
            # Without ids answers come in order: one at a time. With ids, as many as are allowed to be owed.
            allowed = 0 if frame.request_id is None else limits.max_in_flight - 1
            while self._owed > allowed:
                self._room.clear()
                await self._room.wait()

    def _responder(self, request: RequestFrame) -> Respond:
        def respond(reply: Reply) -> None:
            self._owed -= 1
            self._room.set()
            if self._rpc.codec.ordered and getattr(reply, "refusal", None) is not None:
                self._stream.reset()  # as libp2p's DHTs refuse: there is no field to say why
                return
            frame = ReplyFrame(reply, request.request_id, self._parameters)
            self._parameters = b""
            answer = self._rpc.codec.encode_answer(request.request, frame)
            if answer is not None:
                self._outbox.put(answer)
            if self._outbox.needs_writer and not self._flushed_soon and not self._outbox.flush_now():
                self._rpc.context.spawn(self._flush(), name=f"answer {self._stream.peer_id}")

        return respond

    async def _flush(self) -> None:
        try:
            await self._outbox.flush()
        except PeerstackError:
            self._stream.reset()
