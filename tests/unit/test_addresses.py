from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiaddr import Multiaddr  # noqa: TID251 - the reference

from peerstack.addresses import MAX_ADDRESS_BYTES, Address, AddressCache, expand_unspecified, resolve
from peerstack.errors import DialError, InvalidAddress
from peerstack.identity import PeerId, PrivateKey

PEER = PrivateKey.from_seed(bytes(32)).peer_id
OTHER = PrivateKey.from_seed(b"\x01" * 32).peer_id
PEER_IDS = st.one_of(
    st.binary(min_size=36, max_size=36).map(lambda key: PeerId(b"\x00\x24" + key)),
    st.binary(min_size=32, max_size=32).map(lambda digest: PeerId(b"\x12\x20" + digest)),
)
LABELS = st.from_regex(r"[a-z]([a-z0-9]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda label: not label.startswith("xn"))
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(lambda labels: ".".join(labels) + ".example")
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"/ip4/{ip}"),
    st.ip_addresses(v=6).map(lambda ip: f"/ip6/{ip}"),
    st.tuples(st.sampled_from(["dns", "dns4", "dns6"]), NAMES).map(lambda pair: f"/{pair[0]}/{pair[1]}"),
)
TRANSPORTS = st.one_of(
    st.integers(0, 65535).map(lambda port: f"/tcp/{port}"),
    st.integers(0, 65535).map(lambda port: f"/udp/{port}/quic-v1"),
    st.integers(0, 65535).map(lambda port: f"/tcp/{port}/ws"),
    st.integers(0, 65535).map(lambda port: f"/tcp/{port}/tls/sni/relay.example/ws"),
)
PLACES = st.one_of(
    st.tuples(HOSTS, TRANSPORTS).map("".join),
    st.integers(0, 2**64 - 1).map(lambda number: f"/memory/{number}"),
)
PEER_PARTS = st.one_of(
    st.just(""),
    PEER_IDS.map(lambda peer: f"/p2p/{peer}"),
    st.tuples(PEER_IDS, PEER_IDS).map(lambda pair: f"/p2p/{pair[0]}/p2p-circuit/p2p/{pair[1]}"),
)
TEXTS = st.tuples(PLACES, PEER_PARTS).map("".join)
WORDS = ["ip4", "1.2.3.4", "tcp", "80", "p2p", str(PEER), "unix", "onion3", "", "x", "="]


# --- text and bytes


def test_the_text_and_bytes_of_a_known_address() -> None:
    address = Address.parse(f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}")
    assert address.to_bytes() == bytes.fromhex("047f000001060fa1a50326") + PEER.to_bytes()
    assert str(address) == f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
    assert bytes(address) == address.to_bytes()
    assert Address.from_bytes(address.to_bytes()) == address


@given(TEXTS)
def test_bytes_and_text_are_the_reference_library_s(text: str) -> None:
    address = Address.parse(text)
    reference = Multiaddr(text)
    assert address.to_bytes() == reference.to_bytes()
    assert str(address) == str(reference)


@given(TEXTS)
def test_an_address_survives_both_forms(text: str) -> None:
    address = Address.parse(text)
    for again in (Address.from_bytes(address.to_bytes()), Address.parse(str(address)), Address.parse(text + "/")):
        assert again == address
        assert hash(again) == hash(address)
        assert str(again) == str(address)
        assert again.peer_id == address.peer_id


@given(st.one_of(st.binary(max_size=80), st.tuples(TEXTS, st.integers(0, 90), st.binary(max_size=3))))
@settings(max_examples=300)
def test_any_bytes_are_an_address_or_refused(source: bytes | tuple[str, int, bytes]) -> None:
    if isinstance(source, tuple):
        text, at, damage = source
        whole = Address.parse(text).to_bytes()
        source = whole[:at] + damage + whole[at + len(damage) :]
    try:
        address = Address.from_bytes(source)
    except InvalidAddress:
        return
    assert Address.from_bytes(address.to_bytes()) == address
    assert str(address).isprintable()
    reference = Multiaddr(address.to_bytes())
    assert b"".join(part.to_bytes() for part in reference.split()) == address.to_bytes()


