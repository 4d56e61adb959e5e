from __future__ import annotations

from collections.abc import Callable

import pytest

from peerstack.addresses import Address
from peerstack.config import DialConfig, HostConfig
from peerstack.errors import PluginError
from peerstack.host.transports import find_transport, load_transports
from peerstack.net.memory import MemoryTransport
from peerstack.net.tcp import TcpTransport


def test_every_installed_transport_is_loaded_by_default() -> None:
    loaded = load_transports(HostConfig(dial=DialConfig(from_listen_port=True)))
    assert {type(transport) for transport in loaded} == {MemoryTransport, TcpTransport}


def test_the_configuration_decides_where_it_names_transports() -> None:
    own = MemoryTransport()
    assert load_transports(HostConfig(transports=(own,))) == (own,)
    assert load_transports(HostConfig(transports=())) == ()


@pytest.mark.parametrize("source", ["raise RuntimeError('no luck')", "class Fax:\n  def __init__(self): raise RuntimeError('no paper')"])
def test_a_transport_that_cannot_be_loaded_names_its_distribution(install: Callable[..., None], source: str) -> None:
    install("fax-package", "fax_module", source, group="peerstack.transports", fax="fax_module:Fax")
    with pytest.raises(PluginError, match="'fax' of fax-package cannot be") as caught:
        load_transports(HostConfig())
    assert caught.value.distribution == "fax-package"


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("/ip4/127.0.0.1/tcp/1", True),
        ("/ip6/::1/tcp/1", True),
        ("/dns4/example.com/tcp/1", True),
        ("/dns6/example.com/tcp/1", True),
        ("/dns/example.com/tcp/1", True),
        ("/ip4/127.0.0.1/udp/1/quic-v1", False),
        ("/dns4/example.com/udp/1/quic-v1", False),
        ("/memory/1", False),
    ],
)
def test_a_name_is_served_by_the_transport_of_what_it_stands_for(text: str, served: bool) -> None:
    transport = TcpTransport()
    assert find_transport((MemoryTransport(), transport), Address.parse(text)) is (transport if served else None)
