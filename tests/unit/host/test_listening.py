from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peerstack import Host, ListenError, PrivateKey, preset
from peerstack.host.listening import interface_hosts

if TYPE_CHECKING:
    from tests.unit.host.conftest import Neighbourhood

STRANGER = PrivateKey.from_seed(b"s" * 32).peer_id


def test_this_machines_hosts_are_numeric_and_begin_with_loopback() -> None:
    hosts = interface_hosts()
    assert hosts[:2] == ["127.0.0.1", "::1"]
    assert len(set(hosts)) == len(hosts)
    assert all(ipaddress.ip_address(host) for host in hosts)


@pytest.mark.asyncio
async def test_all_interfaces_are_told_as_the_addresses_they_mean() -> None:
    async with Host(listen=["/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/tcp/0"], config=preset("local")) as host:
        assert not any(address.is_unspecified() for address in host.addrs)
        assert {address.host_kind for address in host.addrs} == {"ip4"}
        assert sum(address.host == "127.0.0.1" for address in host.addrs) == 2
        assert all(address.port for address in host.addrs)
        assert len({str(address) for address in host.addrs}) == len(host.addrs)


@pytest.mark.asyncio
async def test_a_name_is_resolved_and_each_of_its_addresses_bound() -> None:
    async def resolver(name: str, family: int) -> list[str]:
        return ["127.0.0.1", "::1"]

    config = preset("local")
    config = replace(config, environment=replace(config.environment, resolver=resolver))
    async with Host(listen="/dns/here.example/tcp/0", config=config) as host:
        assert {address.host for address in host.addrs} == {"127.0.0.1", "::1"}


@pytest.mark.asyncio(loop_factories=["virtual"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/ip4/127.0.0.1/udp/0/quic-v1", "no transport of this host serves it"),
        ("/dns4/nowhere.example/tcp/0", "does not resolve"),
        (f"/p2p/{STRANGER}", "cannot listen on /p2p/"),
    ],
)
async def test_what_cannot_be_listened_on_says_why(neighbourhood: Neighbourhood, text: str, message: str) -> None:
    config = replace(neighbourhood.config("host"), transports=None)
    with pytest.raises(ListenError, match=message):
        await Host(listen=text, config=config).start()
