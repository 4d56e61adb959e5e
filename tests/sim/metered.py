"""What messages cost, and on whose account: bytes as the plugin's own codec writes them, kept apart by what set them off.

Whatever a node does, it does because an operation began, because a message or an answer came, or because a timer ran out. What follows from
an operation is on the operation's account, at every node and however late; everything else is upkeep.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from peerstack_chord.codec import Codec as ChordCodec
from peerstack_chord.node import ChordNode
from peerstack_kad.codec import Codec as KademliaCodec
from peerstack_kad.node import KademliaNode

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.seam import Outside
from peerstack.dht.replica.settings import NodeParts
from peerstack.errors import PeerstackError
from peerstack.identity import PeerId
from peerstack.rpc.codec import ReplyFrame, RequestFrame
from peerstack.rpc.data_codec import DataCodec
from peerstack.testing.message_network import Answered, Handler, LinkModel, MessageEndpoint, MessageNetwork
from tests.sim.chord_network import SimulatedChord
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.node_network import LoopOutside, NodeOptions, ScenarioNetwork

__all__ = ["METERED", "Account", "Meter", "MeteredChord", "MeteredKademlia", "MeteredNetwork"]

ResultT = TypeVar("ResultT")

_REQUEST_ID: Final = 1000
_ADDRESS: Final = bytes.fromhex("04c0000201060fa1")
"""/ip4/192.0.2.1/tcp/4001: everybody listens on one address."""


@dataclass(slots=True)
class Account:
    """What was sent, by the kind of request; an answer counts with its request."""

    messages: Counter[str] = field(default_factory=Counter)
    """Requests and answers; an answer that comes too late is not counted."""
    bytes: Counter[str] = field(default_factory=Counter)

    def charge(self, kind: str, size: int) -> None:
        """Add one message."""
        self.messages[kind] += 1
        self.bytes[kind] += size

    def clear(self) -> None:
        """Begin anew."""
        self.messages.clear()
        self.bytes.clear()


class Meter:
    """Who pays.

    Attributes:
        upkeep: What no operation set off.
        paying: The account of what happens now.
    """

    def __init__(self, codec: DataCodec[Any]) -> None:
        self.upkeep = Account()
        self.paying = self.upkeep
        self.codec = codec

    async def pay(self, account: Account, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run an operation on an account: what it sets off sets its account itself, wherever the loop comes back."""
        self.paying = account
        return await call

    def later(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Whoever pays now pays for this as well."""
        account = self.paying

        def called(*args: Any) -> None:
            self.paying = account
            callback(*args)

        return called


class _MeteredMessages(MessageNetwork):
    """Weighs every message, and lets it carry whose account it is on."""

    def __init__(self, meter: Meter, seed: int | str, links: LinkModel | None) -> None:
        super().__init__(seed, links)
        self._meter = meter

    def attach(self, peer_id: PeerId, handler: Handler) -> MessageEndpoint:
        def handle(sender: PeerId, sent: tuple[Account, Any], respond: Callable[[Any], None]) -> None:
            self._meter.paying, request = sent
            handler(sender, request, respond)

        return super().attach(peer_id, handle)

    def request(self, source: MessageEndpoint, target: PeerId, message: Any, timeout: float, done: Answered) -> None:
        meter, account, kind = self._meter, self._meter.paying, type(message).__name__
        account.charge(kind, len(meter.codec.encode_request(RequestFrame(message, _REQUEST_ID))))

        def answered(reply: Any, now: float) -> None:
            if not isinstance(reply, PeerstackError):
                account.charge(kind, len(meter.codec.encode_reply(ReplyFrame(reply, _REQUEST_ID))))
            done(reply, now)

        super().request(source, target, (account, message), timeout, meter.later(answered))


class _MeteredOutside:
    """Clocks and timers of a node; who sets a timer pays for what comes of it."""

    __slots__ = ("_meter", "_outside", "random_bits", "time", "wall_us")

    def __init__(self, meter: Meter, outside: Outside) -> None:
        self._meter = meter
        self._outside = outside
        self.time = outside.time
        self.wall_us = outside.wall_us
        self.random_bits = outside.random_bits

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        return self._outside.call_later(delay, self._meter.later(callback))


class MeteredNetwork(ScenarioNetwork[Any]):
    """A network whose messages are weighed; what else it is comes from the DHT's own class."""

    meter: Meter

    def install(self, codec: DataCodec[Any], links: LinkModel | None) -> None:
        """Weigh all messages from now on: nobody is there yet."""
        self.meter = Meter(codec)
        self.messages = _MeteredMessages(self.meter, self.seed, links)

    def metered(self, parts: NodeParts) -> NodeParts:
        """The parts of a node that pays for its timers, and is named with an address."""
        parts.own.addresses = (_ADDRESS,)
        return replace(parts, outside=_MeteredOutside(self.meter, parts.outside))

    def start(self, options: NodeOptions | None = None) -> Any:
        """See `SimulatedNetwork.start`: joining is upkeep."""
        self.meter.paying = self.meter.upkeep
        return super().start(options)

    def settle(self, size: int) -> None:
        """Start `size` servers that joined long ago: whom each heard of last, and where in its periods it stands, is any moment."""
        raise NotImplementedError


class MeteredKademlia(MeteredNetwork, SimulatedKademlia):
    """Kademlia."""

    def __init__(self, seed: int | str, *, parameters: NetworkParameters, links: LinkModel | None = None) -> None:
        super().__init__(seed, parameters=parameters, links=links)
        self.install(KademliaCodec(), links)

    def make_node(self, parts: NodeParts, options: NodeOptions) -> KademliaNode:
        """See `SimulatedNetwork.make_node`."""
        return super().make_node(self.metered(parts), options)

    def settle(self, size: int) -> None:
        """See `MeteredNetwork.settle`."""
        self.assemble(size, long_ago=True)


class MeteredChord(MeteredNetwork, SimulatedChord):
    """Chord."""

    def __init__(self, seed: int | str, *, parameters: NetworkParameters, links: LinkModel | None = None) -> None:
        super().__init__(seed, parameters=parameters, links=links)
        self.install(ChordCodec(), links)
        self._long_ago = False

    def make_node(self, parts: NodeParts, options: NodeOptions) -> ChordNode:
        """See `SimulatedNetwork.make_node`."""
        assert isinstance(parts.outside, LoopOutside)
        parts.outside.mid_period = self._long_ago
        return super().make_node(self.metered(parts), options)

    def settle(self, size: int) -> None:
        """See `MeteredNetwork.settle`."""
        self._long_ago = True
        self.assemble(size)
        self._long_ago = False
        dice = random.Random(f"long ago {self.seed}")
        now, longest_s = self.messages.loop.time(), self.parameters.authority_loss_s / 5  # after which upkeep asks
        for node in self.nodes:
            node.outside.mid_period = False
            for member in node.node.engine.hood.members.values():
                member.last_heard = now - longest_s * dice.random()


METERED: Final[Mapping[str, type[MeteredKademlia | MeteredChord]]] = {"kad": MeteredKademlia, "chord": MeteredChord}
"""By the names of the plugins."""
