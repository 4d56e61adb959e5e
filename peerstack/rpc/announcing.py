"""Telling others what they never answer: libp2p's ADD_PROVIDER.

It goes on streams of its own, because some servers answer it after all (py does) and the answer would pass for that to another request. How
the stream ends says whether it was refused: those who do that reset it. What is to be told to one peer in the meantime goes on the next
stream, all together: nobody is sent more than one at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, Reply
from peerstack.errors import Closed, PeerstackError
from peerstack.plugin import Stream
from peerstack.rpc.channel import Pending, finish
from peerstack.wire import varint

if TYPE_CHECKING:
    from peerstack.rpc.streams import StreamRpc

__all__ = ["Announcer"]

_OPEN_S: Final = 10.0
_FAREWELL_S: Final = 1.0  # how long we wait for the end that says it was not refused
_MAX_UNASKED: Final = 16  # reads of what comes although nothing was asked


class Announcer:
    """What one peer is told.

    Args:
        rpc: Whose streams.
        peer: Whom.
    """

    def __init__(self, rpc: StreamRpc, peer: Contact) -> None:
        self._rpc = rpc
        self._peer = peer
        self._waiting: list[tuple[bytes, Pending]] = []

    @property
    def waiting(self) -> int:
        """Announcements that are not on their way yet."""
        return len(self._waiting)

    def put(self, messages: list[bytes], pending: Pending) -> None:
        """Tell these on the next stream."""
        self._waiting.append((b"".join(varint.encode(len(message)) + message for message in messages), pending))

    async def run(self) -> None:
        """Tell everything there is to tell."""
        try:
            while self._waiting:
                batch = [(data, pending) for data, pending in self._waiting if pending.done is not None]
                self._waiting = []
                await self._tell(batch)
        finally:
            self.end(Closed("the DHT is stopping"))

    def end(self, error: PeerstackError) -> None:
        """Tell nothing more."""
        waiting, self._waiting = self._waiting, []
        for _, pending in waiting:
            finish(pending, error, self._rpc.context.time())

    async def _tell(self, batch: list[tuple[bytes, Pending]]) -> None:
        outcome: Reply | PeerstackError = Closed("the DHT is stopping")
        try:
            async with self._rpc.context.open(self._peer.peer_id, self._rpc.protocol_id, timeout=_OPEN_S) as stream:
                await stream.write(b"".join(data for data, _ in batch), eof=True)
                for _, pending in batch:
                    pending.cancel_timer()  # it is written: from here on silence means consent
                await _await_end(stream)
            outcome = Done()
        except PeerstackError as error:
            outcome = error
        finally:
            for _, pending in batch:
                finish(pending, outcome, self._rpc.context.time())


async def _await_end(stream: Stream) -> None:
    try:
        async with asyncio.timeout(_FAREWELL_S):
            for _ in range(_MAX_UNASKED):
                if not await stream.read():
                    return
    except TimeoutError:
        pass
    stream.reset()
