from __future__ import annotations

from peerstack.host.events import PeerEvents
from peerstack.identity import PeerId
from peerstack.plugin import LocalChanged, PeerDisconnected, PeerEvent

PEER = PeerId(b"\x12\x20" + bytes(32))


def test_every_listener_hears_every_event_in_one_order_whoever_emits_it() -> None:
    heard: list[tuple[str, str]] = []
    events = PeerEvents(lambda who, error: None)

    def first(event: PeerEvent) -> None:
        heard.append(("first", type(event).__name__))
        if isinstance(event, LocalChanged):
            events.emit(PeerDisconnected(PEER))

    events.subscribe("first", first)
    events.subscribe("second", lambda event: heard.append(("second", type(event).__name__)))
    events.emit(LocalChanged())
    assert heard == [
        ("first", "LocalChanged"),
        ("second", "LocalChanged"),
        ("first", "PeerDisconnected"),
        ("second", "PeerDisconnected"),
    ]


def test_a_listener_that_crashes_is_named_and_disturbs_nobody() -> None:
    crashes: list[tuple[str, str]] = []
    heard: list[PeerEvent] = []
    events = PeerEvents(lambda who, error: crashes.append((who, str(error))))

    def crash(event: PeerEvent) -> None:
        raise ValueError("broken")

    events.subscribe("bad", crash)
    events.subscribe("good", heard.append)
    events.emit(LocalChanged())
    events.emit(LocalChanged())
    assert crashes == [("bad", "broken")] * 2
    assert len(heard) == 2


def test_who_unsubscribed_hears_no_more() -> None:
    heard: list[PeerEvent] = []
    events = PeerEvents(lambda who, error: None)
    unsubscribe = events.subscribe("listener", heard.append)
    events.emit(LocalChanged())
    unsubscribe()
    unsubscribe()
    events.emit(LocalChanged())
    assert len(heard) == 1
