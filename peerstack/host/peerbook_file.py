"""The peer book on disk: ``peers.json``, written whole and swapped in, read leniently.

It saves a restarted host the search for the network; nothing depends on it. Only peers that were met are kept.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peerstack.addresses import Address
from peerstack.errors import InvalidAddress, InvalidPeerId
from peerstack.host.peerbook import KnownAddress, PeerBook
from peerstack.identity import PeerId

__all__ = ["PeerBookFile"]

_logger = logging.getLogger(__name__)

_NAME = "peers.json"
_VERSION = 1
_MAX_PEERS = 1000
_MAX_FILE_BYTES = 16 << 20
_MAX_AGE_S = 31 * 86400.0  # an expiry beyond this was written by a clock far ahead


class PeerBookFile:
    """Loads a book at start and saves it from time to time."""

    def __init__(self, folder: str, *, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        """Name the place.

        Args:
            folder: The host's data folder; created when it is missing.
            clock: The book's clock.
            wall_clock: Seconds since 1970, in which expiry is written.
        """
        self._path = Path(folder) / _NAME
        self._clock = clock
        self._wall_clock = wall_clock
        self._saved = b""

    def load(self, book: PeerBook) -> int:
        """Put what the file holds into the book; returns the peers read.

        A file that is no peer book is kept beside as ``peers.json.broken`` and logged; a wrong entry is passed over.
        """
        try:
            if self._path.stat().st_size > _MAX_FILE_BYTES:
                raise ValueError(f"over {_MAX_FILE_BYTES} bytes")
            document = json.loads(self._path.read_bytes())
            if not isinstance(document, dict) or document.get("version") != _VERSION or not isinstance(document.get("peers"), list):
                raise ValueError(f"no peer book of version {_VERSION}")
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, RecursionError) as error:
            self._keep_aside(error)
            return 0
        entries = document["peers"][:_MAX_PEERS]
        read = sum(self._restore(book, entry) for entry in reversed(entries))
        if read < len(entries):
            _logger.warning("%s: passed over %d entries that are no peers", self._path, len(entries) - read)
        return read

    def encode(self, book: PeerBook) -> bytes | None:
        """What `write` should write, or None when nothing changed."""
        offset = self._wall_clock() - self._clock()
        peers: list[dict[str, Any]] = []
        for peer_id, _ in book.met():
            addresses = [_entry(address, known, offset) for address, known in book.addresses(peer_id)]
            if addresses and len(peers) < _MAX_PEERS:
                peers.append({"id": str(peer_id), "addresses": addresses})
        data = json.dumps({"version": _VERSION, "peers": peers}, indent=1).encode()
        if data == self._saved:
            return None
        self._saved = data
        return data

    def write(self, data: bytes) -> None:
        """Write the file whole and swap it in; blocks on the disk. A failure is logged: the host lives without."""
        temporary = ""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=_NAME + ".")  # mode 0600
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError as error:
            _logger.warning("cannot save %s: %s", self._path, error)
            if temporary:
                Path(temporary).unlink(missing_ok=True)

    def _restore(self, book: PeerBook, entry: Any) -> bool:
        offset = self._clock() - self._wall_clock()
        try:
            peer_id = PeerId.parse(entry["id"])
            addresses = [
                (
                    Address.parse(item["address"]),
                    KnownAddress(
                        float(item["expires"]) + offset,
                        given=item.get("given") is True,
                        worked=None if item.get("worked") is None else float(item["worked"]) + offset,
                    ),
                )
                for item in entry["addresses"]
            ]
        except (InvalidPeerId, InvalidAddress, AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return False
        now = self._clock()
        live = [(address, known) for address, known in addresses if now < known.expires <= now + _MAX_AGE_S]
        if live:
            book.restore(peer_id, live)
        return True

    def _keep_aside(self, error: Exception) -> None:
        aside = self._path.with_name(_NAME + ".broken")
        _logger.warning("%s cannot be read (%s): kept as %s, starting with an empty peer book", self._path, error, aside.name)
        try:
            self._path.replace(aside)
        except OSError as failure:
            _logger.warning("cannot keep %s aside: %s", self._path, failure)


def _entry(address: Address, known: KnownAddress, offset: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"address": str(address), "expires": round(known.expires + offset)}
    if known.given:
        entry["given"] = True
    if known.worked is not None:
        entry["worked"] = round(known.worked + offset)
    return entry
