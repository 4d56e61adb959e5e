from __future__ import annotations

from peerstack.errors import ConnectionLost, IncompleteRead, PeerIdMismatch, PeerstackError, ProtocolNotSupported, StreamReset
from peerstack.net.stored_errors import fresh


def test_errors_of_every_kind_survive_being_copied() -> None:
    errors: list[PeerstackError] = [
        StreamReset(remote=True, error_code=3),
        ConnectionLost("gone", remote=False),
        ProtocolNotSupported(("/a", "/b")),
        PeerIdMismatch("one", "other"),
        IncompleteRead("short", partial=b"x"),
    ]
    for error in errors:
        copy = fresh(error)
        assert type(copy) is type(error)
        assert copy is not error
        assert str(copy) == str(error)
        assert copy.args == error.args
        assert vars(copy) == vars(error)
        assert copy.__traceback__ is None
