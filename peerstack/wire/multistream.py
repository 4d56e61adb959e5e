"""multistream-select 1.0: two sides agree on the protocol of a connection or stream.

Each message is a varint length (it counts the newline), a text and a newline. The dialer sends the header and its first proposal in one
write. The listener sends its header as soon as the dialer's arrived, so that it never waits for a proposal that a lazy dialer holds back;
then it echoes a protocol it speaks and refuses others with ``na``.

Source: https://github.com/multiformats/multistream-select and the libp2p connection specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from peerstack.errors import InvalidMessage, NegotiationFailed, PeerstackError, ProtocolNotSupported, ProtocolViolation
from peerstack.wire import varint
from peerstack.wire.machine import Buffer, ConnectionFailed

__all__ = ["HEADER", "MAX_PROPOSALS", "MAX_TOKEN", "Dialer", "Listener", "ProtocolSelected", "encode", "proposal"]

MAX_TOKEN: Final = 1024
"""Bytes of one message behind its length, newline included."""
MAX_PROPOSALS: Final = 16
"""Proposals a listener answers before it gives up."""
_MAX_LENGTH_BYTES: Final = 2  # enough for MAX_TOKEN, and all that js accepts


@dataclass(slots=True)
class ProtocolSelected:
    """Both sides agreed; `take_rest` has the bytes behind the negotiation."""

    protocol: str


def encode(token: str) -> bytes:
    r"""Frame one message: length, text, newline.

    Raises:
        ValueError: The token is longer than the protocol allows, or holds a newline.
    """
    text = token.encode() + b"\n"
    if len(text) > MAX_TOKEN:
        raise ValueError(f"protocol id of {len(text) - 1} bytes is over the {MAX_TOKEN - 1} of multistream-select")
    if text.find(b"\n") != len(text) - 1:
        raise ValueError(f"protocol id {token!r} holds a newline")
    return varint.encode(len(text)) + text


_VERSION: Final = b"/multistream/1.0.0"
_REFUSAL: Final = b"na"
HEADER: Final = encode(_VERSION.decode())
"""The first message of each side."""
_REFUSED: Final = encode(_REFUSAL.decode())


def proposal(protocol: str) -> bytes:
    """The header and a proposal of `protocol`: all a dialer says when it is understood at once, and all it hears."""
    return HEADER + encode(protocol)


class _State(Enum):
    AWAITING_HEADER = 1
    AWAITING_TOKEN = 2  # the dialer: a reply; the listener: a proposal
    SELECTED = 3
    FAILED = 4


class _Reply(Enum):
    HEADER = 1
    ECHO = 2
    REFUSAL = 3
    UNEXPECTED = 4


class _Negotiation:
    """What dialer and listener share: cutting tokens, output, events and the tail."""

    __slots__ = ("_events", "_output", "_state", "_unread")

    _events: list[ProtocolSelected | ConnectionFailed]
    _output: list[Buffer]
    _state: _State
    _unread: bytes

    def _cut_tokens(self) -> None:
        """Act on each complete message among the unread bytes until the negotiation is over."""
        offset = 0
        unread = self._unread
        try:
            while self._state is _State.AWAITING_HEADER or self._state is _State.AWAITING_TOKEN:
                found = _next_token(unread, offset)
                if found is None:
                    break
                token, end = found
                self._take_token(token, unread[offset:end])
                offset = end
        except (InvalidMessage, ProtocolViolation) as error:
            self._fail(ProtocolViolation(f"multistream-select: {error}"))
        else:
            self._unread = b"" if self._state is _State.FAILED else unread[offset:]

    def _take_token(self, token: bytes, message: bytes) -> None:
        """Act on one text, and on the whole message that framed it."""
        raise NotImplementedError

    def _select(self, protocol: str) -> None:
        self._state = _State.SELECTED
        self._events.append(ProtocolSelected(protocol))

    def _fail(self, error: PeerstackError) -> None:
        self._state = _State.FAILED
        self._unread = b""
        self._events.append(ConnectionFailed(error))

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""
        if self._state is not _State.SELECTED and self._state is not _State.FAILED:
            self._fail(NegotiationFailed("the remote closed before a protocol was agreed"))

    def tick(self, now: float) -> None:
        """Nothing is ever due: who negotiates sets the time limit."""

    def deadline(self) -> float | None:
        """No machine of multistream-select waits for a time."""
        return None

    def take_output(self, limit: int) -> list[Buffer]:
        """Take what is to be sent, a few bytes however small the limit is."""
        output, self._output = self._output, []
        return output

    def take_events(self) -> list[ProtocolSelected | ConnectionFailed]:
        """Take what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def take_rest(self) -> bytes:
        """Take the bytes that arrived behind the negotiation: they belong to the protocol selected."""
        if self._state is not _State.SELECTED:
            raise RuntimeError("take_rest is for a negotiation that selected a protocol")
        rest, self._unread = self._unread, b""
        return rest


