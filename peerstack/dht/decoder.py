"""Reading records from the wire, the same bytes once: many holders answer with the same record, and its signature costs the most."""

from __future__ import annotations

from typing import Final

from peerstack.dht.records import Record, Verifier, verify_signature

__all__ = ["RecordDecoder"]

_MAX_BYTES_KEPT: Final = 1 << 20


class RecordDecoder:
    """Decodes for one host. What it keeps is bounded by the bytes of the records, the least recently read go first.

    Args:
        verifier: Checks signatures.
        max_bytes_kept: Of encoded records.
    """

    def __init__(self, verifier: Verifier = verify_signature, *, max_bytes_kept: int = _MAX_BYTES_KEPT) -> None:
        self._verifier = verifier
        self._max_bytes_kept = max_bytes_kept
        self._known: dict[bytes, Record] = {}  # by all bytes, value and signature included: equal bytes are an equal record, checked before
        self._bytes_kept = 0

    def decode(self, data: bytes) -> Record:
        """Decode and verify, as `Record.decode`.

        Raises:
            InvalidRecord: Something of it is wrong.
        """
        record = self._known.pop(data, None)
        if record is None:
            record = Record.decode(data, self._verifier)
            self._bytes_kept += len(data)
        self._known[data] = record  # the most recently read last
        while self._bytes_kept > self._max_bytes_kept:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._bytes_kept -= len(oldest)
        return record
