"""What a node does for content: provider records on every id, raw values on foreign ones. Beside `node`, which knows nothing of either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerstack.dht.contract import Provider, Refusal, RefusalReason
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.limits import MAX_CLOSER
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.seam import Finished, Respond
from peerstack.dht.store.storage import SideTable
from peerstack.errors import PeerstackError
from peerstack.identity import PeerId
from peerstack_kad.messages import AddProvider, GetProviders, GetRaw, ProvidersReply, PutRaw, RawReply, Taken
from peerstack_kad.provider_records import ProviderRecords
from peerstack_kad.providing import FindProviders, Provide
from peerstack_kad.raw_operations import GetRawValue, PutRawValue, RawPutResult
from peerstack_kad.raw_values import RawNamespaces, RawValues
from peerstack_kad.reproviding import Sweep

__all__ = ["Content"]

_REPROVIDE_S: Final = 22 * 3600.0
_SWEEP_S: Final = 600.0


class Content:
    """Provider records and raw values of one node.

    Attributes:
        provided: What this node announced, and announces again every 22 h.

    Args:
        node: The node.
        serving: Whether it serves the network's id.
        namespaces: Judge raw values.
        provider_table: Where provider records are kept; None is memory alone.
        value_table: Where raw values are kept; None is memory alone.
    """

    def __init__(
        self,
        node: DhtNode,
        *,
        serving: bool,
        namespaces: RawNamespaces | None = None,
        provider_table: SideTable | None = None,
        value_table: SideTable | None = None,
    ) -> None:
        self.provided: set[bytes] = set()
        self._node = node
        self._engine = node.engine
        self._outside = node.engine.outside
        self._namespaces = namespaces or RawNamespaces(())
        own, now = node.engine.own.key, self._outside.wall_us()
        self._providers = ProviderRecords(own, provider_table, now=now) if serving else None
        self._values = RawValues(own, self._namespaces, value_table, now=now) if serving else None
        self._sweep: Sweep | None = None
        self._cancels: dict[str, Callable[[], None]] = {}

    def start(self) -> None:
        """Begin to announce again and to forget."""
        self._every("reprovide", _REPROVIDE_S, self.reprovide)
        self._every("sweep", _SWEEP_S, self._forget)

    def stop(self) -> None:
        """End."""
        if self._sweep is not None:
            self._sweep.stop()
        for cancel in self._cancels.values():
            cancel()
        self._cancels.clear()

    def serve(self, sender: Contact, request: Request, respond: Respond) -> bool:
        """Answer a request that is about content; whether it was."""
        now = self._outside.wall_us()
        match request:
            case GetRaw(key=key, position=position):
                held = None if self._values is None else self._values.get(key, now)
                value, received_us = held or (None, 0)
                respond(RawReply(value, received_us, self._closer(sender, position)))
            case PutRaw(key=key, value=value):
                self._put(key, value, now, respond)
            case GetProviders(key=key, position=position):
                providers = () if self._providers is None else self._providers.get(key, now)
                respond(ProvidersReply(providers, self._closer(sender, position)))
            case AddProvider():
                respond(Taken(self._add(sender, request, now)))
            case _:
                return False
        return True

    def provide(self, key: bytes, timeout: float, finished: Finished[tuple[PeerId, ...]]) -> None:
        """Announce a key, now and every 22 h."""
        self.provided.add(key)
        self._when_ready(
            timeout, finished, lambda left: Provide(self._engine, key, own=self._providers, timeout=left, finished=finished).start()
        )

    def find_providers(self, key: bytes, limit: int, timeout: float, finished: Finished[list[Provider]]) -> None:
        """Find who has a key."""

        def begin(left: float) -> None:
            FindProviders(self._engine, key, limit=limit, own=self._providers, timeout=left, finished=finished).start()

        self._when_ready(timeout, finished, begin)

    def put_raw(self, key: bytes, value: bytes, timeout: float, finished: Finished[RawPutResult]) -> None:
        """Store a raw value with the closest servers.

        Raises:
            InvalidRecord: It is not valid, or there is no validator for it.
            ValueTooLarge: It is over the limit.
        """
        self._namespaces.validate(key, value, self._outside.wall_us())

        def begin(left: float) -> None:
            PutRawValue(self._engine, key, value, own=self._values, timeout=left, finished=finished).start()

        self._when_ready(timeout, finished, begin)

    def get_raw(self, key: bytes, timeout: float, finished: Finished[bytes]) -> None:
        """Get the best of what the closest servers have.

        Raises:
            InvalidRecord: There is no validator for it.
        """
        self._namespaces.of(key)

        def begin(left: float) -> None:
            GetRawValue(self._engine, self._namespaces, key, own=self._values, timeout=left, finished=finished).start()

        self._when_ready(timeout, finished, begin)

    def reprovide(self) -> None:
        """Announce everything again, unless that is under way."""
        if self.provided and self._sweep is None:
            self._sweep = Sweep(self._engine, self.provided, own=self._providers, finished=self._swept)
            self._sweep.start()

    def _swept(self) -> None:
        self._sweep = None

    def _put(self, key: bytes, value: bytes, now: int, respond: Respond) -> None:
        if self._values is None:
            respond(Taken(Refusal(RefusalReason.NOT_RESPONSIBLE, "a client stores nothing")))
        else:
            self._values.put(key, value, now, lambda refusal: respond(Taken(refusal, now)))

    def _add(self, sender: Contact, request: AddProvider, now: int) -> Refusal | None:
        said = next((entry for entry in request.providers if entry.key == sender.key), None)
        if said is None:
            return Refusal(RefusalReason.INVALID, "nobody is announced by others")
        if self._providers is None:
            return Refusal(RefusalReason.NOT_RESPONSIBLE, "a client stores nothing")
        return self._providers.add(request.keys, said if said.addresses else sender, now)

    def _closer(self, sender: Contact, position: int) -> tuple[Contact, ...]:
        count = min(self._engine.parameters.k, MAX_CLOSER)
        return tuple(self._engine.routing.closest(position, count, exclude=sender.key))

    def _when_ready(self, timeout: float, finished: Callable[[PeerstackError], None], begin: Callable[[float], None]) -> None:
        self._node.readiness.when(begin, finished, timeout)

    def _forget(self) -> None:
        now = self._outside.wall_us()
        if self._providers is not None:
            self._providers.sweep(now)
        if self._values is not None:
            self._values.sweep(now)

    def _every(self, name: str, period: float, action: Callable[[], None]) -> None:
        def fire() -> None:
            self._every(name, period, action)
            action()

        self._cancels[name] = self._outside.call_later(period, fire)
