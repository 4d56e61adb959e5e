"""The messages printed in docs/protocols/kad.md, made by our codec."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peerstack_kad.codec import Codec
from peerstack_kad.messages import AddProvider, GetProviders, ProvidersReply, Taken

from peerstack.addresses import Address
from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.records import Draft, Record, Slot
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.messages import (
    Done,
    FindNode,
    GetReply,
    GetValue,
    Leave,
    NodesReply,
    Offer,
    OfferAnswer,
    Offered,
    OfferReply,
    Ping,
    Pull,
    PullReply,
    Push,
    PushReply,
    PutReply,
    PutValue,
    Reply,
    Request,
    Standing,
)
from peerstack.dht.replica.offers import members_digest
from peerstack.dht.replica.pages import page_digest
from peerstack.dht.store.contract import Outcome, Status
from peerstack.identity import PrivateKey
from peerstack.rpc.codec import ReplyFrame, RequestFrame

__all__ = ["EXCHANGES", "PAGE", "Exchange", "read_vectors"]

PAGE: Final = Path(__file__).parents[3] / "docs" / "protocols" / "kad.md"

_WRITER = PrivateKey.from_seed(bytes(range(32)))
_OTHER = PrivateKey.from_seed(bytes(range(1, 33)))
_FIRST, _SECOND = (
    Contact.of(key.peer_id, (Address.parse(f"/ip4/192.0.2.{number}/tcp/4001").to_bytes(),)) for number, key in ((1, _WRITER), (2, _OTHER))
)
_RECORD = Record.sign(
    Draft(
        slot=Slot("kv", b"greeting", b""),
        value=b"hello",
        version_time=1_800_000_000_000_000,
        expires_at=1_800_172_800_000_000,
        remember_until=1_800_606_600_000_000,
        renewable=True,
    ),
    _WRITER,
)
_KEY = _RECORD.wire_key
_CURSOR = _RECORD.position, b""
_STANDING = Standing(True, (_FIRST, _SECOND))
_PARAMETERS = KADEMLIA_PRESETS["local"].encode()

Exchange = tuple[str, Request, Reply, bytes]
"""``(name, request, reply, parameters in the answer)``; requests are numbered from 1 in this order."""

EXCHANGES: Final[tuple[Exchange, ...]] = (
    ("ping, the first request on its stream: the answer has the parameters of the preset local", Ping(), Done(), _PARAMETERS),
    ("find-node of a key", FindNode.of(_KEY), NodesReply((_SECOND,)), b""),
    ("find-node of a position", FindNode(b"", 1 << 255), NodesReply(()), b""),
    ("get-value of one subkey", GetValue(_KEY, position_of(_KEY), b""), GetReply((_RECORD,), (), _STANDING), b""),
    ("get-value of every subkey, of which there is none", GetValue(_KEY, position_of(_KEY)), GetReply((), (), Standing(False)), b""),
    ("put-value, stored", PutValue(_RECORD), PutReply(None, _STANDING), b""),
    (
        "put-value, superseded (here by an equal record)",
        PutValue(_RECORD),
        PutReply(Refusal(RefusalReason.SUPERSEDED, "a greater record is stored", _RECORD), _STANDING),
        b"",
    ),
    (
        "pull, its first page",
        Pull(3, settled=False),
        PullReply((_RECORD,), _STANDING, known=False, next=_CURSOR, silent_s=(0.0, 1.5), digest=page_digest(None, _CURSOR, [_RECORD])),
        b"",
    ),
    (
        "pull, its last page",
        Pull(3, settled=False, after=_CURSOR),
        PullReply((), _STANDING, known=True, silent_s=(0.0, 1.75), digest=page_digest(_CURSOR, None, [])),
        b"",
    ),
    ("push", Push((_RECORD,)), PushReply((Outcome(Status.STORED),)), b""),
    (
        "offer",
        Offer((Offered(_RECORD.position, b"", _RECORD.digest, True, members_digest((_FIRST, _SECOND))),)),
        OfferReply((OfferAnswer.CONFIRMED,)),
        b"",
    ),
    ("leave", Leave(handed=True), Done(), b""),
    ("add-provider", AddProvider((b"content",), (_FIRST,)), Taken(None), b""),
    ("get-providers", GetProviders.of(b"content"), ProvidersReply((_FIRST,), (_SECOND,)), b""),
)


def encoded(number: int, exchange: Exchange) -> tuple[bytes, bytes]:
    """Request and answer of one exchange as bytes."""
    _, request, reply, parameters = exchange
    codec = Codec()
    return codec.encode_request(RequestFrame(request, number)), codec.encode_reply(ReplyFrame(reply, number, parameters))


def read_vectors(text: str) -> list[dict[str, str]]:
    """The vectors of a page: blocks of lines with the field's name in the first 16 columns."""
    vectors = []
    for block in text.split("```vector\n")[1:]:
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("```")[0].splitlines():
            name = line[:16].strip() or name
            fields[name] = fields.get(name, "") + line[16:].strip()
        vectors.append(fields)
    return vectors
