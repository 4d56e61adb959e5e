"""What a node is, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Signer
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.replica.seam import Outside, Rpc
from peerstack.dht.store.contract import RecordStore

__all__ = ["NodeParts", "NodeSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSettings:
    """What a node is, beside its surroundings."""

    parameters: NetworkParameters
    namespaces: Namespaces = field(default_factory=Namespaces)
    serving: bool = True
    """Whether it is a server."""
    founder: bool = False
    """Whether it may be a network of one: it knows of nobody, and never did."""
    warn: Callable[[str], None] = lambda _text: None
    """Told what an operator has to know."""
    uncertain: Callable[[], None] = lambda: None
    """Told when this node took over from everybody who answered, without a majority of every set."""
    state: NodeState = field(default_factory=NodeState)
    """What it remembers over a restart, beside its records."""
    count: Callable[[str, int], None] = lambda _name, _amount: None
    """Adds to a counter."""
    awaited: Callable[[], str | None] = lambda: None
    """What this node is about to learn of other servers from, in words; None: nothing. Operations wait for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeParts:
    """What any node is made of; the geometry and the routing are its DHT's."""

    own: Contact
    """The node, as others are told of it."""
    signer: Signer
    """Signs its records."""
    store: RecordStore
    """What it holds."""
    rpc: Rpc
    """Its way to others."""
    outside: Outside
    """Its clocks and timers."""
    settings: NodeSettings
