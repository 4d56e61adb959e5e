"""What all servers of one network must agree on.

On our own protocol ids the first answer on a connection carries these; a client adopts them, and a server that differs is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Final

from peerstack.dht.clock import to_microseconds
from peerstack.errors import ConfigError

__all__ = ["CHORD_PRESETS", "KADEMLIA_PRESETS", "NetworkParameters"]

_DAY_S: Final = 24 * 3600.0
_MAX_PERIOD_S: Final = 365 * _DAY_S
_MAX_COUNT: Final = 256
_MAX_ENCODED: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkParameters:
    """The numbers and periods of one network. Periods are seconds, in whole milliseconds.

    Raises:
        ConfigError: A number is out of range, or two do not fit together.
    """

    k: int = 20
    """Kademlia: contacts per bucket, and how many closest peers answers name."""
    replicas: int = 20
    """Servers responsible for a key."""
    r: int = 8
    """Chord: length of the successor list."""
    max_ttl_s: float = 7 * _DAY_S
    """The longest a record may live, and how long it is remembered at least."""
    stabilise_s: float = 15.0
    """Between two rounds of upkeep of the routing structure."""
    rpc_timeout_s: float = 0.0
    """For one request; 0 is adaptive."""
    repair_s: float = 3600.0
    """Between two repair rounds."""
    authority_loss_s: float = 50 * 60.0
    """A server that was cut off from the majority, or down, for so long takes over again before its word counts."""
    forget_s: float = 60 * 60.0
    """A server silent for so long is no longer counted as responsible."""

    def __post_init__(self) -> None:
        for name in ("k", "replicas", "r"):
            if not 1 <= getattr(self, name) <= _MAX_COUNT:
                raise ConfigError(f"{name} must be 1 to {_MAX_COUNT}, not {getattr(self, name)}")
        for name in _PERIODS:
            seconds = getattr(self, name)
            lowest = 0.0 if name == "rpc_timeout_s" else 0.001
            if not (math.isfinite(seconds) and lowest <= seconds <= _MAX_PERIOD_S):
                raise ConfigError(f"{name} must be {lowest} to {_MAX_PERIOD_S:.0f} seconds, not {seconds}")
            object.__setattr__(self, name, round(seconds * 1000) / 1000)
        if self.authority_loss_s >= self.forget_s:
            raise ConfigError("authority_loss_s must be below forget_s: a server must stop voting before others stop counting it")

    @property
    def max_ttl_us(self) -> int:
        """`max_ttl_s` in microseconds."""
        return to_microseconds(self.max_ttl_s)

    def encode(self) -> bytes:
        """The bytes that an answer carries."""
        from peerstack.dht.pb import parameters_pb2

        periods = {name[:-1] + "ms": round(getattr(self, name) * 1000) for name in _PERIODS}
        message = parameters_pb2.NetworkParameters(k=self.k, replicas=self.replicas, r=self.r, **periods)
        return message.SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> NetworkParameters:
        """Read what a peer sent.

        Raises:
            ConfigError: The bytes are no parameters, or cannot work.
        """
        from google.protobuf.message import DecodeError

        from peerstack.dht.pb import parameters_pb2

        message = parameters_pb2.NetworkParameters()
        try:
            if len(data) > _MAX_ENCODED:
                raise DecodeError("too long")
            message.ParseFromString(data)
        except DecodeError as error:
            raise ConfigError(f"these {len(data)} bytes are no network parameters") from error
        periods = {name: getattr(message, name[:-1] + "ms") / 1000 for name in _PERIODS}
        return cls(k=message.k, replicas=message.replicas, r=message.r, **periods)

    def check(self, other: NetworkParameters, peer: str) -> None:
        """Refuse a server whose parameters differ.

        Args:
            other: What it sent.
            peer: How to name it.

        Raises:
            ConfigError: They differ; the message says where.
        """
        theirs = asdict(other)
        differing = [f"{name} {ours} here, {theirs[name]} there" for name, ours in asdict(self).items() if ours != theirs[name]]
        if differing:
            raise ConfigError(f"{peer} is a server of a network with other parameters: {'; '.join(differing)}")


_PERIODS: Final = tuple(field.name for field in fields(NetworkParameters) if field.name.endswith("_s"))

_LOCAL: Final = NetworkParameters(
    replicas=3, r=3, max_ttl_s=3600, stabilise_s=0.5, rpc_timeout_s=1, repair_s=5, authority_loss_s=150, forget_s=180
)

KADEMLIA_PRESETS: Final[Mapping[str, NetworkParameters]] = MappingProxyType({"local": _LOCAL, "wan": NetworkParameters()})
CHORD_PRESETS: Final[Mapping[str, NetworkParameters]] = MappingProxyType({"local": _LOCAL, "wan": NetworkParameters(replicas=4)})
