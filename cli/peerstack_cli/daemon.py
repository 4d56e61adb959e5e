"""The daemon: a host with its plugins, answering the API until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import suppress
from typing import Final

from peerstack import Host, keyfile
from peerstack.config import preset
from peerstack.host import entry_points
from peerstack.identity import PrivateKey
from peerstack_cli import logs
from peerstack_cli.config_file import read_config
from peerstack_cli.failures import CommandError
from peerstack_cli.flags import DaemonFlags
from peerstack_cli.home import Home
from peerstack_cli.output import Output
from peerstack_cli.settings import DaemonSettings, resolve_daemon

__all__ = ["run"]

_logger = logging.getLogger(__name__)

_HARD_STOP_S: Final = 20  # for all of the graceful shutdown; then the operating system ends the process


def run(home: Home, flags: DaemonFlags, output: Output) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        CommandError: The extra is not installed, or a daemon runs in this home already.
        ConfigError: The configuration, a key file's permissions or a plugin stand against it.
        ListenError: An address cannot be listened on.
    """
    _require_extra()
    installed = entry_points.installed(entry_points.PROTOCOLS)
    settings = resolve_daemon(flags, os.environ, read_config(home.config), installed.__contains__)
    logs.configure(settings.log)
    home.create()
    with home.locked(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        identity = keyfile.load_or_create(home.identity)
        runner.run(_serve(home, identity, settings, output))


def _require_extra() -> None:
    try:
        import aiohttp  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise CommandError(
            "missing_extra", f"the daemon needs {error.name}, which is not installed", "pip install 'peerstack[daemon]'"
        ) from error


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.Loop
    return None


async def _serve(home: Home, identity: PrivateKey, settings: DaemonSettings, output: Output) -> None:
    from peerstack_cli.api import Api, serve

    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, task, number)
    try:
        async with _host(home, identity, settings) as host:
            with home.bound_socket(os.environ) as bound:
                async with serve(Api(host, home.folder), bound):
                    _announce(host, str(bound.getsockname()), output)
                    await _until_told(task)
            _logger.info("leaving the network")
    except asyncio.CancelledError:
        _logger.info("stopped before it was ready")
    else:
        _logger.info("stopped")


def _host(home: Home, identity: PrivateKey, settings: DaemonSettings) -> Host:
    return Host(
        identity=identity,
        listen=settings.listen,
        bootstrap=settings.bootstrap,
        protocols=settings.protocols,
        config=preset(settings.preset, protocol_settings=settings.protocol_settings, data_folder=str(home.folder)),
    )


def _stop(task: asyncio.Task[None], number: signal.Signals) -> None:
    """Begin to stop. A second signal finds the operating system's defaults, and so does a shutdown that takes too long."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(each)
    signal.alarm(_HARD_STOP_S)
    _logger.info("%s: stopping", number.name)
    task.cancel()


async def _until_told(task: asyncio.Task[None]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        task.uncancel()


def _announce(host: Host, api: str, output: Output) -> None:
    peer_id, addresses = str(host.peer_id), [str(address) for address in host.addrs]
    listening = "".join(f"Listening: {address}\n" for address in addresses)
    document = {"event": "ready", "peer_id": peer_id, "addrs": addresses, "api": api}
    output.line(json.dumps(document) if output.json else f"Peer ID: {peer_id}\n{listening}API: {api}\nReady")
