from __future__ import annotations

import pytest

from peerstack.addresses import Address
from peerstack.config import PeersConfig
from peerstack.errors import ConfigError
from peerstack.host.gater import Gater, ip_of
from peerstack.identity import PrivateKey

ONE, TWO = (PrivateKey.from_seed(bytes([number]) * 32).peer_id for number in (1, 2))
TEXTS = {
    "inside": "/ip4/10.1.2.3/tcp/1",
    "outside": "/ip4/192.0.2.1/tcp/1",
    "six": "/ip6/2001:db8::1/tcp/1",
    "mapped": "/ip6/::ffff:10.1.2.3/tcp/1",
    "name": "/dns4/example.com/tcp/1",
    "memory": "/memory/7",
}


def _allowed(config: PeersConfig) -> set[str]:
    gater = Gater(config)
    return {name for name, text in TEXTS.items() if gater.allows_address(Address.parse(text))}


def test_everything_is_allowed_by_default() -> None:
    assert _allowed(PeersConfig()) == set(TEXTS)
    assert Gater(PeersConfig()).allows_peer(ONE)


def test_denied_subnets_also_cover_addresses_mapped_into_ipv6() -> None:
    assert _allowed(PeersConfig(deny_subnets=("10.0.0.0/8",))) == {"outside", "six", "name", "memory"}


def test_where_subnets_are_allowed_nothing_else_is() -> None:
    assert _allowed(PeersConfig(allow_subnets=("10.0.0.0/8", "2001:db8::/32"))) == {"inside", "mapped", "six"}


def test_a_denial_beats_a_permission() -> None:
    assert _allowed(PeersConfig(allow_subnets=("10.0.0.0/8",), deny_subnets=("10.1.0.0/16",))) == set()
    gater = Gater(PeersConfig(allow_peers=(str(ONE), str(TWO)), deny_peers=(str(ONE),)))
    assert not gater.allows_peer(ONE)
    assert gater.allows_peer(TWO)


def test_where_peers_are_allowed_nobody_else_is() -> None:
    gater = Gater(PeersConfig(allow_peers=(ONE.to_cid(),)))
    assert gater.allows_peer(ONE)
    assert not gater.allows_peer(TWO)


@pytest.mark.parametrize(
    "config",
    [
        PeersConfig(allow_subnets=("10.0.0.0/33",)),
        PeersConfig(deny_subnets=("10.0.0.1/8",)),
        PeersConfig(allow_peers=("somebody",)),
        PeersConfig(deny_peers=("",)),
    ],
)
def test_an_entry_that_is_none_is_named(config: PeersConfig) -> None:
    with pytest.raises(ConfigError, match=r"PeersConfig\.(allow|deny)_(subnets|peers): "):
        Gater(config)


def test_only_numeric_hosts_have_an_ip() -> None:
    assert str(ip_of(Address.parse(TEXTS["mapped"]))) == "10.1.2.3"
    assert ip_of(Address.parse(TEXTS["name"])) is None
    assert ip_of(Address.parse(TEXTS["memory"])) is None