@given(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(["ip4", "1.2.3.4", "tcp", "80", "p2p", "unix", "", "x", "="])).map("/".join))
)
@settings(max_examples=300)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for candidate in (text, "/" + text):
        try:
            address = Address.parse(candidate)
        except InvalidAddress:
            continue
        assert Address.from_bytes(address.to_bytes()) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "//",
        "ip4/127.0.0.1/tcp/1",
        "/ip4",
        "/ip4/",
        "/ip4/127.0.0.1/tcp",
        "/ip4/127.0.0.1//tcp/1",
        "/ip4/127.0.0.256/tcp/1",
        "/ip4/127.1/tcp/1",
        "/ip4/::1/tcp/1",
        "/ip6/127.0.0.1/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/127.0.0.1/tcp/+1",
        "/ip4/127.0.0.1/tcp/1_0",
        "/ip4/127.0.0.1/tcp/ 1",
        "/ip4/127.0.0.1/tcp/1\n",
        "/ip4/127.0.0.1/tcp/٨",
        "/ip4/127.0.0.1/tcp/" + "1" * 5000,
        "/ip4/127.0.0.1/carrier-pigeon/1",
        "/dns4/-x.example/tcp/1",
        "/dns4/x..example/tcp/1",
        f"/dns4/{'a' * 64}.example/tcp/1",
        f"/dns4/{'a.' * 127}/tcp/1",
        "/dns4/bücher.example/tcp/1",
        "/p2p/12D3Koo",
        "/p2p/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
        "/memory/x",
        f"/memory/{2**64}",
        "/ip4/127.0.0.1" * 1000,
        "/p2p-circuit" * 600,
    ],
)
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        Address.parse(text)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "04",
        "047f0000",
        "047f00000106",
        "047f0000010600",
        "84007f000001",  # ip4 with a code that is not in its shortest form
        "ffffffff7f",
        "7f",  # a code nobody knows
        "a50326",
        "a5032600",
        "a503ffff7f00",
        "a50303015512",  # a CID of raw bytes
        "360a",
        "3603612f62",  # a DNS name with a slash
        "360361000a",
        "3600",
        "047f000001910200",  # udp, cut short
        "bc0300010203",  # onion, cut short
        "047f000001910200012903",  # IPv6 after udp, cut short
        "1d00",  # a code nobody knows, then nothing
        "2a067909",  # an IPv6 zone, cut short
    ],
)
def test_bytes_that_are_no_address_are_refused(data: str) -> None:
    with pytest.raises(InvalidAddress):
        Address.from_bytes(bytes.fromhex(data))


