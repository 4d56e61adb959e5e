"""The `Providers` contract and raw values, on top of `Content`: arguments checked, callbacks turned into one future per call."""

from __future__ import annotations

from peerstack.dht.arguments import check_value, to_key
from peerstack.dht.contract import Provider
from peerstack.dht_plugin.calls import DhtCalls
from peerstack.errors import ValueTooLarge
from peerstack.identity import PeerId
from peerstack_kad.content import Content
from peerstack_kad.raw_operations import RawPutResult

__all__ = ["ContentCalls"]

_MAX_PROVIDED_KEY = 80
_MAX_RAW_KEY = 256


class ContentCalls(DhtCalls):
    """Adds `peerstack.dht.contract.Providers` and raw values to `DhtCalls`."""

    @property
    def content(self) -> Content:
        """The node's content.

        Raises:
            Closed: It is not running.
        """
        raise NotImplementedError

    async def provide(self, key: bytes | str, *, timeout: float | None = None) -> tuple[PeerId, ...]:
        """See `peerstack.dht.contract.Providers.provide`. Keys have 1 to 80 bytes; js serves only CIDs and SHA2-256 multihashes."""
        data, limit = _provided_key(key), self._timeout(timeout)
        return await self._settled(lambda finished: self.content.provide(data, limit, finished))

    async def find_providers(self, key: bytes | str, *, limit: int = 20, timeout: float | None = None) -> list[Provider]:
        """See `peerstack.dht.contract.Providers.find_providers`.

        Raises:
            Unavailable: Nobody could be asked.
        """
        if limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        data, seconds = _provided_key(key), self._timeout(timeout)
        return await self._settled(lambda finished: self.content.find_providers(data, limit, seconds, finished))

    async def put_raw(self, key: bytes, value: bytes, *, timeout: float | None = None) -> RawPutResult:
        """Store a raw value with the closest servers of a foreign network.

        Args:
            key: The whole key, ``/<namespace>/...``, up to 256 bytes.
            value: Up to 64 KiB; rust's default takes messages of up to 16 KiB.
            timeout: Seconds for the whole call; None is the DHT's default.

        Raises:
            InvalidRecord: It is not valid, or its namespace is not known here.
            Unavailable: Nobody took it.
            ValueTooLarge: Key or value is over its limit.
        """
        data, what, limit = to_key(key, limit=_MAX_RAW_KEY), check_value(value), self._timeout(timeout)
        return await self._settled(lambda finished: self.content.put_raw(data, what, limit, finished))

    async def get_raw(self, key: bytes, *, timeout: float | None = None) -> bytes:
        """Get the value that a key's namespace selects of what the closest servers have; those with less are sent it.

        Args:
            key: The whole key, ``/<namespace>/...``.
            timeout: Seconds for the whole call; None is the DHT's default.

        Raises:
            InvalidRecord: The namespace is not known here.
            KeyNotFound: None of those who answered has a valid one.
            Unavailable: Nobody answered.
        """
        data, limit = to_key(key, limit=_MAX_RAW_KEY), self._timeout(timeout)
        return await self._settled(lambda finished: self.content.get_raw(data, limit, finished))


def _provided_key(key: bytes | str) -> bytes:
    data = to_key(key, limit=_MAX_PROVIDED_KEY)
    if not data:
        raise ValueTooLarge("a key of provider records has at least 1 byte")
    return data
