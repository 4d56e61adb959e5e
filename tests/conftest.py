"""What every test shares: the event loops a test can run on, and the check that it leaves no task behind.

An async test runs on the ordinary loop; ``@pytest.mark.asyncio(loop_factories=["virtual"])`` runs it in virtual time.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
from hypothesis import settings

from peerstack.testing.virtual_time import VirtualTimeLoop

settings.register_profile("no deadline", deadline=None)  # no test asserts a time, and a busy machine is slow
settings.load_profile("no deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops a marker may choose; a test that chooses none runs on the ordinary one only."""
    marker = item.get_closest_marker("asyncio")
    ordinary: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"ordinary": asyncio.new_event_loop}
    if marker is None or "loop_factories" not in marker.kwargs:
        return ordinary
    return ordinary | {"virtual": VirtualTimeLoop}


@pytest_asyncio.fixture
async def _loop_watched() -> AsyncIterator[None]:
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: errors.append(f"{context['message']}: {context.get('exception')!r}"))
    yield
    leaked = sorted(repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task())
    gc.collect(1)  # futures with errors that nobody looked at tell so when they go
    if leaked or errors:
        pytest.fail("; ".join([*(f"leaked {task}" for task in leaked), *errors]))


@pytest.fixture(autouse=True)
def _clean_loop(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves tasks behind, or errors only the loop has seen; looks after every other fixture was torn down."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_loop_watched")