def test_an_address_over_the_bound_is_refused() -> None:
    circuit = bytes.fromhex("a202")
    assert len(Address.from_bytes(circuit * (MAX_ADDRESS_BYTES // 2)).to_bytes()) == MAX_ADDRESS_BYTES
    with pytest.raises(InvalidAddress, match="1 to 1024 bytes"):
        Address.from_bytes(circuit * (MAX_ADDRESS_BYTES // 2) + circuit)
    with pytest.raises(InvalidAddress, match="1 to 1024 bytes"):
        Address.from_bytes(circuit * (MAX_ADDRESS_BYTES // 2)).with_peer(PEER)


@pytest.mark.parametrize("place", ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"])
def test_a_peer_id_written_as_cid_goes_on_the_wire_as_multihash(place: str) -> None:
    plain = Address.parse(f"{place}/p2p/{PEER}")
    assert Address.parse(f"{place}/p2p/{PEER.to_cid()}").to_bytes() == plain.to_bytes()
    cid = b"\x01\x72" + PEER.to_bytes()
    on_the_wire = Address.parse(place).to_bytes() + b"\xa5\x03" + bytes((len(cid),)) + cid
    assert Address.from_bytes(on_the_wire) == plain
    assert Address.from_bytes(on_the_wire).to_bytes() == plain.to_bytes()


def test_the_old_name_of_p2p_is_read_and_written_as_the_new_one() -> None:
    assert str(Address.parse(f"/ip4/1.2.3.4/tcp/1/ipfs/{PEER}")) == f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}"
    assert Address.parse(f"/ip4/1.2.3.4/tcp/1/ipfs/{PEER}").peer_id == PEER


# --- parts


@given(PLACES, PEER_IDS, PEER_IDS)
def test_a_peer_is_added_replaced_and_taken_away(place: str, first: PeerId, second: PeerId) -> None:
    address = Address.parse(place)
    assert address.peer_id is None
    assert address.without_peer() == address
    assert address.with_peer(first).peer_id == first
    assert address.with_peer(first).with_peer(second) == address.with_peer(second)
    assert address.with_peer(first).without_peer() == address
    assert str(address.with_peer(first)) == f"{address}/p2p/{first}"


def test_through_a_relay_the_peer_is_the_target() -> None:
    relay = Address.parse(f"/ip4/1.2.3.4/tcp/1/p2p/{OTHER}/p2p-circuit")
    assert relay.is_relayed()
    assert relay.peer_id is None
    target = relay.with_peer(PEER)
    assert target.is_relayed()
    assert target.peer_id == PEER
    assert target.without_peer() == relay
    assert not target.is_tcp()
    assert not Address.parse(f"/ip4/1.2.3.4/tcp/1/p2p/{OTHER}").is_relayed()


def test_a_peer_without_a_place_cannot_lose_its_peer() -> None:
    address = Address.parse(f"/p2p/{PEER}")
    assert address.peer_id == PEER
    assert (address.host_kind, address.host, address.port, address.memory) == (None, None, None, None)
    questions = (Address.is_tcp, Address.is_memory, Address.is_private, Address.is_loopback, Address.is_unspecified)
    assert not any(question(address) for question in questions)
    with pytest.raises(InvalidAddress):
        address.without_peer()


@pytest.mark.parametrize("peer", ["", f"/p2p/{PEER}"])
@pytest.mark.parametrize(
    ("place", "tcp", "kind", "host", "port"),
    [
        ("/ip4/1.2.3.4/tcp/80", True, "ip4", "1.2.3.4", 80),
        ("/ip6/2001:db8::1/tcp/0", True, "ip6", "2001:db8::1", 0),
        ("/dns/a.example/tcp/1", True, "dns", "a.example", 1),
        ("/dns4/a_b.example./tcp/1", True, "dns4", "a_b.example.", 1),
        ("/dns6/localhost/tcp/1", True, "dns6", "localhost", 1),
        ("/ip4/1.2.3.4/tcp/80/ws", False, "ip4", "1.2.3.4", 80),
        ("/ip4/1.2.3.4/udp/80/quic-v1", False, "ip4", "1.2.3.4", None),
        ("/ip4/1.2.3.4", False, "ip4", "1.2.3.4", None),
        ("/tcp/80", False, None, None, None),
        ("/dnsaddr/a.example", False, None, None, None),
    ],
)
def test_what_a_tcp_address_is_made_of(place: str, peer: str, tcp: bool, kind: str | None, host: str | None, port: int | None) -> None:
    address = Address.parse(place + peer)
    assert (address.is_tcp(), address.host_kind, address.host, address.port) == (tcp, kind, host, port)
    assert not address.is_memory()


def test_what_a_memory_address_is_made_of() -> None:
    address = Address.parse("/memory/7")
    assert address == Address.from_memory(7)
    assert (address.is_memory(), address.memory) == (True, 7)
    assert address.with_peer(PEER).is_memory()
    assert not any(question(address) for question in (Address.is_tcp, Address.is_private, Address.is_loopback))
    for number in (-1, 2**64):
        with pytest.raises(InvalidAddress):
            Address.from_memory(number)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_a_socket_s_name_becomes_its_address(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    address = Address.from_tcp(str(ip), port)
    assert address.is_tcp()
    assert address.port == port
    assert address.host is not None
    plain = (ip.ipv4_mapped or ip) if ip.version == 6 else ip
    assert ipaddress.ip_address(address.host) == plain


def test_a_socket_s_name_loses_its_scope_and_its_mapping() -> None:
    assert str(Address.from_tcp("fe80::1%eth0", 1)) == "/ip6/fe80::1/tcp/1"
    assert str(Address.from_tcp("::ffff:1.2.3.4", 1)) == "/ip4/1.2.3.4/tcp/1"
    for host, port in (("localhost", 1), ("", 1), ("1.2.3.4", 65536), ("1.2.3.4", -1)):
        with pytest.raises(InvalidAddress):
            Address.from_tcp(host, port)


@pytest.mark.parametrize(
    ("host", "unspecified", "loopback", "private"),
    [
        ("/ip4/0.0.0.0", True, False, True),
        ("/ip6/::", True, False, True),
        ("/ip4/127.0.0.1", False, True, True),
        ("/ip4/127.255.0.9", False, True, True),
        ("/ip6/::1", False, True, True),
        ("/ip6/::ffff:127.0.0.1", False, True, True),
        ("/ip4/10.1.2.3", False, False, True),
        ("/ip4/172.16.0.1", False, False, True),
        ("/ip4/172.32.0.1", False, False, False),
        ("/ip4/192.168.1.1", False, False, True),
        ("/ip6/::ffff:192.168.1.1", False, False, True),
        ("/ip4/100.64.0.1", False, False, True),
        ("/ip4/169.254.1.1", False, False, True),
        ("/ip6/fd00::1", False, False, True),
        ("/ip6/fe80::1", False, False, True),
        ("/ip4/8.8.8.8", False, False, False),
        ("/ip6/2606:4700::1111", False, False, False),
        ("/ip6/::ffff:8.8.8.8", False, False, False),
        ("/dns/localhost", False, True, True),
        ("/dns4/a.LOCALHOST.", False, True, True),
        ("/dns/printer.local", False, False, True),
        ("/dns/notlocalhost", False, False, False),
        ("/dns/a.example", False, False, False),
    ],
)
def test_where_an_address_can_be_reached_from(host: str, unspecified: bool, loopback: bool, private: bool) -> None:
    for rest in ("/tcp/1", f"/tcp/1/p2p/{PEER}", "/udp/1/quic-v1"):
        address = Address.parse(host + rest)
        assert (address.is_unspecified(), address.is_loopback(), address.is_private()) == (unspecified, loopback, private)


def test_another_host_takes_the_place_of_the_first() -> None:
    address = Address.parse(f"/dns/a.example/tcp/1/p2p/{PEER}")
    assert str(address.with_host("1.2.3.4")) == f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}"
    assert str(address.with_host("::1")) == f"/ip6/::1/tcp/1/p2p/{PEER}"
    for wrong in ("b.example", "", "1.2.3", "a\0b"):
        with pytest.raises(InvalidAddress):
            address.with_host(wrong)
    with pytest.raises(InvalidAddress):
        Address.from_memory(1).with_host("1.2.3.4")


def test_an_address_is_not_its_text_or_bytes() -> None:
    address = Address.from_memory(1)
    assert address != "/memory/1"
    assert address != address.to_bytes()
    assert repr(address) == "<Address /memory/1>"


# --- the cache


def test_a_cache_reads_an_address_once() -> None:
    cache = AddressCache()
    address = cache.parse("/memory/1")
    assert cache.parse("/memory/1") is address
    assert cache.from_bytes(address.to_bytes()) is cache.from_bytes(address.to_bytes())
    assert cache.from_bytes(address.to_bytes()) == address


@given(st.integers(1, 4), st.lists(st.integers(0, 6), max_size=40))
def test_a_cache_forgets_what_was_used_longest_ago(capacity: int, numbers: list[int]) -> None:
    cache = AddressCache(capacity)
    recent: list[tuple[int, Address]] = []  # the naive reference: the latest use last
    for number in numbers:
        address = cache.parse(f"/memory/{number}")
        known = [entry for entry in recent if entry[0] == number]
        if known:
            assert address is known[0][1]
        else:
            assert all(address is not entry[1] for entry in recent)
        recent = [*(entry for entry in recent if entry[0] != number), (number, address)][-capacity:]
        assert len(cache) == len(recent)


def test_a_cache_does_not_keep_what_it_refuses() -> None:
    cache = AddressCache()
    for _ in range(2):
        with pytest.raises(InvalidAddress):
            cache.parse("/nowhere")
        with pytest.raises(InvalidAddress):
            cache.from_bytes(b"\x7f")
    assert len(cache) == 0


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        AddressCache(0)


# --- names


def answering(*answers: str) -> Callable[[str, int], asyncio.Future[list[str]]]:
    """A resolver that knows one name, ``a.example``, and filters by nothing."""

    def resolver(name: str, family: int) -> asyncio.Future[list[str]]:
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        if name == "a.example":
            future.set_result(list(answers))
        else:
            future.set_exception(socket.gaierror(socket.EAI_NONAME, f"{name} is not known to family {family}"))
        return future

    return resolver


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dns", ["/ip4/1.2.3.4", "/ip6/2001:db8::1", "/ip4/5.6.7.8"]),
        ("dns4", ["/ip4/1.2.3.4", "/ip4/5.6.7.8"]),
        ("dns6", ["/ip6/2001:db8::1"]),
    ],
)
def test_a_name_becomes_its_addresses_of_the_kind_asked_for(kind: str, expected: list[str]) -> None:
    address = Address.parse(f"/{kind}/a.example/tcp/1/p2p/{PEER}")
    resolver = answering("1.2.3.4", "2001:db8::1", "fe80::1%eth0", "1.2.3.4", "nonsense", "5.6.7.8")
    found = asyncio.run(resolve(address, resolver))
    assert [str(each) for each in found] == [f"{host}/tcp/1/p2p/{PEER}" for host in expected]


def test_the_resolver_is_asked_for_the_family_of_the_address() -> None:
    asked: list[tuple[str, int]] = []

    async def resolver(name: str, family: int) -> list[str]:
        asked.append((name, family))
        return ["1.2.3.4", "::1"]

    for kind in ("dns", "dns4", "dns6"):
        asyncio.run(resolve(Address.parse(f"/{kind}/a.example/tcp/1"), resolver))
    assert asked == [("a.example", socket.AF_UNSPEC), ("a.example", socket.AF_INET), ("a.example", socket.AF_INET6)]


@pytest.mark.parametrize("text", ["/ip4/1.2.3.4/tcp/1", "/ip6/::1/tcp/1", "/memory/1", f"/p2p/{PEER}", "/dnsaddr/a.example"])
def test_an_address_without_a_name_stays_as_it_is(text: str) -> None:
    address = Address.parse(text)
    assert asyncio.run(resolve(address, answering())) == [address]


def test_only_so_many_answers_are_taken() -> None:
    answers = [f"10.0.0.{number}" for number in range(100)]
    found = asyncio.run(resolve(Address.parse("/dns/a.example/tcp/1"), answering(*answers)))
    assert [each.host for each in found] == answers[:16]


def test_a_name_that_does_not_resolve_is_unreachable_and_says_why() -> None:
    address = Address.parse("/dns/b.example/tcp/1")
    with pytest.raises(DialError, match=r"b\.example does not resolve") as caught:
        asyncio.run(resolve(address, answering()))
    assert isinstance(caught.value.causes[str(address)], socket.gaierror)
    with pytest.raises(DialError, match="no IP address of the kind"):
        asyncio.run(resolve(Address.parse("/dns6/a.example/tcp/1"), answering("1.2.3.4")))


# --- listeners


def test_all_interfaces_become_the_machine_s_addresses() -> None:
    hosts = ["127.0.0.1", "::1", "192.168.1.2", "fe80::1%eth0", "127.0.0.1"]
    assert [str(each) for each in expand_unspecified(Address.parse("/ip4/0.0.0.0/tcp/1"), hosts)] == [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/192.168.1.2/tcp/1",
    ]
    assert [str(each) for each in expand_unspecified(Address.parse("/ip6/::/tcp/1"), hosts)] == ["/ip6/::1/tcp/1"]
    bound = Address.parse("/ip4/127.0.0.1/tcp/1")
    assert expand_unspecified(bound, hosts) == [bound]
