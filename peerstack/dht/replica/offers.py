"""Being offered records: what is held of them, and who offered what is held, so that it need not be offered again. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import KEY_BITS, Contact, key_bytes
from peerstack.dht.replica.messages import Offer, OfferAnswer, Offered, OfferReply
from peerstack.dht.replica.neighbourhood import Neighbourhood
from peerstack.dht.store.contract import MAX_SUBKEYS, RecordStore
from peerstack.errors import PeerstackError

__all__ = ["OfferBook", "members_digest"]

_MEMBERS_BYTES: Final = 8
_MAX_NOTED: Final = 1 << 16


def members_digest(members: Iterable[Contact]) -> bytes:
    """A responsible set in a few bytes, whatever its order."""
    return hashlib.sha256(b"".join(sorted(key_bytes(contact.key) for contact in members))).digest()[:_MEMBERS_BYTES]


class OfferBook:
    """Answers offers, and notes those of equal copies. Bounded: what is not noted is offered once more.

    Args:
        hood: Around whom.
        store: What is held.
    """

    def __init__(self, hood: Neighbourhood, store: RecordStore) -> None:
        self._hood = hood
        self._store = store
        self._noted: OrderedDict[tuple[bytes, bytes], tuple[bytes, bytes, float]] = OrderedDict()

    def answer(self, sender: Contact, offer: Offer, *, now: float, wall_us: int) -> OfferReply:
        """Compare what is offered with what is held; where the store cannot be read nothing is equal."""
        answers: list[OfferAnswer] = []
        counts = sender.key in self._hood.members
        for where, entries in groupby(offer.entries, key=lambda offered: offered.position):
            held = self._held(where, wall_us)
            equal = OfferAnswer.CONFIRMED if self._hood.is_authoritative(int.from_bytes(where, "big")) else OfferAnswer.EQUAL
            for offered in entries:
                if not _is_equal(held.get(offered.subkey), offered):
                    answers.append(OfferAnswer.DIFFERENT)
                    continue
                answers.append(equal)
                if counts:
                    self._note(offered, now)
        return OfferReply(tuple(answers))

    def covered(self, record: Record, members: bytes, since: float) -> bool:
        """Whether another server counted offered this very record since then, to the same set."""
        noted = self._noted.get((record.position, record.subkey))
        return noted is not None and noted[0] == record.digest and noted[1] == members and noted[2] >= since

    def _held(self, where: bytes, wall_us: int) -> dict[bytes, Record]:
        beyond = int.from_bytes(where, "big") + 1
        try:
            records = self._store.scan(where, None if beyond >> KEY_BITS else key_bytes(beyond), now=wall_us, limit=2 * MAX_SUBKEYS)
        except PeerstackError:
            return {}
        return {record.subkey: record for record in records}

    def _note(self, offered: Offered, now: float) -> None:
        slot = offered.position, offered.subkey
        self._noted[slot] = (offered.digest, offered.members, now)
        self._noted.move_to_end(slot)
        if len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)


def _is_equal(held: Record | None, offered: Offered) -> bool:
    return held is not None and held.digest == offered.digest and (held.value is not None or not offered.whole)
