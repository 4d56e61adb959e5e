"""The exception tree of PeerStack.

::

    PeerstackError
    ├── ConfigError                  (ValueError)       bad config, permissions, plugins
    │   ├── KeyFileError                                a key file is missing, unreadable or too open
    │   └── PluginError                                 a plugin cannot be loaded or started
    ├── InvalidKey                   (ValueError)       key bytes that are no key
    ├── InvalidPeerId                (ValueError)       text or bytes that are no peer id
    ├── InvalidAddress               (ValueError)       text or bytes that are no usable multiaddr
    ├── DialError                    (ConnectionError)  no address of a peer could be reached
    ├── ListenError                  (OSError)          an address cannot be listened on
    ├── StoreError                   (OSError)          the store's file cannot be opened, read or written
    ├── SecurityError                (ConnectionError)  the secure channel could not be set up
    │   ├── PeerIdMismatch                              somebody else answered
    │   └── HandshakeFailed                             the Noise handshake failed
    ├── ProtocolViolation            (ConnectionError)  the remote broke a protocol's rules
    ├── NegotiationFailed            (ConnectionError)  multistream-select did not agree
    │   └── ProtocolNotSupported                        the remote does not speak it
    ├── ConnectionLost               (ConnectionError)  a connection ended under its streams
    ├── StreamReset                  (ConnectionError)  a stream was reset, by whom, with which code
    ├── StreamClosed                 (ConnectionError)  our own side of the stream is closed already
    ├── StreamBusy                   (RuntimeError)     a second reader or writer at the same time
    ├── IncompleteRead               (EOFError)         the stream ended before enough bytes came
    ├── MessageTooLarge              (ValueError)       a framed message is over its bound
    ├── InvalidMessage               (ValueError)       a framed message does not parse
    ├── LimitExceeded                (ConnectionError)  a limit of ours refused it
    ├── DeadlineExceeded             (TimeoutError)     it took longer than allowed
    ├── Closed                       (RuntimeError)     the host or component is not running
    └── DhtError
        ├── KeyNotFound              (LookupError)      the responsible nodes confirm: no such key
        ├── Unavailable              (ConnectionError)  too few responsible nodes answered to know
        ├── QuorumNotMet             (ConnectionError)  too few responsible nodes stored it: undecided
        ├── InvalidRecord            (ValueError)       a record breaks its namespace's rules
        └── ValueTooLarge            (ValueError)       key, subkey or value over the limits

Every class has a stable ``code``, shared by the library, the command line and the HTTP API, and is also a subclass of the builtin a
caller would catch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "Closed",
    "ConfigError",
    "ConnectionLost",
    "DeadlineExceeded",
    "DhtError",
    "DialError",
    "HandshakeFailed",
    "IncompleteRead",
    "InvalidAddress",
    "InvalidKey",
    "InvalidMessage",
    "InvalidPeerId",
    "InvalidRecord",
    "KeyFileError",
    "KeyNotFound",
    "LimitExceeded",
    "ListenError",
    "MessageTooLarge",
    "NegotiationFailed",
    "PeerIdMismatch",
    "PeerstackError",
    "PluginError",
    "ProtocolNotSupported",
    "ProtocolViolation",
    "QuorumNotMet",
    "SecurityError",
    "StoreError",
    "StreamBusy",
    "StreamClosed",
    "StreamReset",
    "Unavailable",
    "ValueTooLarge",
]


class PeerstackError(Exception):
    """Root of every error PeerStack raises on purpose."""

    code: ClassVar[str] = "failure"


class ConfigError(PeerstackError, ValueError):
    """A setting, file or combination of settings cannot work."""

    code = "bad_config"


class KeyFileError(ConfigError):
    """A key file is missing, unreadable, malformed, or readable by others."""


class PluginError(ConfigError):
    """A plugin cannot be loaded or started.

    Attributes:
        distribution: The installed distribution at fault, or "" when it is the application's own object.
    """

    def __init__(self, message: str, *, distribution: str = "") -> None:
        super().__init__(message)
        self.distribution = distribution


class InvalidKey(PeerstackError, ValueError):
    """Bytes that are not a key of a supported type."""

    code = "invalid_key"


class InvalidPeerId(PeerstackError, ValueError):
    """Text or bytes that are not a peer id."""

    code = "invalid_peer_id"


class InvalidAddress(PeerstackError, ValueError):
    """Text or bytes that are not a multiaddr we can use."""

    code = "invalid_address"


class DialError(PeerstackError, ConnectionError):
    """No address of a peer led to a connection.

    Attributes:
        causes: The error of each address tried, by its text.
    """

    code = "unreachable"

    def __init__(self, message: str, *, causes: Mapping[str, BaseException] | None = None) -> None:
        super().__init__(message)
        self.causes: dict[str, BaseException] = dict(causes or {})

    def __str__(self) -> str:
        base = super().__str__()
        if not self.causes:
            return base
        return base + "; " + "; ".join(f"{address}: {cause}" for address, cause in self.causes.items())


class ListenError(PeerstackError, OSError):
    """An address cannot be listened on (in use, not ours, not permitted)."""

    code = "listen_failed"


class StoreError(PeerstackError, OSError):
    """A store's file cannot be opened, read or written: damaged, foreign, locked, read-only, or the disk is full.

    Attributes:
        kept_as: Where a file that cannot be used was moved to, or "": it was left where it is.
    """

    code = "store"

    def __init__(self, message: str, *, kept_as: str = "") -> None:
        super().__init__(message)
        self.kept_as = kept_as


class SecurityError(PeerstackError, ConnectionError):
    """The secure channel could not be set up."""

    code = "security"


class PeerIdMismatch(SecurityError):
    """The remote proved an identity other than the one dialled.

    Attributes:
        expected: Text of the peer id that was dialled.
        actual: Text of the peer id that answered.
    """

    code = "identity_mismatch"

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"dialled peer {expected}, but {actual} answered: check the address' /p2p/ part")
        self.expected = expected
        self.actual = actual


class HandshakeFailed(SecurityError):
    """The Noise handshake failed: wrong signature, garbage, or cut short."""

    code = "handshake_failed"


class ProtocolViolation(PeerstackError, ConnectionError):
    """The remote broke the rules of a protocol; the connection or stream ends."""

    code = "protocol_violation"


class NegotiationFailed(PeerstackError, ConnectionError):
    """multistream-select ended without a protocol."""

    code = "negotiation_failed"


class ProtocolNotSupported(NegotiationFailed):
    """The remote speaks none of the protocols asked for.

    Attributes:
        protocols: The protocol ids that were proposed.
    """

    code = "protocol_not_supported"

    def __init__(self, protocols: tuple[str, ...]) -> None:
        super().__init__(f"the remote does not support {' or '.join(protocols)}")
        self.protocols = protocols


class ConnectionLost(PeerstackError, ConnectionError):
    """A connection ended under the operation.

    Attributes:
        remote: Whether the remote side (or the network) ended it.
    """

    code = "connection_lost"

    def __init__(self, message: str = "the connection was closed", *, remote: bool = True) -> None:
        super().__init__(message)
        self.remote = remote


class StreamReset(PeerstackError, ConnectionError):
    """A stream was reset; bytes not read yet are lost.

    Attributes:
        remote: Whether the remote side reset it.
        error_code: The code carried by the reset frame, 0 when it gave none.
    """

    code = "stream_reset"

    def __init__(self, message: str = "", *, remote: bool, error_code: int = 0) -> None:
        who = "the remote" if remote else "this side"
        super().__init__(message or f"{who} reset the stream (code {error_code})")
        self.remote = remote
        self.error_code = error_code


class StreamClosed(PeerstackError, ConnectionError):
    """Our own side of the stream was closed before this call."""

    code = "stream_closed"


class StreamBusy(PeerstackError, RuntimeError):
    """A second task reads (or writes) a stream that one is reading (writing) already."""

    code = "stream_busy"


class IncompleteRead(PeerstackError, EOFError):
    """The stream ended before the bytes asked for had come.

    Attributes:
        partial: What did come.
    """

    code = "incomplete_read"

    def __init__(self, message: str, *, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial


class MessageTooLarge(PeerstackError, ValueError):
    """A length-prefixed message is longer than its bound."""

    code = "message_too_large"


class InvalidMessage(PeerstackError, ValueError):
    """A length-prefixed message does not parse as what it should be."""

    code = "invalid_message"


class LimitExceeded(PeerstackError, ConnectionError):
    """One of our limits refused the operation.

    Attributes:
        limit: The name of the limit, as in the configuration.
    """

    code = "limit"

    def __init__(self, limit: str, message: str = "") -> None:
        super().__init__(message or f"limit {limit} reached")
        self.limit = limit


class DeadlineExceeded(PeerstackError, TimeoutError):
    """An operation did not finish within its deadline."""

    code = "timeout"


class Closed(PeerstackError, RuntimeError):
    """The host or component is not running (not started yet, or closed)."""

    code = "closed"


class DhtError(PeerstackError):
    """Root of the put/get contract's errors."""

    code = "dht"


class KeyNotFound(DhtError, LookupError):
    """Enough responsible nodes answered to be sure: the key has no live record."""

    code = "not_found"


class Unavailable(DhtError, ConnectionError):
    """Too few responsible nodes answered to tell.

    Attributes:
        answered: Authoritative answers that came.
        needed: Authoritative answers that were needed.
    """

    code = "unavailable"

    def __init__(self, message: str, *, answered: int = 0, needed: int = 0) -> None:
        super().__init__(message)
        self.answered = answered
        self.needed = needed


class QuorumNotMet(DhtError, ConnectionError):
    """Fewer responsible nodes stored a record than asked for: the write is undecided.

    Attributes:
        result: The ``PutResult`` with what did happen.
    """

    code = "quorum_not_met"

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class InvalidRecord(DhtError, ValueError):
    """A record breaks its format's or its namespace's rules."""

    code = "invalid_record"


class ValueTooLarge(DhtError, ValueError):
    """A key, subkey or value is over the limits of the contract."""

    code = "value_too_large"
