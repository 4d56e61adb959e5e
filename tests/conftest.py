"""What every test shares: the event loops a test can run on, and the check that it leaves no task behind.

An async test runs on the ordinary loop; ``@pytest.mark.asyncio(loop_factories=["virtual"])`` runs it in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio

from peerstack.testing.virtual_time import VirtualTimeLoop


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops a marker may choose; a test that chooses none runs on the ordinary one only."""
    marker = item.get_closest_marker("asyncio")
    ordinary: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"ordinary": asyncio.new_event_loop}
    if marker is None or "loop_factories" not in marker.kwargs:
        return ordinary
    return ordinary | {"virtual": VirtualTimeLoop}


@pytest_asyncio.fixture
async def _tasks_watched() -> AsyncIterator[None]:
    yield
    leaked = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if leaked:
        pytest.fail(f"the test leaked {len(leaked)} task(s): " + "; ".join(sorted(map(repr, leaked))))


@pytest.fixture(autouse=True)
def _no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an async test after which tasks still run; first in, so it looks when every other fixture has been torn down."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_tasks_watched")
