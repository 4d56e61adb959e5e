"""Two hosts in one program: one echoes, the other one asks."""

from __future__ import annotations

import asyncio

from peerstack import Host, Stream


async def main() -> bytes:
    """Send a line and return what comes back."""
    async with Host(listen=["/ip4/127.0.0.1/tcp/0"]) as server, Host() as client:

        @server.protocol("/echo/1.0.0")
        async def echo(stream: Stream) -> None:
            async for chunk in stream:
                await stream.write(chunk)

        async with client.open(server.addrs[0], "/echo/1.0.0", timeout=5) as stream:
            await stream.write(b"hello peer\n", eof=True)
            answer = await stream.readuntil(b"\n")
            print(f"{stream.peer_id} says {answer.decode().strip()}")
            return answer


if __name__ == "__main__":
    asyncio.run(main())