class Dialer(_Negotiation):
    """Proposes protocols, in order, until the remote echoes one.

    Args:
        protocols: Protocol ids, the preferred one first.
        optimistic: The application's first bytes go out right behind the proposal, before the answer (libp2p's V1Lazy). Needs exactly one
            protocol, since bytes meant for it cannot be taken back.

    Raises:
        ValueError: No protocol, an optimistic choice of several, or an id that cannot be framed.

    Events: `ProtocolSelected`, or `ConnectionFailed` with `ProtocolNotSupported`, `ProtocolViolation` or `NegotiationFailed`. After a
    failure the stream is to be reset, not closed.
    """

    __slots__ = ("_protocols", "_refused", "_understood", "optimistic")

    def __init__(self, protocols: Sequence[str], *, optimistic: bool = False) -> None:
        if not protocols:
            raise ValueError("a dialer needs at least one protocol to propose")
        if optimistic and len(protocols) != 1:
            raise ValueError("an optimistic dialer proposes exactly one protocol")
        self.optimistic = optimistic
        self._protocols = tuple(protocols)
        self._refused = 0
        self._understood = proposal(protocols[0])  # an echo of all we say
        self._state = _State.AWAITING_HEADER
        self._output = [self._understood]
        self._events = []
        self._unread = b""

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived."""
        if self._state is _State.FAILED:
            return
        self._unread += data
        understood = self._understood
        if self._state is _State.AWAITING_HEADER and self._unread.startswith(understood):  # at once and in one piece: nearly always
            self._unread = self._unread[len(understood) :]
            self._select(self._protocols[0])
        else:
            self._cut_tokens()

    def _take_token(self, token: bytes, message: bytes) -> None:
        match self._state, self._kind(token):
            case _State.AWAITING_HEADER, _Reply.HEADER:
                self._state = _State.AWAITING_TOKEN
            case _State.AWAITING_TOKEN, _Reply.ECHO:
                self._select(self._protocols[self._refused])
            case _State.AWAITING_TOKEN, _Reply.REFUSAL:
                self._propose_next()
            case state, _:
                raise ProtocolViolation(f"the listener answered {token[:64]!r} {state.name.lower().replace('_', ' ')}")

    def _kind(self, token: bytes) -> _Reply:
        if token == _VERSION:
            return _Reply.HEADER
        if token == _REFUSAL:
            return _Reply.REFUSAL
        return _Reply.ECHO if token == self._protocols[self._refused].encode() else _Reply.UNEXPECTED

    def _propose_next(self) -> None:
        self._refused += 1
        if self._refused == len(self._protocols):
            self._fail(ProtocolNotSupported(self._protocols))
        else:
            self._output.append(encode(self._protocols[self._refused]))


class Listener(_Negotiation):
    """Answers proposals until one is supported.

    Args:
        supports: Whether we speak a protocol id, just now.

    Events: `ProtocolSelected`, or `ConnectionFailed` with `ProtocolViolation` or `NegotiationFailed`.
    """

    __slots__ = ("_answered", "_supports")

    def __init__(self, supports: Callable[[str], bool]) -> None:
        self._supports = supports
        self._answered = 0
        self._state = _State.AWAITING_HEADER
        self._output = []
        self._events = []
        self._unread = b""

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived."""
        if self._state is _State.FAILED:
            return
        self._unread += data
        self._cut_tokens()

    def _take_token(self, token: bytes, message: bytes) -> None:
        match self._state, token == _VERSION:
            case _State.AWAITING_HEADER, True:
                self._state = _State.AWAITING_TOKEN
                self._output.append(HEADER)
            case _State.AWAITING_TOKEN, False:
                self._answer(token, message)
            case state, _:
                raise ProtocolViolation(f"the dialer sent {token[:64]!r} {state.name.lower().replace('_', ' ')}")

    def _answer(self, token: bytes, message: bytes) -> None:
        try:
            protocol = token.decode()
        except UnicodeDecodeError:
            raise ProtocolViolation(f"protocol id {token[:64]!r} is not UTF-8") from None
        if self._supports(protocol):
            self._output.append(message)  # the exact echo
            self._select(protocol)
            return
        self._output.append(_REFUSED)
        self._answered += 1
        if self._answered == MAX_PROPOSALS:
            self._fail(NegotiationFailed(f"none of the first {MAX_PROPOSALS} protocols proposed is supported"))


def _next_token(data: bytes, offset: int) -> tuple[bytes, int] | None:
    """Cut the message at `offset`: its text and the offset behind it, or None while it is not complete."""
    if offset < len(data) and data[offset] < 0x80:  # one byte: nearly always
        size, start = data[offset], offset + 1
    else:
        length = varint.decode(data, offset, max_bytes=_MAX_LENGTH_BYTES)
        if length is None:
            return None
        size, start = length
    if not 1 <= size <= MAX_TOKEN:
        raise ProtocolViolation(f"a message of {size} bytes is not within 1 to {MAX_TOKEN}")
    end = start + size
    if len(data) < end:
        return None
    if data[end - 1] != 0x0A:
        raise ProtocolViolation("a message does not end with a newline")
    return data[start : end - 1], end
