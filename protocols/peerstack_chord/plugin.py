"""The plugin: a `ChordNode` on a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.config import Preset
from peerstack.dht.namespaces import Namespace, Namespaces
from peerstack.dht.parameters import CHORD_PRESETS, NetworkParameters
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht_plugin.plugin import DhtPlugin
from peerstack.errors import ConfigError
from peerstack_chord.codec import Codec
from peerstack_chord.codec_parts import MAX_R
from peerstack_chord.node import ChordNode

__all__ = ["PROTOCOL_ID", "Chord"]

PROTOCOL_ID: Final = "/peerstack/chord/1.0.0"


class Chord(DhtPlugin[ChordNode]):
    """Chord: put and get over the servers of one ring. A host that listens joins the ring and serves; one that does not is a client.

    Args:
        config: See `Config`.
        namespaces: The application's own namespaces, known to every server of its network.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Which network.

        Raises:
            ConfigError: The protocol id is none, or the parameters are none of a ring.
        """

        preset: Preset = "wan"
        """The network parameters to start from: ``local``, or ``lan`` and ``wan`` (which are one)."""
        protocol_id: str = PROTOCOL_ID
        """The network: nodes with different ids do not know each other."""
        parameters: NetworkParameters | None = None
        """Instead of the preset's. All servers of a network must agree on them."""

        def __post_init__(self) -> None:
            if not self.protocol_id.startswith("/"):
                raise ConfigError(f"a protocol id starts with a slash, not {self.protocol_id!r}")
            if self.parameters is None:
                return
            if self.parameters.r > MAX_R:
                raise ConfigError(f"r must be 1 to {MAX_R} on a ring, not {self.parameters.r}: the map of one that forms is one message")
            if self.parameters.replicas > self.parameters.r:
                raise ConfigError(f"replicas must not be above r ({self.parameters.r}) on a ring: they stand on the successor list")

    def __init__(self, config: Config | None = None, *, namespaces: Sequence[Namespace] = ()) -> None:
        config = config or self.Config()
        parameters = config.parameters or CHORD_PRESETS["local" if config.preset == "local" else "wan"]
        super().__init__(config.protocol_id, parameters, Namespaces(namespaces))

    def _make_node(self, parts: NodeParts) -> ChordNode:
        return ChordNode(parts)

    def _make_codec(self) -> Codec:
        return Codec()
