from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.addresses import Address
from peerstack.config import PeersConfig
from peerstack.host.peerbook import PeerBook
from peerstack.identity import PeerId

A, B, C = (Address.parse(f"/ip4/192.0.2.{number}/tcp/1") for number in (1, 2, 3))


def _peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _book(clock: _Clock | None = None, **bounds: int) -> PeerBook:
    return PeerBook(PeersConfig(**bounds), clock or _Clock())  # type: ignore[arg-type]


def _known(book: PeerBook, peer: PeerId) -> list[Address]:
    return [address for address, _ in book.addresses(peer)]


def test_addresses_expire_and_renewing_never_shortens_their_life() -> None:
    clock = _Clock()
    book = _book(clock)
    book.add_addresses(_peer(1), [A], ttl=100)
    book.add_addresses(_peer(1), [A, B], ttl=10)
    clock.now += 50
    assert _known(book, _peer(1)) == [A]
    clock.now += 51
    assert _known(book, _peer(1)) == []


def test_addresses_that_worked_come_first_the_latest_in_front() -> None:
    clock = _Clock()
    book = _book(clock)
    book.add_addresses(_peer(1), [A, B, C], ttl=100)
    book.worked(_peer(1), C)
    clock.now += 1
    book.worked(_peer(1), B.with_peer(_peer(1)))
    assert _known(book, _peer(1)) == [B, C, A]


def test_an_address_that_worked_outlives_what_was_said_of_it() -> None:
    clock = _Clock()
    book = _book(clock)
    book.add_addresses(_peer(1), [A], ttl=10)
    book.worked(_peer(1), A)
    clock.now += 3600
    assert _known(book, _peer(1)) == [A]


def test_addresses_of_other_peers_and_of_no_place_are_passed_over() -> None:
    book = _book()
    book.add_addresses(_peer(1), [A.with_peer(_peer(2)), Address.parse(f"/p2p/{_peer(1)}"), B.with_peer(_peer(1))], ttl=100)
    assert _known(book, _peer(1)) == [B]
    book.add_addresses(_peer(3), [A.with_peer(_peer(2))], ttl=100)
    assert book.find(_peer(3)) is None


def test_a_flood_of_addresses_does_not_push_out_those_that_worked_or_were_given() -> None:
    book = _book(max_addresses_per_peer=4)
    book.add_addresses(_peer(1), [A], ttl=100, given=True)
    book.worked(_peer(1), B)
    book.add_addresses(_peer(1), [Address.parse(f"/ip4/198.51.100.{n}/tcp/1") for n in range(100)], ttl=10_000)
    known = _known(book, _peer(1))
    assert len(known) == 4
    assert {A, B} < set(known)


def test_expired_addresses_make_room_first() -> None:
    clock = _Clock()
    book = _book(clock, max_addresses_per_peer=2)
    book.add_addresses(_peer(1), [A], ttl=10, given=True)
    book.add_addresses(_peer(1), [B], ttl=100)
    clock.now += 50
    book.add_addresses(_peer(1), [C], ttl=20)
    assert _known(book, _peer(1)) == [B, C]


def test_peers_heard_of_never_push_out_those_that_were_met() -> None:
    book = _book(max_peers=100)
    for number in range(75):
        book.meet(_peer(number))
    for number in range(1000, 3000):
        book.add_addresses(_peer(number), [A], ttl=100)
    assert len(book) == 100
    assert all(book.find(_peer(number)) for number in range(75))
    assert book.find(_peer(2999)) is not None


def test_a_book_full_of_peers_met_still_takes_those_heard_of() -> None:
    book = _book(max_peers=100)
    for number in range(100):
        book.meet(_peer(number))
    book.meet(_peer(0))
    for number in range(1000, 1100):
        book.add_addresses(_peer(number), [A], ttl=100)
    assert len(book) == 100
    assert book.find(_peer(1)) is None
    assert book.find(_peer(0)) is not None, "met last, forgotten last"
    assert sum(book.find(_peer(number)) is not None for number in range(1000, 1100)) == 25


def test_what_a_peer_says_of_itself_is_bounded_and_harmless() -> None:
    book = _book()
    book.describe(
        _peer(1), protocols=frozenset(f"/{number}" for number in range(5000)) | {"/" + "x" * 5000}, agent="a\x1b[31m" + "b" * 5000
    )
    entry = book.find(_peer(1))
    assert entry is not None
    assert len(entry.protocols) == 256
    assert max(map(len, entry.protocols)) < 10
    assert entry.agent.startswith("a[31mbbb")
    assert len(entry.agent) <= 256
    book.describe(_peer(1), agent="other")
    assert len(entry.protocols) == 256, "what is not said stays"


def test_a_refused_protocol_is_believed_no_longer() -> None:
    book = _book()
    book.disproved(_peer(1), "/a")
    book.describe(_peer(1), protocols=frozenset({"/a", "/b"}))
    book.disproved(_peer(1), "/a")
    entry = book.find(_peer(1))
    assert entry is not None
    assert entry.protocols == {"/b"}


def test_a_forgotten_peer_is_gone() -> None:
    book = _book()
    book.add_addresses(_peer(1), [A], ttl=100)
    book.meet(_peer(2))
    for number in (1, 2, 3):
        book.forget(_peer(number))
    assert len(book) == 0


_operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "give", "worked", "meet", "wait", "forget"]), st.integers(0, 9), st.integers(0, 9), st.integers(1, 50)
    ),
    max_size=60,
)


@given(_operations, st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=60)
def test_the_book_keeps_its_bounds_and_holds_only_what_it_was_told(
    operations: list[tuple[str, int, int, int]], max_peers: int, max_addresses: int
) -> None:
    clock = _Clock()
    book = _book(clock, max_peers=max_peers, max_addresses_per_peer=max_addresses)
    told: dict[tuple[int, int], float] = {}  # naive: every address ever told, with its latest expiry
    for operation, peer, place, seconds in operations:
        address = Address.parse(f"/ip4/192.0.2.{place}/tcp/1")
        if operation in ("add", "give"):
            book.add_addresses(_peer(peer), [address], ttl=seconds, given=operation == "give")
            told[peer, place] = max(told.get((peer, place), 0), clock.now + seconds)
        elif operation == "worked":
            book.worked(_peer(peer), address)
            told[peer, place] = max(told.get((peer, place), 0), clock.now + 86400)
        elif operation == "meet":
            book.meet(_peer(peer))
        elif operation == "forget":
            book.forget(_peer(peer))
        else:
            clock.now += seconds
        assert len(book) <= max_peers
        for number in range(10):
            known = book.addresses(_peer(number))
            entry = book.find(_peer(number))
            assert len(entry.addresses if entry else ()) <= max_addresses
            for found, _ in known:
                assert told[number, int(str(found.host).split(".")[3])] > clock.now
