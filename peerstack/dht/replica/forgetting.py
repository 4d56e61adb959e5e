"""Forgetting on an operator's word: who does not answer is gone for good, even if without it there is no majority."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.messages import Ping, Reply
from peerstack.errors import PeerstackError

__all__ = ["Forgetting"]


class Forgetting:
    """Asks servers whether they are there.

    Args:
        engine: Whose node.
        servers: Whom to ask.
        finished: Gets those that did not answer.
    """

    def __init__(self, engine: Engine, servers: Iterable[Contact], finished: Callable[[list[Contact]], None]) -> None:
        self._engine = engine
        self._servers = list({contact.key: contact for contact in servers}.values())
        self._finished = finished
        self._awaited = len(self._servers)
        self._silent: list[Contact] = []

    def start(self) -> None:
        """Begin."""
        if not self._servers:
            self._engine.outside.call_later(0, lambda: self._finished([]))
        for contact in self._servers:
            self._ask(contact)

    def _ask(self, contact: Contact) -> None:
        def answered(reply: Reply | PeerstackError, _now: float) -> None:
            if isinstance(reply, PeerstackError):
                self._silent.append(contact)
            self._awaited -= 1
            if not self._awaited:
                self._finished(self._silent)

        self._engine.ask(contact, Ping(), answered)
