"""The messages printed in docs/protocols/chord.md, made by our codec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from peerstack_chord.codec import Codec
from peerstack_chord.member_map import MemberMap
from peerstack_chord.messages import (
    Depart,
    Entry,
    ExchangeMap,
    GetState,
    Join,
    JoinReply,
    MapReply,
    Meet,
    Notify,
    NotMember,
    StateReply,
    Status,
    Verdict,
)
from peerstack_chord.ring import Member, Mode, State

from peerstack.addresses import Address
from peerstack.dht.parameters import CHORD_PRESETS
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Done, FindNode, NodesReply, Ping, Pull, PullReply, Reply, Request, Standing
from peerstack.dht.replica.pages import page_digest
from peerstack.identity import PrivateKey
from peerstack.rpc.codec import ReplyFrame, RequestFrame

__all__ = ["EXCHANGES", "PAGE", "Exchange", "encoded"]

PAGE: Final = Path(__file__).parents[3] / "docs" / "protocols" / "chord.md"

_KEYS = [PrivateKey.from_seed(bytes(range(number, number + 32))) for number in range(3)]
_FIRST, _SECOND, _THIRD = (
    Contact.of(key.peer_id, (Address.parse(f"/ip4/192.0.2.{number}/tcp/4001").to_bytes(),)) for number, key in enumerate(_KEYS, start=1)
)
_OURS, _OTHER, _THEIRS = (Member(each, 1_800_000_000_000_000 + number) for number, each in enumerate((_FIRST, _SECOND, _THIRD)))
_STATE = State(_THEIRS, Mode.RING, 1, _OTHER, (_OURS, _OTHER))
_FORMING = State(_THEIRS, Mode.FORMING, 1, None, ())
_MAP = (Entry(_THEIRS, Status.UP), Entry(_OURS, Status.JOINING))


def _map_digest() -> bytes:
    found = MemberMap(len(_MAP))
    found.merge(_MAP)
    return found.digest


Exchange = tuple[str, Request, Reply, bytes]
"""``(name, request, reply, parameters in the answer)``; requests are numbered from 1 in this order."""

EXCHANGES: Final[tuple[Exchange, ...]] = (
    (
        "ping, the first request on its stream: the answer has the parameters of the preset local",
        Ping(),
        Done(),
        CHORD_PRESETS["local"].encode(),
    ),
    ("find-node of a position", FindNode(b"", 1 << 255), NodesReply((_SECOND,)), b""),
    ("find-node of a position, asked of who is no member", FindNode(b"", 1 << 255), NotMember(), b""),
    ("get-state of a member of a ring", GetState(), StateReply(_STATE), b""),
    ("get-state of the one member of a ring that forms", GetState(), StateReply(_FORMING), b""),
    ("join, let in", Join(_OURS), JoinReply(Verdict.JOINED, State(_THEIRS, Mode.RING, 1, _OTHER, (_OTHER,))), b""),
    ("join of a ring that forms", Join(_OURS), JoinReply(Verdict.FORMING, _FORMING, _MAP), b""),
    ("join, refused for now", Join(_OURS), JoinReply(Verdict.BUSY, _STATE), b""),
    ("notify", Notify(_OURS), Done(), b""),
    ("exchange-map", ExchangeMap(1, _MAP), MapReply(Mode.FORMING, 1, _MAP), b""),
    ("exchange-map with who stands on a ring already", ExchangeMap(1, _MAP), MapReply(Mode.RING, 2, ()), b""),
    ("depart", Depart(_OURS, _THEIRS), Done(), b""),
    ("meet", Meet(_FIRST), Done(), b""),
    ("get-state of a member of a ring that is about to leave", GetState(), StateReply(replace(_STATE, leaving=True)), b""),
    ("depart, from who found another member to stay", Depart(_OURS, _THEIRS, (_OTHER,)), Done(), b""),
    (
        "pull of the whole ring",
        Pull((1 << 256) - 1, settled=False),
        PullReply((), Standing(True, (_FIRST, _SECOND)), known=True, silent_s=(0.0, 1.5), digest=page_digest(None, None, [])),
        b"",
    ),
    (
        "exchange-map, the map being the one that was confirmed",
        ExchangeMap(1, (), _map_digest()),
        MapReply(Mode.FORMING, 1, (), _map_digest()),
        b"",
    ),
)


def encoded(number: int, exchange: Exchange) -> tuple[bytes, bytes]:
    """Request and answer of one exchange as bytes."""
    _, request, reply, parameters = exchange
    codec = Codec()
    return codec.encode_request(RequestFrame(request, number)), codec.encode_reply(ReplyFrame(reply, number, parameters))
