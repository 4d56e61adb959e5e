"""One program, two DHTs: the name of the plugin is all that differs between Kademlia and Chord."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from peerstack import Host, KeyNotFound, preset

LISTEN = ["/ip4/127.0.0.1/tcp/0"]
LOCAL = preset("local")


async def main(dht: str = "kad") -> list[bytes | None]:
    """Write here, read there, go on after a server left, delete: the same calls whatever `dht` is.

    Args:
        dht: ``kad`` or ``chord``.

    Returns:
        What was read: after the first write, after the second, and after the delete (None).
    """
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(Host(listen=LISTEN, protocols=[dht], config=LOCAL))]
        for _ in range(4):
            hosts.append(await stack.enter_async_context(Host(listen=LISTEN, protocols=[dht], bootstrap=hosts[0].addrs, config=LOCAL)))
        client = await stack.enter_async_context(Host(protocols=[dht], bootstrap=hosts[0].addrs, config=LOCAL))

        stored = await hosts[1].put("greeting", b"hello", ttl=600)
        print(f"{dht}: stored by {len(stored.acknowledged)} servers")
        read: list[bytes | None] = [(await client.get("greeting")).value]

        lookup = await client.dht().lookup("greeting", trace=True)
        print(f"{dht}: responsible are {[str(peer)[-6:] for peer in lookup.peers]}, found by asking {len(lookup.hops)}")

        report = await hosts[4].dht().leave()
        print(f"{dht}: {report}")
        await hosts[2].put("greeting", b"hello again", ttl=600)
        read.append((await client.get("greeting")).value)

        await client.delete("greeting")
        try:
            await hosts[3].get("greeting")
        except KeyNotFound:
            read.append(None)
        return read


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
