"""What a node is, beside its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.persistence import NodeState

__all__ = ["NodeSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSettings:
    """Settings of any node; a plugin adds its own."""

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
