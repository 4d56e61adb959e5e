"""Taking wire keys apart; `peerstack.dht.records.wire_key` puts them together."""

from __future__ import annotations

from peerstack.errors import InvalidRecord

__all__ = ["split_wire_key"]


def split_wire_key(key: bytes) -> tuple[str, bytes]:
    """Namespace and raw key of ``/<namespace>/<raw key>``; namespaces contain no slash, so this is never ambiguous.

    Raises:
        InvalidRecord: It is no such key.
    """
    parts = key.split(b"/", 2)
    if len(parts) != 3 or parts[0] or not parts[1].isascii():
        raise InvalidRecord("a wire key is /<namespace>/ and the raw key")
    return parts[1].decode("ascii"), parts[2]
