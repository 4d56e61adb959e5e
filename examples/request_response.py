"""A protocol of one's own: length-prefixed protobuf requests and answers, as a plugin with settings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from peerstack import Host, ProtocolLimits, ProtocolPlugin, Stream

WORD_COUNT = "/examples/word-count/1.0.0"


class WordCount(ProtocolPlugin):
    """Counts the words of a text, any number of times on one stream."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """What is too much."""

        max_request_bytes: int = 64 << 10

    ids = (WORD_COUNT,)
    limits = ProtocolLimits(max_streams=100, max_streams_per_peer=4)

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    async def handle(self, stream: Stream) -> None:
        """Answer until the client is done; a request over the limit resets the stream."""
        while (request := await stream.read_message(StringValue, limit=self.config.max_request_bytes)) is not None:
            await stream.write_message(Int64Value(value=len(request.value.split())))


async def count_words(stream: Stream, text: str) -> int:
    """One request, one answer."""
    await stream.write_message(StringValue(value=text))
    answer = await stream.read_message(Int64Value)
    if answer is None:
        raise EOFError("the server closed the stream")
    return answer.value


async def main() -> list[int]:
    """Ask twice on one stream."""
    async with (
        Host(listen=["/ip4/127.0.0.1/tcp/0"], protocols=[WordCount()]) as server,
        Host() as client,
        client.open(server.addrs[0], WORD_COUNT, timeout=5) as stream,
    ):
        counts = [await count_words(stream, text) for text in ("to be or not to be", "that is the question")]
        print(counts)
        return counts


if __name__ == "__main__":
    asyncio.run(main())
