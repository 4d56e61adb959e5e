from __future__ import annotations

import pytest

from peerstack.errors import PluginError
from peerstack.host.registry import Registration, Registry
from peerstack.plugin import Stream


async def _handler(stream: Stream) -> None:
    await stream.close()


def _registration(name: str, distribution: str = "") -> Registration:
    return Registration(name=name, handler=_handler, distribution=distribution)


def test_an_id_served_twice_is_refused_and_both_sides_are_named() -> None:
    registry = Registry()
    registry.register("/echo/1.0.0", _registration("echo", "first-package"))
    with pytest.raises(PluginError, match=r"'echo' of first-package already: 'other' of second-package") as caught:
        registry.register("/echo/1.0.0", _registration("other", "second-package"))
    assert caught.value.distribution == "second-package"
    found = registry.find("/echo/1.0.0")
    assert found is not None
    assert found.name == "echo"


def test_ids_match_exactly() -> None:
    registry = Registry()
    registry.register("/echo/1.0.0", _registration("echo"))
    assert registry.supports("/echo/1.0.0")
    for other in ("/echo/1.0", "/echo/1.0.0/", "/ECHO/1.0.0", "echo/1.0.0", "/echo/1.0.0\n"):
        assert not registry.supports(other)
        assert registry.find(other) is None


@pytest.mark.parametrize("protocol_id", ["", "/", "echo", "/a\nb", "/" + "x" * 1022, "/\u2028"])
def test_what_cannot_be_a_protocol_id_is_refused(protocol_id: str) -> None:
    with pytest.raises(PluginError, match="no protocol id"):
        Registry().register(protocol_id, _registration("echo"))


def test_ids_are_listed_in_order_and_every_change_is_told() -> None:
    told: list[list[str]] = []
    registry = Registry(lambda: told.append(registry.protocol_ids()))
    registry.register("/b", _registration("b"))
    registry.register("/a", _registration("a"))
    registry.unregister("/b")
    registry.unregister("/b")
    assert told == [["/b"], ["/a", "/b"], ["/a"]]
