"""An embedded key-value store: three nodes in one program, a value that outlives the node that stored it."""

from __future__ import annotations

import asyncio

from peerstack import Host, KeyNotFound, preset

LISTEN = ["/ip4/127.0.0.1/tcp/0"]
LOCAL = preset("local")


async def main() -> bytes:
    """Put on one node, read on another after the first has left, delete, and see that it is gone."""
    async with (
        Host(listen=LISTEN, protocols=["kad"], config=LOCAL) as first,
        Host(listen=LISTEN, protocols=["kad"], bootstrap=first.addrs, config=LOCAL) as second,
    ):
        async with Host(listen=LISTEN, protocols=["kad"], bootstrap=first.addrs, config=LOCAL) as third:
            stored = await third.put("greeting", b"hello", ttl=600)
            print(f"stored by {len(stored.acknowledged)} nodes")
            report = await third.dht().leave()
            print(f"left: {report}")
        found = await second.get("greeting")
        print(f"found {found.value!r}, confirmed: {found.confirmed}")
        await second.delete("greeting")
        try:
            await first.get("greeting")
        except KeyNotFound:
            print("deleted")
        assert found.value is not None
        return found.value


if __name__ == "__main__":
    asyncio.run(main())
