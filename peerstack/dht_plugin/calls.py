"""The contract of `peerstack.dht`, on top of a node: arguments checked, callbacks turned into one future per call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from peerstack.dht.arguments import check_ack, check_quorum, check_slot, check_timeout, check_value
from peerstack.dht.contract import Ack, Answer, GetResult, LeaveReport, Lookup, PutResult, Question
from peerstack.dht.policy import DELETED, draft_record, lifetime
from peerstack.dht.records import Record, Slot, wire_key
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.messages import FindNode, GetReply, GetValue, NodesReply, Ping, PutReply, PutValue, Reply, Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.putting import PutOrder
from peerstack.errors import InvalidMessage, InvalidRecord, PeerstackError
from peerstack.identity import PeerId

__all__ = ["DhtCalls"]

ResultT = TypeVar("ResultT")

_LEAVE_TIMEOUT_S = 60.0


class DhtCalls:
    """`peerstack.dht.contract.Dht` and `Inspect` for whoever has a `DhtNode`."""

    @property
    def node(self) -> DhtNode:
        """The node.

        Raises:
            Closed: It is not running.
        """
        raise NotImplementedError

    @property
    def default_timeout_s(self) -> float:
        """Seconds for a call that says nothing."""
        return 10.0 if self.node.engine.parameters.rpc_timeout_s else 60.0

    async def put(
        self,
        key: bytes | str,
        value: bytes,
        *,
        namespace: str = "kv",
        subkey: bytes | str = b"",
        ttl: float | None = None,
        ack: Ack = "majority",
        timeout: float | None = None,
    ) -> PutResult:
        """See `peerstack.dht.contract.Dht.put`."""
        slot = self._slot(namespace, key, subkey)
        engine = self.node.engine
        life = lifetime(ttl, engine.outside.wall_us(), engine.parameters)
        order = PutOrder(slot=slot, value=check_value(value), life=life, ack=check_ack(ack), timeout=self._timeout(timeout))
        self._check_writable(order)
        return await self._settled(lambda finished: self.node.put(order, finished))

    async def delete(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", timeout: float | None = None
    ) -> PutResult:
        """See `peerstack.dht.contract.Dht.delete`."""
        slot = self._slot(namespace, key, subkey)
        if not self.node.engine.namespaces[namespace].deletable:
            raise InvalidRecord(f"there is no delete in namespace {namespace!r}")
        order = PutOrder(slot=slot, value=b"", life=DELETED, timeout=self._timeout(timeout))
        self._check_writable(order)
        return await self._settled(lambda finished: self.node.put(order, finished))

    async def get(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", quorum: int | None = None, timeout: float | None = None
    ) -> GetResult:
        """See `peerstack.dht.contract.Dht.get`."""
        slot, limit, wanted = self._slot(namespace, key, subkey), self._timeout(timeout), check_quorum(quorum)
        return await self._settled(lambda finished: self.node.get(slot, quorum=wanted, timeout=limit, finished=finished))

    async def get_all(
        self, key: bytes | str, *, namespace: str = "kv", since: int | None = None, timeout: float | None = None
    ) -> list[Record]:
        """See `peerstack.dht.contract.Dht.get_all`."""
        slot, limit = self._slot(namespace, key, b""), self._timeout(timeout)
        return await self._settled(lambda finished: self.node.get_all(namespace, slot.key, since=since, timeout=limit, finished=finished))

    async def lookup(self, key: bytes | str, *, namespace: str = "kv", trace: bool = False, timeout: float | None = None) -> Lookup:
        """See `peerstack.dht.contract.Dht.lookup`."""
        slot, limit = self._slot(namespace, key, b""), self._timeout(timeout)
        return await self._settled(lambda finished: self.node.lookup(namespace, slot.key, trace=trace, timeout=limit, finished=finished))

    async def leave(self, *, timeout: float | None = None) -> LeaveReport:
        """See `peerstack.dht.contract.Dht.leave`."""
        limit = check_timeout(timeout, _LEAVE_TIMEOUT_S)
        return await self._settled(lambda finished: self.node.leave(timeout=limit, finished=finished))

    async def ask(self, peer: PeerId, question: Question, *, timeout: float | None = None) -> Answer:
        """See `peerstack.dht.contract.Inspect.ask`."""
        node = self.node
        contact = Contact.of(peer)
        if (entry := node.engine.routing.get(contact.key)) is not None:
            contact = entry.contact
        request, written = await self._request_of(question)
        began = node.engine.outside.time()
        limit = self._timeout(timeout)
        reply: Reply = await self._settled(
            lambda finished: node.engine.ask(contact, request, lambda result, _now: finished(result), timeout=limit)
        )
        return _answer(peer, question, reply, written, node.engine.outside.time() - began)

    def closest(self, key: bytes | str, *, namespace: str = "kv", count: int = 20) -> Sequence[PeerId]:
        """See `peerstack.dht.contract.Inspect.closest`."""
        position = position_of(wire_key(namespace, self._slot(namespace, key, b"").key))
        return [contact.peer_id for contact in self.node.engine.routing.closest(position, count)]

    def topology(self) -> Mapping[str, Any]:
        """See `peerstack.dht.contract.Inspect.topology`."""
        return self.node.topology()

    async def forget(self) -> tuple[PeerId, ...]:
        """See `peerstack.dht.contract.Inspect.forget`."""
        return await self._settled(lambda finished: self.node.forget(finished))

    def end_calls(self, error: PeerstackError) -> None:
        """Tell everybody who still waits for a call that there will be no answer: the node has stopped."""
        for future in list(self._calls):
            if not future.done():
                future.set_exception(error)

    @cached_property
    def _calls(self) -> set[asyncio.Future[Any]]:
        return set()

    async def _settled(self, begin: Callable[[Callable[[ResultT | PeerstackError], None]], object]) -> ResultT:
        """Begin an operation and wait for its one callback; whoever is cancelled stops waiting, the operation ends by itself."""
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()

        def finished(result: ResultT | PeerstackError) -> None:
            if future.done():
                return
            if isinstance(result, PeerstackError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._calls.add(future)
        try:
            begin(finished)
            return await future
        finally:
            self._calls.discard(future)

    def _slot(self, namespace: str, key: bytes | str, subkey: bytes | str) -> Slot:
        slot = check_slot(namespace, key, subkey)
        self.node.engine.namespaces[namespace]
        return slot

    def _timeout(self, timeout: float | None) -> float:
        return check_timeout(timeout, self.default_timeout_s)

    def _check_writable(self, order: PutOrder) -> None:
        """Refuse what the namespace does not let us write before anything is sent."""
        engine = self.node.engine
        now = engine.outside.wall_us()
        draft = draft_record(order.slot, order.value, now, order.life, 0, engine.parameters)
        engine.namespaces[order.slot.namespace].validate(Record.sign(draft, engine.signer), now)

    async def _request_of(self, question: Question) -> tuple[Request, Record | None]:
        slot = self._slot(question.namespace, question.key, question.subkey)
        wire = wire_key(slot.namespace, slot.key)
        match question.kind:
            case "ping":
                return Ping(), None
            case "find-node":
                return FindNode.of(wire), None
            case "find-value":
                return GetValue(wire, position_of(wire), slot.subkey), None
            case "store":
                engine = self.node.engine
                now = engine.outside.wall_us()
                life = lifetime(question.ttl, now, engine.parameters)
                value = check_value(question.value)
                time: int = await self._settled(lambda finished: engine.next_version(now, finished))
                draft = draft_record(slot, value, time, life, 0, engine.parameters)
                record = Record.sign(draft, engine.signer)
                return PutValue(record), record


def _answer(peer: PeerId, question: Question, reply: Reply, written: Record | None, seconds: float) -> Answer:
    match reply:
        case NodesReply():
            return Answer(peer=peer, seconds=seconds, peers=tuple(contact.peer_id for contact in reply.closer))
        case GetReply():
            peers = tuple(contact.peer_id for contact in reply.closer)
            record = reply.records[0] if reply.records else None
            standing = reply.standing.authoritative
            return Answer(peer=peer, seconds=seconds, authoritative=standing, peers=peers, record=record, refusal=reply.refusal)
        case PutReply():
            return Answer(peer=peer, seconds=seconds, authoritative=reply.standing.authoritative, record=written, refusal=reply.refusal)
    if question.kind != "ping":
        raise InvalidMessage(f"{peer} answered {question.kind} with something else")
    return Answer(peer=peer, seconds=seconds)
